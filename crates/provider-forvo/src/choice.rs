//! The rules by which one recording is chosen among the answers, and their order.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use media_core::{Candidate, Error, ErrorKind, Format, Params, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::PARAMS;
use crate::config::{Country, ForvoConfig};
use crate::language::Spoken;
use crate::map::Pronunciation;

/// Stands in a list of countries for all that it does not name, and for recordings without a country.
pub(crate) const ANYBODY: &str = "*";

/// The sex of a speaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
pub enum Sex {
    /// Either; of a speaker: not told.
    #[default]
    #[serde(rename = "any")]
    Any,
    /// Female.
    #[serde(rename = "f")]
    Female,
    /// Male.
    #[serde(rename = "m")]
    Male,
}

impl Sex {
    /// Reads `f`, `m` or `any`.
    pub(crate) fn read(text: &str) -> Option<Sex> {
        match text {
            "any" => Some(Sex::Any),
            "f" => Some(Sex::Female),
            "m" => Some(Sex::Male),
            _ => None,
        }
    }
}

/// What decides which recording is taken: the resolved parameters of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Choice {
    /// One recording and no other.
    Pinned {
        /// Its id.
        id: i64,
    },
    /// The best by these rules.
    Best(Rules),
}

/// Which recordings fit, and which of them is best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// Groups of countries in order of preference.
    pub(crate) country: Vec<Vec<String>>,
    /// Preferred speakers within a group.
    pub(crate) speaker: Vec<String>,
    pub(crate) sex: Sex,
    pub(crate) minimum_rate: i64,
    /// How many answers the choice is made among.
    pub(crate) candidates: u32,
}

impl Choice {
    /// The rules for a request: its own parameters, else the tag's region, else the configuration.
    pub(crate) fn of(
        config: &ForvoConfig,
        params: &Params<'_>,
        spoken: &Spoken,
        variant: u32,
    ) -> Result<Choice> {
        if let Some(id) = params.integer("id") {
            let other = PARAMS
                .iter()
                .map(|spec| spec.name)
                .find(|name| *name != "id" && params.get(name).is_some());
            if let Some(other) = other {
                return refuse(format!(
                    "\"id\" names one recording, so {other:?} has nothing to choose"
                ));
            }
            if variant != 1 {
                return refuse("\"id\" names one recording, so there is no other variant of it".to_owned());
            }
            return Ok(Choice::Pinned { id });
        }
        let mut rules = Rules::of(config, &spoken.code);
        if let Some(country) = &spoken.country {
            rules.country = vec![vec![country.clone()]];
        }
        if let Some(text) = params.text("country") {
            let group = |part: &str| list(part).map(str::to_ascii_uppercase).collect::<Vec<_>>();
            rules.country = text.split(';').map(group).collect();
            check_groups(&rules.country, &config.countries)
                .or_else(|why| refuse(format!("the parameter \"country\": {why}")))?;
        }
        if let Some(text) = params.text("speaker") {
            rules.speaker = list(text).map(str::to_owned).collect();
        }
        if let Some(text) = params.text("sex") {
            rules.sex = match Sex::read(text.trim()) {
                Some(sex) => sex,
                None => return refuse(format!("the parameter \"sex\" is f, m or any, not {text:?}")),
            };
        }
        if let Some(rate) = params.integer("minimum_rate") {
            rules.minimum_rate = rate;
        }
        // The order inside a group decides nothing, so it must not make another purchase either.
        rules.country.iter_mut().for_each(|group| group.sort());
        Ok(Choice::Best(rules))
    }

    /// As the parameters of a resolved request.
    pub(crate) fn to_params(&self) -> BTreeMap<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Back from there.
    pub(crate) fn from_params(params: &BTreeMap<String, Value>) -> Result<Choice> {
        let map = params.clone().into_iter().collect();
        serde_json::from_value(Value::Object(map)).map_err(|error| {
            Error::new(
                ErrorKind::InvalidRequest,
                "the resolved parameters are not forvo's",
            )
            .because(error)
            .not_billed()
        })
    }
}

impl Rules {
    /// The configured rules for a language, as Forvo names it.
    pub(crate) fn of(config: &ForvoConfig, language: &str) -> Rules {
        Rules {
            country: config.groups(language),
            speaker: config.speakers.get(language).cloned().unwrap_or_default(),
            sex: config.sex,
            minimum_rate: config.minimum_rate,
            candidates: config.candidates,
        }
    }

    /// The place of a country's group; none when no group takes it.
    fn group_of(&self, country: Option<&str>) -> Option<usize> {
        let holding = |code: &str| {
            self.country
                .iter()
                .position(|group| group.iter().any(|one| one == code))
        };
        country.and_then(holding).or_else(|| holding(ANYBODY))
    }

    /// Whether a recording may be taken.
    pub(crate) fn fits(&self, recording: &Pronunciation) -> bool {
        self.group_of(recording.country_code.as_deref()).is_some()
            && (self.sex == Sex::Any || self.sex == recording.sex)
            && recording.rate >= self.minimum_rate
    }

    /// Sorts the best to the front. The lowest id decides last, so the same answers give the same order for ever.
    pub(crate) fn sort<R: Borrow<Pronunciation>>(&self, recordings: &mut [R], word: &str) {
        recordings.sort_by_cached_key(|recording| {
            let recording = recording.borrow();
            let speaker = self
                .speaker
                .iter()
                .position(|name| is_speaker(name, &recording.speaker));
            (
                !self.fits(recording),
                // "polish" and "Polish" are written alike but for the case, and not spoken alike.
                recording.word != word,
                self.group_of(recording.country_code.as_deref())
                    .unwrap_or(usize::MAX),
                speaker.unwrap_or(usize::MAX),
                Reverse(recording.rate),
                Reverse(recording.positive_votes),
                recording.id.unwrap_or(i64::MAX),
            )
        });
    }

    /// All recordings in our order, each with why it stands where it does.
    pub(crate) fn listed(&self, recordings: &[Pronunciation], word: &str, format: Format) -> Vec<Candidate> {
        let mut all: Vec<&Pronunciation> = recordings.iter().collect();
        self.sort(&mut all, word);
        let candidates = all.into_iter().map(|one| {
            let refusal = self.refusal(one, format);
            Candidate {
                id: one.id.map(|id| id.to_string()),
                speaker: one.speaker.clone(),
                sex: match one.sex {
                    Sex::Any => None,
                    Sex::Female => Some("f".to_owned()),
                    Sex::Male => Some("m".to_owned()),
                },
                country: one
                    .country_code
                    .clone()
                    .or_else(|| Some(one.country.clone()).filter(|name| !name.is_empty())),
                rate: one.rate,
                votes: one.votes,
                fits: refusal.is_none(),
                why: refusal.unwrap_or_else(|| self.merits(one)),
                pin: one
                    .id
                    .map(|id| ("id".to_owned(), Value::from(id)))
                    .into_iter()
                    .collect(),
            }
        });
        let (fitting, others): (Vec<_>, Vec<_>) = candidates.partition(|candidate| candidate.fits);
        fitting.into_iter().chain(others).collect()
    }

    /// Why a recording may not be taken.
    fn refusal(&self, recording: &Pronunciation, format: Format) -> Option<String> {
        if recording.link_to(format).is_none() {
            return Some(format!("there is no {format} of it"));
        }
        if self.group_of(recording.country_code.as_deref()).is_none() {
            return Some(format!("only {} are asked for", self.country.concat().join(", ")));
        }
        if self.sex != Sex::Any && self.sex != recording.sex {
            let wanted = if self.sex == Sex::Female { "women" } else { "men" };
            return Some(format!("only {wanted} are asked for"));
        }
        (recording.rate < self.minimum_rate)
            .then(|| format!("its rate of {} is under {}", recording.rate, self.minimum_rate))
    }

    /// What puts a recording before others, most telling first.
    fn merits(&self, recording: &Pronunciation) -> String {
        let group = self.group_of(recording.country_code.as_deref());
        let mut merits = Vec::new();
        if let Some((place, countries)) = group.and_then(|place| Some((place, self.country.get(place)?))) {
            let of = self.country.len();
            merits.push(match countries.as_slice() {
                [any] if any == ANYBODY => format!("group {} of {of} (anybody)", place + 1),
                countries => format!("group {} of {of} ({})", place + 1, countries.join(", ")),
            });
        }
        if self
            .speaker
            .iter()
            .any(|name| is_speaker(name, &recording.speaker))
        {
            merits.push("a preferred speaker".to_owned());
        }
        merits.push(format!(
            "{} of {} votes for it",
            recording.positive_votes, recording.votes
        ));
        merits.join(", ")
    }

    /// What is asked of a recording beyond being of the word, for a message: `from MX, by a woman`.
    pub(crate) fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.group_of(None).is_none() {
            parts.push(format!("from {}", self.country.concat().join(", ")));
        }
        match self.sex {
            Sex::Any => {}
            Sex::Female => parts.push("by a woman".to_owned()),
            Sex::Male => parts.push("by a man".to_owned()),
        }
        parts.push(format!("with a rate of {} or more", self.minimum_rate));
        parts.join(", ")
    }
}

/// Whether these are the names of one contributor; their case is not trusted to be copied right.
pub(crate) fn is_speaker(wanted: &str, name: &str) -> bool {
    wanted.to_lowercase() == name.to_lowercase()
}

/// Checks groups of countries; the failure says what is wrong.
pub(crate) fn check_groups(
    groups: &[Vec<String>],
    countries: &BTreeMap<String, Country>,
) -> Result<(), String> {
    if groups.is_empty() || groups.iter().any(Vec::is_empty) {
        return Err("a group of countries is empty; \"*\" stands for anybody".to_owned());
    }
    let mut seen: Vec<&str> = Vec::new();
    for code in groups.iter().flatten() {
        if seen.contains(&code.as_str()) {
            return Err(format!("{code:?} stands there twice"));
        }
        seen.push(code);
        if code == ANYBODY || countries.contains_key(code) {
            continue;
        }
        let wanted = code.to_lowercase();
        let meant = countries.iter().find(|(alpha2, country)| {
            let names = country.names.iter().chain([&country.alpha3, *alpha2]);
            names.into_iter().any(|name| name.to_lowercase() == wanted)
        });
        return Err(match meant {
            Some((alpha2, _)) => format!("{code:?} is not a country code here; write {alpha2:?}"),
            None => format!("{code:?} is not the ISO 3166 alpha-2 code of a country"),
        });
    }
    if groups
        .iter()
        .any(|group| group.len() > 1 && group.iter().any(|code| code == ANYBODY))
    {
        return Err("\"*\" stands for anybody else and so stands alone in its group".to_owned());
    }
    Ok(())
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::invalid(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use media_core::MediaKind;
    use serde_json::json;

    fn choice(params: Value, tag: &str) -> Result<Choice> {
        let config = ForvoConfig::default();
        let values: BTreeMap<String, Value> = serde_json::from_value(params).unwrap();
        let params = Params::check("forvo", MediaKind::Audio, &values, PARAMS)?;
        let spoken = crate::language::resolve(&config, "forvo", tag)?;
        Choice::of(&config, &params, &spoken, 1)
    }

    fn rules(params: Value, tag: &str) -> Rules {
        match choice(params, tag).unwrap() {
            Choice::Best(rules) => rules,
            Choice::Pinned { .. } => panic!("pinned"),
        }
    }

    fn recording(id: i64, country: Option<&str>, speaker: &str, rate: i64) -> Pronunciation {
        Pronunciation {
            id: Some(id),
            country_code: country.map(str::to_owned),
            speaker: speaker.to_owned(),
            rate,
            ..Pronunciation::blank("perro")
        }
    }

    #[test]
    fn parameters_beat_the_region_and_that_the_configuration() {
        assert_eq!(rules(json!({}), "es").country[0], ["CO", "MX"]);
        assert_eq!(rules(json!({}), "es-AR").country, [["AR"]]);
        assert_eq!(rules(json!({}), "fr").country, [["*"]]);
        let own = rules(
            json!({"country": "mx, co;es ;*", "speaker": " a, b ,", "sex": "f", "minimum_rate": 2}),
            "es-AR",
        );
        assert_eq!(own.country, [vec!["CO", "MX"], vec!["ES"], vec!["*"]]);
        assert_eq!(own.speaker, ["a", "b"]);
        assert_eq!((own.sex, own.minimum_rate), (Sex::Female, 2));
    }

    #[test]
    fn parameters_that_say_nothing_sensible_are_refused() {
        for (params, expected) in [
            (json!({"country": "MX;;ES"}), "empty"),
            (json!({"country": "Mexico"}), "write \"MX\""),
            (json!({"country": "MX,*"}), "alone"),
            (json!({"sex": "female"}), "f, m or any"),
            (json!({"id": 1, "speaker": "a"}), "\"speaker\""),
            (json!({"voice": "a"}), "no parameter"),
            (json!({"id": "1"}), "whole number"),
        ] {
            let error = choice(params, "es").unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn resolved_parameters_come_back_as_they_went() {
        for params in [json!({}), json!({"id": 7}), json!({"sex": "m", "country": "ES"})] {
            let choice = choice(params, "es").unwrap();
            assert_eq!(Choice::from_params(&choice.to_params()).unwrap(), choice);
        }
        assert_eq!(
            serde_json::to_value(choice(json!({"id": 7}), "es").unwrap()).unwrap(),
            json!({"id": 7})
        );
    }

    #[test]
    fn groups_then_speakers_then_votes_then_the_lowest_id() {
        let rules = rules(json!({"country": "MX,CO;ES;*", "speaker": "Maria,pablo"}), "es");
        let mut all = vec![
            recording(9, None, "x", 90),
            recording(8, Some("ES"), "maria", 80),
            recording(7, Some("CO"), "x", 3),
            recording(6, Some("MX"), "y", 3),
            recording(5, Some("MX"), "pablo", 0),
            recording(4, Some("CO"), "MARIA", -1),
            recording(3, Some("MX"), "maria", -2),
        ];
        rules.sort(&mut all, "perro");
        let order: Vec<_> = all.iter().filter_map(|one| one.id).collect();
        assert_eq!(order, [4, 5, 6, 7, 8, 9, 3], "3 is rated too low and comes last");
    }

    #[test]
    fn the_same_capitals_come_first() {
        let rules = rules(json!({}), "en");
        let mut all = vec![
            Pronunciation {
                word: "Polish".to_owned(),
                ..recording(1, None, "x", 50)
            },
            Pronunciation {
                word: "polish".to_owned(),
                ..recording(2, None, "x", 0)
            },
        ];
        rules.sort(&mut all, "polish");
        assert_eq!(all[0].id, Some(2));
    }

    #[test]
    fn a_country_without_a_group_fits_only_anybody() {
        let strict = rules(json!({"country": "PT"}), "pt");
        assert!(!strict.fits(&recording(1, Some("BR"), "x", 5)));
        assert!(!strict.fits(&recording(1, None, "x", 5)));
        assert!(rules(json!({"country": "PT;*"}), "pt").fits(&recording(1, None, "x", 5)));
        assert_eq!(strict.describe(), "from PT, with a rate of -1 or more");
    }

    #[test]
    fn candidates_say_why_they_stand_where_they_do() {
        let rules = Rules {
            country: vec![vec!["MX".to_owned()], vec![ANYBODY.to_owned()]],
            speaker: vec!["Ana".to_owned()],
            sex: Sex::Female,
            minimum_rate: 0,
            candidates: 50,
        };
        let recording = |id, speaker: &str, country: Option<&str>, sex, rate| Pronunciation {
            id: Some(id),
            speaker: speaker.to_owned(),
            country_code: country.map(str::to_owned),
            sex,
            rate,
            votes: 4,
            positive_votes: 3,
            mp3: Some(media_core::Link::new(url::Url::parse("https://h/x").unwrap())),
            ..Pronunciation::blank("perro")
        };
        let all = [
            recording(1, "Eva", None, Sex::Female, 9),
            recording(2, "ana", Some("MX"), Sex::Female, 2),
            recording(3, "Bob", Some("MX"), Sex::Male, 9),
            recording(4, "Isa", Some("MX"), Sex::Female, -1),
        ];
        let listed = rules.listed(&all, "perro", Format::Mp3);
        let told: Vec<_> = listed
            .iter()
            .map(|one| (one.id.as_deref().unwrap(), one.fits, one.why.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "2",
                    true,
                    "group 1 of 2 (MX), a preferred speaker, 3 of 4 votes for it"
                ),
                ("1", true, "group 2 of 2 (anybody), 3 of 4 votes for it"),
                ("3", false, "only women are asked for"),
                ("4", false, "its rate of -1 is under 0"),
            ]
        );
        assert_eq!(listed[0].pin["id"], 2);
        assert!(
            rules
                .listed(&all, "perro", Format::Ogg)
                .iter()
                .all(|one| one.why.contains("no ogg"))
        );
    }
}
