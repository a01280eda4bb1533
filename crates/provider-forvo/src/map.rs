//! Pure mapping: from a request to Forvo's path, from its answer to recordings in our order.

use std::collections::{BTreeMap, HashMap};

use media_core::{Facts, Format, Link};
use url::Url;

use crate::choice::{Rules, Sex};
use crate::config::{Country, ForvoConfig};
use crate::wire::Item;
use crate::word;

/// One recording of a word.
#[derive(Clone, Debug, PartialEq)]
pub struct Pronunciation {
    /// Forvo's own id, which the parameter `id` takes.
    pub id: Option<i64>,
    /// The word as its contributor wrote it.
    pub word: String,
    /// The contributor who speaks.
    pub speaker: String,
    /// The speaker's sex, if it is told.
    pub sex: Sex,
    /// The speaker's country by its English name; empty if it is not told.
    pub country: String,
    /// The country as an ISO 3166-1 alpha-2 code, if the name is known.
    pub country_code: Option<String>,
    /// Positive votes minus negative ones.
    pub rate: i64,
    /// Votes in all.
    pub votes: i64,
    /// Positive votes.
    pub positive_votes: i64,
    /// The credit that Forvo's terms ask for, with where its website tells of the word.
    pub credit: String,
    /// Whether the configured rules (country, sex, rate, format) would take it.
    pub fits: bool,
    /// Where it is, in the configured format. Lives two hours; each fetch is a counted call.
    pub link: Option<Link>,
    pub(crate) mp3: Option<Link>,
    pub(crate) ogg: Option<Link>,
    /// It came with a link to this format that may not be followed.
    pub(crate) has_unusable_mp3: bool,
    /// See `has_unusable_mp3`.
    pub(crate) has_unusable_ogg: bool,
}

impl Pronunciation {
    /// Where it is in this format.
    #[must_use]
    pub fn link_to(&self, format: Format) -> Option<&Link> {
        match format {
            Format::Mp3 => self.mp3.as_ref(),
            Format::Ogg => self.ogg.as_ref(),
            _ => None,
        }
    }

    /// Whether there is one of this format, behind a link that may not be followed.
    pub(crate) fn has_unusable(&self, format: Format) -> bool {
        match format {
            Format::Ogg => self.has_unusable_ogg,
            _ => self.has_unusable_mp3,
        }
    }

    /// What is known about it beside its sound.
    pub(crate) fn facts(&self, licence: &str) -> Facts {
        Facts {
            remote_id: self.id.map(|id| id.to_string()),
            credit: Some(self.credit.clone()),
            licence: Some(licence.to_owned()).filter(|licence| !licence.is_empty()),
            ..Facts::default()
        }
    }
}

fn credit(website: &Url, word: &str, speaker: &str, country: &str) -> String {
    let by = match speaker {
        "" => String::new(),
        speaker => format!(" by {speaker}"),
    };
    let from = match country {
        "" => String::new(),
        country => format!(" ({country})"),
    };
    let site = website.as_str().trim_end_matches('/');
    format!(
        "Pronunciation{by}{from} on Forvo, {site}/word/{}/",
        segment(&slug(word))
    )
}

fn slug(word: &str) -> String {
    word.to_lowercase().replace(' ', "_")
}

/// A value as one segment of a path: every byte that is not unreserved is encoded, for `+` and the like are read in
/// more than one way.
pub(crate) fn segment(value: &str) -> String {
    use std::fmt::Write as _;
    value
        .bytes()
        .fold(String::with_capacity(value.len()), |mut text, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
            text
        })
}

/// The address of a call: names and values below the base, each value one segment.
pub(crate) fn address(base: &Url, pairs: &[(&str, &str)]) -> Url {
    let mut path = base.path().trim_end_matches('/').to_owned();
    for (name, value) in pairs {
        path.push('/');
        path.push_str(name);
        path.push('/');
        path.push_str(&segment(value));
    }
    let mut url = base.clone();
    url.set_path(&path);
    url
}

/// English names of countries, and codes, to alpha-2 codes: one thing that Forvo writes in three vocabularies.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountryNames(HashMap<String, String>);

impl CountryNames {
    /// From the configured table; fails with a name that stands for two countries.
    pub(crate) fn new(countries: &BTreeMap<String, Country>) -> Result<CountryNames, String> {
        let mut names: HashMap<String, String> = HashMap::new();
        for (code, country) in countries {
            for name in country.names.iter().chain([code, &country.alpha3]) {
                let before = names.insert(plain(name), code.clone());
                if before.is_some_and(|before| before != *code) {
                    return Err(name.clone());
                }
            }
        }
        Ok(CountryNames(names))
    }

    /// The code of a country.
    pub(crate) fn code_of(&self, name: &str) -> Option<&str> {
        self.0.get(&plain(name)).map(String::as_str)
    }
}

/// A name without case, blanks and punctuation.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The answers of one lookup, told apart by their word.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Recordings of the very word.
    pub(crate) exact: Vec<Pronunciation>,
    /// Words that the service takes for the same, with how many recordings each has.
    pub(crate) near: BTreeMap<String, usize>,
    /// How many answers came in all; as many as were asked for means that there may be more.
    pub(crate) total: usize,
}

/// What is needed to read items.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a ForvoConfig,
    pub(crate) countries: &'a CountryNames,
}

impl Reader<'_> {
    /// Reads the items of a lookup of `word` (cleaned) in `language` (Forvo's code).
    ///
    /// The service compares words without accents and tones; here only the very word counts. `original` decides where
    /// there is one; the slug is only asked when it is missing.
    pub(crate) fn read(&self, items: Vec<Item>, word: &str, language: &str) -> Found {
        let wanted = word::fold(word, language);
        let mut found = Found {
            total: items.len(),
            ..Found::default()
        };
        for item in items {
            if !item.code.is_empty() && !item.code.eq_ignore_ascii_case(language) {
                continue;
            }
            let recording = self.recording(item);
            if word::fold(&recording.word, language) == wanted {
                found.exact.push(recording);
            } else {
                *found.near.entry(recording.word).or_default() += 1;
            }
        }
        found
    }

    fn recording(&self, item: Item) -> Pronunciation {
        let word = if item.original.trim().is_empty() {
            item.word.replace('_', " ")
        } else {
            item.original
        };
        let (votes, positive) = (item.num_votes.unwrap_or(0), item.num_positive_votes.unwrap_or(0));
        let (mp3, ogg) = (self.link(&item.pathmp3), self.link(&item.pathogg));
        let word = word::clean(&word);
        let (speaker, country) = (item.username.trim(), item.country.trim());
        Pronunciation {
            id: item.id,
            credit: credit(&self.config.website, &word, speaker, country),
            word,
            speaker: speaker.to_owned(),
            sex: Sex::read(item.sex.trim()).unwrap_or_default(),
            country_code: self.countries.code_of(country).map(str::to_owned),
            country: country.to_owned(),
            // rate = positives - negatives; older answers may lack it.
            rate: item
                .rate
                .unwrap_or_else(|| positive.saturating_mul(2).saturating_sub(votes)),
            votes,
            positive_votes: positive,
            fits: false,
            link: if self.config.format == Format::Ogg {
                ogg.clone()
            } else {
                mp3.clone()
            },
            has_unusable_mp3: !item.pathmp3.trim().is_empty() && mp3.is_none(),
            has_unusable_ogg: !item.pathogg.trim().is_empty() && ogg.is_none(),
            mp3,
            ogg,
        }
    }

    /// A link that may be followed: over TLS, or at the service itself. Its fetch is a counted call.
    fn link(&self, text: &str) -> Option<Link> {
        let mut url = Url::parse(text.trim()).ok()?;
        let base = &self.config.base_url;
        if url.scheme() == "http" && base.scheme() == "https" && url.host() == base.host() {
            // Old answers wrote http:// for what is there over TLS too.
            url.set_scheme("https").ok()?;
        }
        let may = url.scheme() == "https" || url.origin() == base.origin();
        may.then(|| Link::new(url).counted_in(crate::config::GROUP))
    }
}

impl Found {
    /// The recordings in our order, the best first; those that do not fit last.
    pub(crate) fn ranked(mut self, rules: &Rules, word: &str) -> Vec<Pronunciation> {
        rules.sort(&mut self.exact, word);
        for recording in &mut self.exact {
            recording.fits = rules.fits(recording) && recording.link.is_some();
        }
        self.exact
    }
}

#[cfg(test)]
impl Pronunciation {
    pub(crate) fn blank(word: &str) -> Pronunciation {
        Pronunciation {
            id: None,
            word: word.to_owned(),
            speaker: String::new(),
            sex: Sex::Any,
            country: String::new(),
            country_code: None,
            rate: 0,
            votes: 0,
            positive_votes: 0,
            credit: String::new(),
            fits: false,
            link: None,
            mp3: None,
            ogg: None,
            has_unusable_mp3: false,
            has_unusable_ogg: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: Vec<Item>, word: &str, language: &str) -> Found {
        let config = ForvoConfig::default();
        let countries = CountryNames::new(&config.countries).unwrap();
        Reader {
            config: &config,
            countries: &countries,
        }
        .read(items, word, language)
    }

    fn item(original: &str) -> Item {
        Item {
            id: Some(1),
            word: original.to_lowercase().replace(' ', "_"),
            original: original.to_owned(),
            pathmp3: "https://apifree.forvo.com/audio/abc".to_owned(),
            ..Item::default()
        }
    }

    #[test]
    fn no_value_can_leave_its_segment() {
        let base = Url::parse("https://apifree.forvo.com/x/").unwrap();
        for (value, path) in [
            ("el perro", "/x/word/el%20perro"),
            ("a/b", "/x/word/a%2Fb"),
            ("%", "/x/word/%25"),
            ("%2F..", "/x/word/%252F.."),
            ("C++", "/x/word/C%2B%2B"),
            ("a?b#c\\d;e=f&g", "/x/word/a%3Fb%23c%5Cd%3Be%3Df%26g"),
            ("ñ", "/x/word/%C3%B1"),
            ("...", "/x/word/..."),
        ] {
            let url = address(&base, &[("word", value)]);
            assert_eq!(url.path(), path);
            assert_eq!((url.query(), url.fragment()), (None, None), "{value}");
        }
        let url = address(&base, &[("key", "K"), ("word", "hola"), ("limit", "50")]);
        assert_eq!(
            url.as_str(),
            "https://apifree.forvo.com/x/key/K/word/hola/limit/50"
        );
    }

    #[test]
    fn countries_in_every_vocabulary() {
        let names = CountryNames::new(&ForvoConfig::default().countries).unwrap();
        for (name, code) in [
            ("Mexico", "MX"),
            ("United States", "US"),
            ("United Kingdom", "GB"),
            ("Korea, Republic of", "KR"),
            ("korea republic of", "KR"),
            ("Viet Nam", "VN"),
            ("Vietnam", "VN"),
            ("Iran, Islamic Republic of", "IR"),
            ("Bolivia", "BO"),
            ("Czech Republic", "CZ"),
            ("Russian Federation", "RU"),
            ("Taiwan", "TW"),
            ("Turkey", "TR"),
            ("MEX", "MX"),
            ("mx", "MX"),
        ] {
            assert_eq!(names.code_of(name), Some(code), "{name}");
        }
        assert_eq!(names.code_of(""), None);
        assert_eq!(names.code_of("Atlantis"), None);
    }

    #[test]
    fn only_the_very_word_counts() {
        let found = read(
            vec![
                item("Sabana"),
                item("sábana"),
                item("sabana"),
                item("SA\u{301}BANA"),
            ],
            "sábana",
            "es",
        );
        assert_eq!(found.exact.len(), 2);
        assert_eq!(
            found.near,
            BTreeMap::from([("Sabana".to_owned(), 1), ("sabana".to_owned(), 1)])
        );
        assert_eq!(found.total, 4);
    }

    #[test]
    fn the_slug_speaks_only_where_nothing_else_does() {
        let slug_only = Item {
            original: String::new(),
            ..item("auf Wiederschauen")
        };
        assert_eq!(read(vec![slug_only], "auf Wiederschauen", "de").exact.len(), 1);
        let both = Item {
            word: "reste".to_owned(),
            ..item("resté")
        };
        assert!(read(vec![both], "reste", "fr").exact.is_empty());
    }

    #[test]
    fn answers_of_another_language_do_not_count() {
        let english = Item {
            code: "en".to_owned(),
            ..item("chat")
        };
        let found = read(vec![english], "chat", "fr");
        assert!(found.exact.is_empty() && found.near.is_empty());
    }

    #[test]
    fn a_missing_rate_is_computed_and_links_are_checked() {
        let votes = Item {
            num_votes: Some(5),
            num_positive_votes: Some(4),
            ..item("a")
        };
        assert_eq!(read(vec![votes], "a", "es").exact[0].rate, 3);
        let link = |path: &str| {
            let item = Item {
                pathmp3: path.to_owned(),
                ..item("a")
            };
            read(vec![item], "a", "es").exact[0]
                .mp3
                .as_ref()
                .map(|link| link.url.to_string())
        };
        assert_eq!(
            link("http://apifree.forvo.com/audio/x").as_deref(),
            Some("https://apifree.forvo.com/audio/x")
        );
        assert_eq!(
            link("https://audio00.forvo.com/x.mp3").as_deref(),
            Some("https://audio00.forvo.com/x.mp3")
        );
        for bad in [
            "http://elsewhere.example/x",
            "file:///etc/passwd",
            "",
            "/audio/x",
            "ftp://apifree.forvo.com/x",
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_credit_names_the_speaker_and_forvo() {
        let website = "https://forvo.com".parse().unwrap();
        assert_eq!(
            credit(&website, "El Niño", "maria", "Mexico"),
            "Pronunciation by maria (Mexico) on Forvo, https://forvo.com/word/el_ni%C3%B1o/"
        );
        assert_eq!(
            credit(&website, "a", "", ""),
            "Pronunciation on Forvo, https://forvo.com/word/a/"
        );
    }
}
