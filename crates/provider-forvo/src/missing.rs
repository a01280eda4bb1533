//! Words for why no recording is taken: what there is instead, and what can be done.

use std::collections::BTreeMap;

use media_core::{Error, ErrorKind, Resolved, quoted};

use crate::choice::Rules;
use crate::map::Found;

/// A request for which there is nothing, and what its lookup found.
#[derive(Debug)]
pub(crate) struct Missing<'a> {
    /// The name of the instance.
    pub(crate) service: &'a str,
    /// How many answers were asked for.
    pub(crate) candidates: usize,
    pub(crate) resolved: &'a Resolved,
    pub(crate) found: &'a Found,
}

impl Missing<'_> {
    fn error(&self, rest: &str) -> Error {
        let language = self.resolved.language.as_deref().unwrap_or_default();
        let word = &self.resolved.content;
        let message = format!(
            "{} has no recording of {} in {language}{rest}",
            self.service,
            quoted(word)
        );
        Error::new(ErrorKind::NotFound, message).not_billed()
    }

    /// No answer is of the very word.
    pub(crate) fn of_the_word(&self) -> Error {
        let near: usize = self.found.near.values().sum();
        if near == 0 {
            return self.error("").hint("change the word or add a provider");
        }
        let words: Vec<_> = self.found.near.keys().take(3).map(|word| quoted(word)).collect();
        let plural = if near == 1 { "" } else { "s" };
        let rest = format!(
            ", only {near} recording{plural} of similar words: {}",
            words.join(", ")
        );
        let hint = if self.found.total >= self.candidates {
            "raise \"candidates\", for there may be more answers than were asked for; or change the word"
        } else {
            "change the word if one of those is meant, or add a provider"
        };
        self.error(&rest).hint(hint)
    }

    /// The recording that was asked for by its id is not among the answers.
    pub(crate) fn with_id(&self, id: i64) -> Error {
        let ids = self.found.exact.iter().filter_map(|one| one.id);
        let ids: Vec<_> = ids.take(10).map(|id| id.to_string()).collect();
        let rest = format!(" with the id {id} as {}", self.resolved.format);
        self.error(&rest)
            .hint(format!("the recordings of the word are {}", ids.join(", ")))
    }

    /// There are recordings, but the rules take none of them, or fewer than the variant asks for.
    pub(crate) fn that_fits(&self, rules: &Rules, fitting: usize) -> Error {
        if fitting > 0 {
            return self
                .error(&format!(" for this variant: only {fitting} fit"))
                .hint("ask for fewer variants, or allow more countries or a lower rate");
        }
        let mut countries: BTreeMap<&str, usize> = BTreeMap::new();
        for one in &self.found.exact {
            let unknown = one.country.is_empty();
            let name = if unknown {
                "an unknown country"
            } else {
                &one.country
            };
            *countries.entry(name).or_default() += 1;
        }
        let there: Vec<_> = countries
            .iter()
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        let (wanted, format) = (rules.describe(), self.resolved.format);
        let rest = format!(" {wanted}, as {format}; it has them from {}", there.join(", "));
        self.error(&rest).hint(
            "allow more by the parameter \"country\" (\"MX;*\" is Mexico, then anybody), \"sex\" or \"minimum_rate\"",
        )
    }
}
