//! The dictionary: which words exist, and recordings made up from their letters.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::{countries, languages};
use crate::hash::{self, Dice};
use crate::scenario::Forvo;

/// A recording.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) id: u64,
    pub(crate) original: String,
    pub(crate) addtime: String,
    pub(crate) hits: u64,
    pub(crate) username: String,
    pub(crate) sex: &'static str,
    /// An English name, or empty.
    pub(crate) country: &'static str,
    pub(crate) language: &'static str,
    pub(crate) votes: i64,
    pub(crate) positive: i64,
}

impl Recording {
    /// Positive votes minus negative ones.
    pub(crate) fn rate(&self) -> i64 {
        2 * self.positive - self.votes
    }

    /// The stored form: lower case, blanks as underscores, accents kept.
    pub(crate) fn slug(&self) -> String {
        self.original.to_lowercase().replace(' ', "_")
    }

    pub(crate) fn language_name(&self) -> &'static str {
        languages::name(self.language).unwrap_or_default()
    }
}

/// A word without case and accents, as the service compares words.
pub(crate) fn folded(word: &str) -> String {
    word.replace('_', " ")
        .nfd()
        .filter(|letter| !is_combining_mark(*letter))
        .collect::<String>()
        .to_lowercase()
}

const SPEAKERS: [(&str, &str); 12] = [
    ("marianela", "f"),
    ("tono78", "m"),
    ("lucia_r", "f"),
    ("elpollodeoro", "m"),
    ("AnaSofia", "f"),
    ("jorge.v", "m"),
    ("szurszuncik", "m"),
    ("Pat91", "f"),
    ("quentindev", "m"),
    ("Mi-Sook", "f"),
    ("wordreader", "m"),
    ("halina_k", "f"),
];

/// Every recording of every spelling that the query matches without regard to accents.
pub(crate) fn find(scenario: &Forvo, word: &str, language: Option<&'static str>) -> Vec<Recording> {
    // A `+` in a path is a plus and no blank, and no word has one.
    if word.contains('+') || word.trim().is_empty() {
        return Vec::new();
    }
    let plain = folded(word);
    let listed = scenario
        .siblings
        .iter()
        .find(|(known, _)| folded(known) == plain)
        .map(|(_, spellings)| spellings);
    let own = [word.to_owned()];
    let spellings = listed.map_or(own.as_slice(), Vec::as_slice);
    let missing = |spelling: &str| {
        let lower: String = spelling.to_lowercase().nfc().collect();
        scenario
            .missing
            .iter()
            .any(|word| word.to_lowercase().nfc().collect::<String>() == lower)
    };
    let languages: &[&'static str] = match &language {
        Some(code) => std::slice::from_ref(code),
        // Without a language, whoever recorded the word in any.
        None => &["en", "es"],
    };
    let mut found = Vec::new();
    for spelling in spellings.iter().filter(|spelling| !missing(spelling)) {
        for code in languages {
            found.extend(recordings(spelling, code));
        }
    }
    found
}

/// Two to five recordings, always the same for the same word.
fn recordings(word: &str, language: &'static str) -> Vec<Recording> {
    let original: String = word.nfc().collect();
    let mut dice = Dice::new(hash::number(&["word", &original, language]));
    let countries = countries::speaking(language);
    let count = 2 + dice.below(4);
    let (first_speaker, first_country) = (dice.below(12), dice.below(countries.len() as u64));
    (0..count)
        .map(|index| {
            let (username, sex) = *SPEAKERS
                .get(((first_speaker + index) % 12) as usize)
                .unwrap_or(&("", ""));
            // Going round, so that a word has several countries where its language has.
            let country = (first_country + index) % (countries.len() as u64).max(1);
            let votes = dice.below(12) as i64;
            let (year, month, day) = (2008 + dice.below(17), 1 + dice.below(12), 1 + dice.below(28));
            let (hour, minute, second) = (dice.below(24), dice.below(60), dice.below(60));
            Recording {
                id: hash::number(&["recording", &original, language, &index.to_string()]) % 9_000_000
                    + 1_000_000,
                original: original.clone(),
                addtime: format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
                hits: dice.below(5000),
                username: username.to_owned(),
                sex,
                country: countries.get(country as usize).copied().unwrap_or_default(),
                language,
                votes,
                // The first one is liked by all, so that a word always has a recording that nobody need refuse.
                positive: if index == 0 {
                    votes
                } else {
                    votes - (dice.below(3) as i64).min(votes)
                },
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(word: &str) -> Vec<String> {
        let mut all: Vec<String> = find(&Forvo::default(), word, Some("es"))
            .into_iter()
            .map(|recording| recording.original)
            .collect();
        all.dedup();
        all
    }

    #[test]
    fn matching_is_blind_to_accents() {
        assert_eq!(spellings("papá"), ["papa", "papá"]);
        assert_eq!(spellings("papa\u{301}"), ["papa", "papá"]);
        assert_eq!(spellings("sábana"), ["sabana"]);
        assert_eq!(spellings("คล่อง"), ["คลอง"]);
        assert_eq!(spellings("perro"), ["perro"]);
        assert!(spellings("ojalá").is_empty());
        assert!(spellings("el+perro").is_empty());
    }

    #[test]
    fn recordings_are_steady_and_varied() {
        let countries: std::collections::BTreeSet<_> =
            ["perro", "gato", "casa", "mesa", "sol", "luna", "mar"]
                .into_iter()
                .flat_map(|word| find(&Forvo::default(), word, Some("es")))
                .map(|recording| recording.country)
                .collect();
        for country in ["Spain", "Mexico", "Argentina", "Colombia", "Peru"] {
            assert!(countries.contains(country), "{country}");
        }
        let (one, two) = (
            find(&Forvo::default(), "sol", Some("es")),
            find(&Forvo::default(), "sol", Some("es")),
        );
        assert_eq!(one.len(), two.len());
        assert!((2..=5).contains(&one.len()));
        assert!(
            one.iter()
                .zip(&two)
                .all(|(a, b)| a.id == b.id && a.rate() == b.rate())
        );
    }
}
