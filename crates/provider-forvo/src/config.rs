//! The configuration of one Forvo account.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use http::HeaderValue;
use media_core::{
    Error, Format, Limits, Prices, Result, RetrySettings, ServiceSettings, Timeouts, check_address,
    check_base_url,
};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::choice::{ANYBODY, Sex, check_groups};
use crate::map::CountryNames;

/// Matching ignores accents at the service, and similar words can come first: with fewer candidates than this the
/// right word is missed although it is there.
const FEWEST_CANDIDATES: u32 = 10;
/// The only group of limits: lookups and recordings count in the same daily quota.
pub(crate) const GROUP: &str = "audio";

/// `config/providers/forvo.json`. [`Default`] is the shipped file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ForvoConfig {
    /// The host of the plan: `https://apifree.forvo.com`, `https://apicommercial.forvo.com`.
    pub base_url: Url,
    /// The `User-Agent` of lookups; the library's own when absent.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// Where people read about Forvo; its terms ask for a credit that names it.
    pub website: Url,
    /// Equal words of so many neighbours in a list are looked up together. Small, for every job of a batch holds its calls
    /// until the batch is done.
    pub words_per_batch: NonZeroUsize,
    /// The format of [`Pronunciation::link`](crate::Pronunciation::link). A file's format is said by its extension.
    pub format: Format,
    /// By language, the countries to take recordings from: groups in order of preference. `"*"` is anybody else;
    /// without it, recordings from other countries count as not found. Languages without an entry take anybody.
    pub accents: BTreeMap<String, Vec<Vec<String>>>,
    /// By language, the speakers preferred within a group of countries, the best first.
    pub speakers: BTreeMap<String, Vec<String>>,
    /// The sex of the speakers to take.
    pub sex: Sex,
    /// The least rate (positive votes minus negative ones) of a recording that is taken.
    pub minimum_rate: i64,
    /// How many recordings a lookup asks for; the choice is made among them.
    pub candidates: u32,
    /// The longest word that is looked up: Forvo answers long ones with 414, and known clients stop at 80 to 100.
    /// Without it the service alone decides.
    #[serde(default)]
    pub max_characters: Option<usize>,
    /// Under which terms files may be used, for their provenance.
    pub licence: String,
    /// How many calls at once, per minute, per day.
    pub limits: Limits,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try again. Each try is a counted call.
    pub retry: RetrySettings,
    /// What things cost.
    pub prices: Prices,
    /// Whether a file that an earlier run made for an equal request is copied instead of made again.
    #[serde(default)]
    pub reuse: bool,
    /// Forvo's codes by BCP 47 tag, in lower case, where they differ.
    pub language_tags: BTreeMap<String, String>,
    /// Forvo's languages: code and English name.
    pub languages: BTreeMap<String, String>,
    /// Countries by ISO 3166-1 alpha-2 code.
    pub countries: BTreeMap<String, Country>,
}

/// A country as Forvo may write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Country {
    /// The ISO 3166-1 alpha-3 code.
    pub alpha3: String,
    /// English names, Forvo's own first.
    pub names: Vec<String>,
}

impl Default for ForvoConfig {
    #[expect(clippy::expect_used, reason = "the text is compiled in and a test reads it")]
    fn default() -> ForvoConfig {
        media_core::read_shipped(crate::SHIPPED).expect("the shipped configuration is whole")
    }
}

impl ForvoConfig {
    /// With these groups of countries for a language, the preferred first: `&[&["MX", "CO"], &["ES"], &["*"]]`.
    #[must_use]
    pub fn accents(mut self, language: &str, groups: &[&[&str]]) -> ForvoConfig {
        let owned = |group: &&[&str]| group.iter().map(|code| (*code).to_owned()).collect();
        self.accents
            .insert(language.to_owned(), groups.iter().map(owned).collect());
        self
    }

    /// With these preferred speakers for a language, the best first.
    #[must_use]
    pub fn speakers(mut self, language: &str, names: &[&str]) -> ForvoConfig {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.speakers.insert(language.to_owned(), names);
        self
    }

    /// With voices of this sex only.
    #[must_use]
    pub fn sex(mut self, sex: Sex) -> ForvoConfig {
        self.sex = sex;
        self
    }

    /// With recordings of at least this rate only.
    #[must_use]
    pub fn minimum_rate(mut self, rate: i64) -> ForvoConfig {
        self.minimum_rate = rate;
        self
    }

    /// At this host.
    #[must_use]
    pub fn base_url(mut self, url: Url) -> ForvoConfig {
        self.base_url = url;
        self
    }

    /// The settings that every provider has.
    #[must_use]
    pub fn settings(&self) -> ServiceSettings {
        ServiceSettings {
            limits: self.limits.clone(),
            timeouts: self.timeouts,
            retry: self.retry,
            prices: self.prices.clone(),
            reuse: self.reuse,
        }
    }

    /// Checks everything that types cannot say.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](media_core::ErrorKind::Config) naming the key.
    pub fn validate(&self) -> Result<()> {
        self.check_base_url()?;
        self.timeouts.check()?;
        self.retry.check()?;
        check_address("website", &self.website)?;
        if !matches!(self.format, Format::Mp3 | Format::Ogg) {
            return wrong("format", format!("forvo has mp3 and ogg, not {}", self.format));
        }
        if self.candidates < FEWEST_CANDIDATES {
            let why = "similar words can come before the right one";
            return wrong(
                "candidates",
                format!("at least {FEWEST_CANDIDATES} are needed: {why}"),
            );
        }
        if let Some(agent) = &self.user_agent
            && HeaderValue::try_from(agent).is_err()
        {
            return wrong("user_agent", "it holds characters that no header may hold");
        }
        self.limits.check(&[(GROUP, &["requests"])])?;
        self.check_tables()?;
        for (language, groups) in &self.accents {
            let key = format!("accents.{language}");
            self.check_language(&key, language)?;
            check_groups(groups, &self.countries).or_else(|why| wrong(&key, why))?;
        }
        for (language, names) in &self.speakers {
            let key = format!("speakers.{language}");
            self.check_language(&key, language)?;
            if names
                .iter()
                .any(|name| name.trim().is_empty() || name.contains(','))
            {
                return wrong(&key, "a speaker is named by one word without commas");
            }
        }
        Ok(())
    }

    /// The key is a segment of every address: it may only travel over TLS, except to this machine.
    fn check_base_url(&self) -> Result<()> {
        let url = &self.base_url;
        check_base_url(url)?;
        let local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if url.scheme() != "https" && !local {
            return wrong(
                "base_url",
                "it must begin with https://, for the key is part of every address",
            );
        }
        Ok(())
    }

    fn check_language(&self, key: &str, code: &str) -> Result<()> {
        if self.languages.contains_key(code) {
            return Ok(());
        }
        match self.language_tags.get(code) {
            Some(own) => wrong(key, format!("forvo's code for {code:?} is {own:?}")),
            None => wrong(
                key,
                format!("forvo has no language {code:?}; its codes stand in \"languages\""),
            ),
        }
    }

    fn check_tables(&self) -> Result<()> {
        for (tag, code) in &self.language_tags {
            let key = format!("language_tags.{tag}");
            if tag.chars().any(|c| c.is_ascii_uppercase()) {
                return wrong(&key, "tags stand here in lower case");
            }
            self.check_language(&key, code)?;
        }
        let capitals =
            |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_uppercase());
        for (code, country) in &self.countries {
            let key = format!("countries.{code}");
            if !capitals(code, 2) || !capitals(&country.alpha3, 3) || country.names.is_empty() {
                return wrong(
                    &key,
                    "a country is an alpha-2 code with its alpha-3 code and at least one name",
                );
            }
        }
        CountryNames::new(&self.countries).map(drop).or_else(|twice| {
            wrong(
                "countries",
                format!("the name {twice:?} stands for two countries"),
            )
        })
    }

    /// The groups of countries for a language: anybody, unless configured.
    pub(crate) fn groups(&self, language: &str) -> Vec<Vec<String>> {
        let anybody = || vec![vec![ANYBODY.to_owned()]];
        self.accents.get(language).cloned().unwrap_or_else(anybody)
    }
}

fn wrong<T>(key: &str, why: impl Into<String>) -> Result<T> {
    Err(Error::config(format!("{key}: {}", why.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &ForvoConfig) -> String {
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_file_is_whole_and_valid() {
        let config = ForvoConfig::default();
        config.validate().unwrap();
        assert_eq!(config.base_url.as_str(), "https://apifree.forvo.com/");
        assert_eq!(config.accents["es"][0], ["MX", "CO"]);
        assert_eq!(config.limits.groups["audio"].per_day("requests"), Some(500));
        assert_eq!(config.limits.groups["audio"].day_starts.to_string(), "22:00 UTC");
        assert_eq!(config.languages["ind"], "Indonesian");
        assert_eq!(config.countries.len(), 250);
    }

    #[test]
    fn the_copy_equals_the_file_that_users_see() {
        let shown = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/providers/forvo.json");
        // A published crate stands alone.
        if let Ok(shown) = std::fs::read_to_string(shown) {
            assert!(
                shown == crate::SHIPPED,
                "config/forvo.json differs from config/providers/forvo.json"
            );
        }
    }

    #[test]
    fn it_survives_its_own_json() {
        let config = ForvoConfig::default().sex(Sex::Female).speakers("es", &["maria"]);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ForvoConfig>(&text).unwrap(), config);
        let with_more = text.replacen('{', "{\"colour\": 1, ", 1);
        assert!(serde_json::from_str::<ForvoConfig>(&with_more).is_err());
    }

    #[test]
    fn mistakes_are_named_by_their_key() {
        let base = ForvoConfig::default;
        let said = refused(&base().accents("es", &[&["MEX"]]));
        assert_eq!(
            said,
            "accents.es: \"MEX\" is not a country code here; write \"MX\""
        );
        assert_eq!(
            refused(&base().accents("id", &[&["ID"]])),
            "accents.id: forvo's code for \"id\" is \"ind\""
        );
        assert!(refused(&base().accents("es", &[])).contains("accents.es"));
        assert!(refused(&base().accents("es", &[&[]])).contains("accents.es"));
        assert!(refused(&base().accents("es", &[&["MX", "*"]])).contains("alone"));
        assert!(refused(&base().accents("es", &[&["MX"], &["MX"]])).contains("twice"));
        assert!(refused(&base().speakers("es", &["a,b"])).contains("speakers.es"));
        assert!(refused(&base().base_url("http://apifree.forvo.com".parse().unwrap())).contains("https"));
        assert!(
            base()
                .base_url("http://127.0.0.1:9/forvo".parse().unwrap())
                .validate()
                .is_ok()
        );
        let few = ForvoConfig {
            candidates: 1,
            ..base()
        };
        assert!(refused(&few).starts_with("candidates: at least 10"));
        let wav = ForvoConfig {
            format: Format::Wav,
            ..base()
        };
        assert!(refused(&wav).starts_with("format: "));
    }
}
