//! The parameters of a lookup: reading them, and narrowing and ordering what was found.

use unicode_normalization::UnicodeNormalization;

use super::path::Pairs;
use super::words::Recording;
use super::{countries, invalid, languages};
use crate::answer::Answer;

/// The order of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By language, oldest first: what was recorded without an order.
    Plain,
    Date {
        newest_first: bool,
    },
    Rate {
        best_first: bool,
    },
}

/// A lookup.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    /// In NFC, with blanks for the underscores of a slug.
    pub(crate) word: String,
    pub(crate) language: Option<&'static str>,
    /// An English name.
    country: Option<&'static str>,
    username: Option<&'a str>,
    sex: Option<&'a str>,
    rate: Option<i64>,
    order: Order,
    limit: Option<usize>,
}

impl<'a> Query<'a> {
    pub(crate) fn read(pairs: &'a Pairs) -> Result<Self, Answer> {
        let word = pairs.get("word").ok_or_else(|| invalid("word"))?;
        let language = pairs
            .get("language")
            .map(|code| languages::find(code).ok_or_else(|| invalid("language")));
        let country = pairs
            .get("country")
            .map(|code| countries::name(code).ok_or_else(|| invalid("country")));
        let sex = pairs.get("sex");
        if sex.is_some_and(|sex| !["m", "f"].contains(&sex)) {
            return Err(invalid("sex"));
        }
        let number = |name: &str| {
            pairs
                .get(name)
                .map(|text| text.parse::<i64>().map_err(|_| invalid(name)))
        };
        let limit = number("limit").transpose()?;
        if limit.is_some_and(|limit| limit < 1) {
            return Err(invalid("limit"));
        }
        let order = match pairs.get("order") {
            None => Order::Plain,
            Some("date-desc") => Order::Date { newest_first: true },
            Some("date-asc") => Order::Date { newest_first: false },
            Some("rate-desc") => Order::Rate { best_first: true },
            Some("rate-asc") => Order::Rate { best_first: false },
            Some(_) => return Err(invalid("order")),
        };
        // The shape of the grouped answer is unconfirmed, so only "no" is taken.
        if pairs
            .get("group-in-languages")
            .is_some_and(|group| group != "false")
        {
            return Err(invalid("group-in-languages"));
        }
        Ok(Self {
            word: word.replace('_', " ").nfc().collect(),
            language: language.transpose()?,
            country: country.transpose()?,
            username: pairs.get("username"),
            sex,
            rate: number("rate").transpose()?,
            order,
            limit: limit.map(|limit| limit as usize),
        })
    }

    /// Filters, sorts and cuts.
    pub(crate) fn narrow(&self, found: &mut Vec<Recording>) {
        found.retain(|recording| {
            self.country.is_none_or(|country| country == recording.country)
                && self.username.is_none_or(|name| name == recording.username)
                && self.sex.is_none_or(|sex| sex == recording.sex)
                && self.rate.is_none_or(|least| recording.rate() >= least)
        });
        match self.order {
            Order::Plain => found.sort_by(|a, b| (a.language, &a.addtime).cmp(&(b.language, &b.addtime))),
            Order::Date { newest_first: false } => found.sort_by(|a, b| a.addtime.cmp(&b.addtime)),
            Order::Date { newest_first: true } => found.sort_by(|a, b| b.addtime.cmp(&a.addtime)),
            Order::Rate { best_first: false } => found.sort_by_key(Recording::rate),
            Order::Rate { best_first: true } => found.sort_by_key(|recording| -recording.rate()),
        }
        if let Some(limit) = self.limit {
            found.truncate(limit);
        }
    }
}
