//! The provider: one lookup per word, the choice among its answers, a link for the client to fetch.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use media_core::http::{Auth, Http, HttpOptions, Request, Wiring};
use media_core::limit::Units;
use media_core::{
    ApiKey, Candidate, Capabilities, Connection, Error, ErrorKind, Format, Generated, Job, Link, Media,
    MediaKind, MediaProvider, MediaRequest, Prior, ProviderInfo, Resolved, Result, quoted,
};
use serde_json::Value;
use url::Url;

use crate::choice::{Choice, Rules, is_speaker};
use crate::config::{ForvoConfig, GROUP};
use crate::error::{ForvoJudge, LOOKUP};
use crate::map::{CountryNames, Found, Pronunciation, Reader, address};
use crate::missing::Missing;
use crate::wire::Answer;
use crate::{check, language, word};

/// Marks a link with the recording it leads to, behind the `#` that is never sent: so a dead link, even one that an
/// earlier run wrote down, is replaced by one to the same recording.
const MARK: &str = "forvo-";

/// One account at Forvo.
#[derive(Debug)]
pub struct Forvo {
    info: ProviderInfo,
    config: ForvoConfig,
    countries: CountryNames,
    http: Http,
}

impl Forvo {
    /// Forvo over the shipped HTTP transport, for library users.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a configuration that makes no sense.
    #[cfg(feature = "http")]
    pub fn new(config: ForvoConfig, key: ApiKey) -> Result<Forvo> {
        let wiring = Wiring::new(config.timeouts.connect.0)?;
        Forvo::with_wiring(crate::NAME, config, Some(key), wiring)
    }

    /// Forvo in surroundings of the caller's. Without a key it can check requests and send none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a configuration that makes no sense.
    pub fn with_wiring(
        name: &str,
        config: ForvoConfig,
        key: Option<ApiKey>,
        wiring: Wiring,
    ) -> Result<Forvo> {
        config.validate()?;
        let countries = CountryNames::new(&config.countries)
            .map_err(|_| Error::config("countries: a name stands for two"))?;
        let mut headers = HeaderMap::new();
        if let Some(agent) = config
            .user_agent
            .as_ref()
            .and_then(|agent| HeaderValue::try_from(agent).ok())
        {
            headers.insert(header::USER_AGENT, agent);
        }
        let settings = config.settings();
        let day_starts = settings
            .limits
            .groups
            .get(GROUP)
            .map(|limits| limits.day_starts)
            .unwrap_or_default();
        let judge = ForvoJudge {
            name: name.to_owned(),
            day_starts: day_starts.to_string(),
            website: config.website.clone(),
        };
        let http = Http::new(HttpOptions {
            name: name.to_owned(),
            base_url: config.base_url.clone(),
            key,
            // The key is a segment of the path.
            auth: Auth::None,
            headers,
            settings,
            judge: Arc::new(judge),
            wiring,
        });
        let info = ProviderInfo {
            name: name.to_owned(),
            provider: crate::NAME.to_owned(),
            formats: BTreeMap::from([(MediaKind::Audio, vec![Format::Mp3, Format::Ogg])]),
            capabilities: Capabilities {
                // Equal words of a batch share one lookup.
                batch_supported: config.words_per_batch.get() > 1,
                max_batch: config.words_per_batch.get(),
                recoverable: true,
                resend_seconds: None,
                free: true,
                candidates: true,
                remote_batch_seconds: None,
            },
        };
        Ok(Forvo {
            info,
            config,
            countries,
            http,
        })
    }

    /// Every recording of a word, the best by the configured rules first and those that do not fit last; empty if
    /// there is none. One counted call.
    ///
    /// # Errors
    /// A word or language that cannot be asked for, or why the call failed.
    pub async fn pronunciations(&self, word: &str, language: &str) -> Result<Vec<Pronunciation>> {
        let spoken = language::resolve(&self.config, &self.info.name, language)?;
        let word = word::check(&self.info.name, word, self.config.max_characters)?;
        let mut rules = Rules::of(&self.config, &spoken.code);
        if let Some(country) = spoken.country {
            rules.country = vec![vec![country]];
        }
        let found = self.look_up(&word, &spoken.code, &[]).await?;
        Ok(found.ranked(&rules, &word))
    }

    fn address(&self, pairs: &[(&str, &str)]) -> Result<Url> {
        let key = self
            .http
            .key()
            .filter(|key| !key.expose().is_empty())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::MissingApiKey,
                    format!("{} cannot be asked without a key", self.info.name),
                )
                .not_billed()
                .hint("set the variable that \"api_key_env\" names")
            })?;
        let first = [("key", key.expose()), ("format", "json")];
        Ok(address(&self.config.base_url, &[&first, pairs].concat()))
    }

    /// Looks a word up for these jobs. Without a country filter: the choice among all answers costs no extra call, and
    /// whether the service heeds the filter's spelling is not known.
    async fn look_up(&self, word: &str, language: &str, jobs: &[&Job]) -> Result<Found> {
        let url = self.address(&[
            ("action", "word-pronunciations"),
            ("word", word),
            ("language", language),
            ("order", "rate-desc"),
            ("limit", &self.config.candidates.to_string()),
        ])?;
        let units = jobs
            .first()
            .map(|job| job.resolved().units.clone())
            .unwrap_or_default();
        let request = Request::free(LOOKUP, url)
            .serving(jobs)
            .in_group(GROUP, &units)
            .counted();
        let value: Value = match self.http.json(request).await {
            // The judge has seen the redirect that means "no such word".
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::default()),
            other => other?,
        };
        let items = match Answer::read(value) {
            Ok(Answer::Items(items)) => items,
            Ok(Answer::Nothing) => Vec::new(),
            Err(shape) => {
                // The answer itself is not shown: it holds links.
                let message = format!("the answer is not as documented: {shape} came");
                return Err(Error::new(ErrorKind::BadResponse, message)
                    .in_op(LOOKUP)
                    .not_billed());
            }
        };
        Ok(Reader {
            config: &self.config,
            countries: &self.countries,
        }
        .read(items, word, language))
    }

    async fn look_up_for(&self, jobs: &[&Job]) -> Result<Found> {
        let Some(resolved) = jobs.first().map(|job| job.resolved()) else {
            return Ok(Found::default());
        };
        self.look_up(
            &resolved.content,
            resolved.language.as_deref().unwrap_or_default(),
            jobs,
        )
        .await
    }

    /// The recording for a job, out of what its lookup found. `known` is the one that was chosen before.
    fn choose(&self, job: &Job, found: &Found, known: Option<i64>) -> Result<Generated> {
        let resolved = job.resolved();
        let missing = self.missing(resolved, found);
        if found.exact.is_empty() {
            return Err(missing.of_the_word());
        }
        let choice = match known {
            Some(id) => Choice::Pinned { id },
            None => Choice::from_params(&resolved.params)?,
        };
        // A pinned one was chosen from all, by a person.
        let language = resolved.language.as_deref().unwrap_or_default();
        let usual = Rules::of(&self.config, language);
        let rules = match &choice {
            Choice::Best(rules) => rules,
            Choice::Pinned { .. } => &usual,
        };
        let mut candidates = rules.listed(&found.exact, &resolved.content, resolved.format);
        if let (Choice::Pinned { id }, None) = (&choice, known) {
            let id = id.to_string();
            let place = candidates.iter().position(|one| one.id.as_deref() == Some(&id));
            if let Some(mut pinned) = place.map(|place| candidates.remove(place)) {
                pinned.fits = found.exact.iter().any(|one| {
                    one.id.map(|id| id.to_string()) == pinned.id && one.link_to(resolved.format).is_some()
                });
                pinned.why = "the request names it".to_owned();
                candidates.insert(0, pinned);
            }
        }
        let mut takable = found
            .exact
            .iter()
            .filter(|one| one.link_to(resolved.format).is_some());
        let chosen = match &choice {
            Choice::Pinned { id } => takable.find(|one| one.id == Some(*id)).ok_or_else(|| {
                let is_it = |one: &Pronunciation| one.id == Some(*id) && one.has_unusable(resolved.format);
                match found.exact.iter().any(is_it) {
                    true => self.unusable_link(resolved),
                    false => missing.with_id(*id),
                }
            }),
            Choice::Best(rules) => {
                let mut fitting: Vec<&Pronunciation> = takable.filter(|one| rules.fits(one)).collect();
                rules.sort(&mut fitting, &resolved.content);
                // Another variant of a request is the next recording in our order.
                let place = usize::try_from(job.request().variant)
                    .unwrap_or(usize::MAX)
                    .saturating_sub(1);
                let is_unusable = |one: &Pronunciation| one.has_unusable(resolved.format) && rules.fits(one);
                match fitting.get(place) {
                    Some(chosen) => Ok(*chosen),
                    // It has one, so nobody else is to be asked for it.
                    None if found.exact.iter().any(is_unusable) => Err(self.unusable_link(resolved)),
                    None => Err(missing.that_fits(rules, fitting.len())),
                }
            }
        };
        match chosen {
            Ok(chosen) => self.generated(job, chosen, candidates),
            Err(error) => Err(error.out_of(candidates)),
        }
    }

    fn generated(&self, job: &Job, chosen: &Pronunciation, candidates: Vec<Candidate>) -> Result<Generated> {
        let resolved = job.resolved();
        let link = chosen.link_to(resolved.format).cloned();
        let mut link = link.ok_or_else(|| Error::new(ErrorKind::NotFound, "the recording has no link"))?;
        if let Some(id) = chosen.id {
            link.url.set_fragment(Some(&format!("{MARK}{id}")));
        }
        let mut facts = chosen.facts(&self.config.licence);
        facts.candidates = candidates;
        if chosen.word != resolved.content {
            facts
                .warnings
                .push(format!("it is recorded as {:?}", chosen.word));
        }
        // Only for speakers that the request names itself: a general preference is often not met.
        if let Some(wanted) = job.request().params.get("speaker").and_then(Value::as_str)
            && !wanted.trim().is_empty()
            && !wanted
                .split(',')
                .any(|name| is_speaker(name.trim(), &chosen.speaker))
        {
            facts
                .warnings
                .push(format!("it is spoken by {:?}, not by {wanted:?}", chosen.speaker));
        }
        Ok(Generated {
            media: Media::Link(link),
            facts,
        })
    }

    fn unusable_link(&self, resolved: &Resolved) -> Error {
        let message = format!(
            "{} has a recording of {}, with a link that leads nowhere safe: neither over https nor to itself",
            self.info.name,
            quoted(&resolved.content)
        );
        Error::new(ErrorKind::BadResponse, message)
            .in_op(LOOKUP)
            .not_billed()
    }

    /// Words for why nothing is taken.
    fn missing<'a>(&'a self, resolved: &'a Resolved, found: &'a Found) -> Missing<'a> {
        Missing {
            service: &self.info.name,
            candidates: self.config.candidates as usize,
            resolved,
            found,
        }
    }
}

/// Which recording a link was marked with.
fn marked(link: &Link) -> Option<i64> {
    link.url.fragment()?.strip_prefix(MARK)?.parse().ok()
}

#[async_trait]
impl MediaProvider for Forvo {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn check(&self, request: &MediaRequest) -> Result<Resolved> {
        check::resolve(&self.info.name, &self.config, request)
    }

    /// One lookup per word, whatever is chosen from its answers; by language, countries and word.
    async fn generate_batch(&self, jobs: &[Job]) {
        let mut words: BTreeMap<(&str, &str), Vec<&Job>> = BTreeMap::new();
        for job in jobs {
            let resolved = job.resolved();
            let language = resolved.language.as_deref().unwrap_or_default();
            words.entry((language, &resolved.content)).or_default().push(job);
        }
        let mut words: Vec<_> = words.into_iter().collect();
        words.sort_by_cached_key(|((language, _), jobs)| {
            let country = jobs.first().and_then(|job| job.resolved().value("country"));
            ((*language).to_owned(), country.map(|country| country.to_string()))
        });
        let mut halt: Option<Error> = None;
        for (_, jobs) in words {
            let found = match &halt {
                Some(halt) => Err(halt.clone()),
                None => self.look_up_for(&jobs).await,
            };
            // A bad key or a spent day would refuse the next word too, and the refusal may count as a call.
            halt = found
                .as_ref()
                .err()
                .filter(|error| error.kind().stops_lane())
                .cloned();
            for job in jobs {
                job.finish(
                    found
                        .as_ref()
                        .map_err(Error::clone)
                        .and_then(|found| self.choose(job, found, None)),
                );
            }
        }
    }

    /// A dead link is looked up once more, for the same recording. That is one more counted call.
    async fn recover(&self, jobs: &[Job]) {
        for job in jobs {
            // Nothing is made at Forvo, so there is nothing to fetch before a link was given.
            let Prior::Linked { link, .. } = job.prior() else {
                continue;
            };
            let found = self.look_up_for(&[job]).await;
            job.finish(found.and_then(|found| self.choose(job, &found, marked(link))));
        }
    }

    /// One counted call.
    async fn candidates(&self, request: &MediaRequest) -> Result<Vec<Candidate>> {
        let resolved = self.check(request)?;
        let language = resolved.language.as_deref().unwrap_or_default();
        let rules = match Choice::from_params(&resolved.params)? {
            Choice::Best(rules) => rules,
            Choice::Pinned { .. } => Rules::of(&self.config, language),
        };
        let found = self.look_up(&resolved.content, language, &[]).await?;
        Ok(rules.listed(&found.exact, &resolved.content, resolved.format))
    }

    async fn test_connection(&self) -> Result<Connection> {
        let url = self.address(&[("action", "language-popular"), ("limit", "1")])?;
        let request = Request::free("connection test", url)
            .in_group(GROUP, &Units::default())
            .counted();
        let value: Value = self.http.json(request).await?;
        if value.get("items").and_then(Value::as_array).is_none() {
            let message = "the answer is not a list of languages";
            return Err(Error::new(ErrorKind::BadResponse, message)
                .in_op("connection test")
                .not_billed());
        }
        let host = self.config.base_url.host_str().unwrap_or_default();
        Ok(Connection {
            notes: vec![
                format!("{host} took the key"),
                "this test may count as one of the day's calls, and is counted here as one".to_owned(),
            ],
            warnings: Vec::new(),
        })
    }
}
