//! Forvo's language codes, most of them ISO 639-1 and some its own.

use serde_json::{Value, json};

use super::path::Pairs;
use super::{invalid, php_answer};
use crate::answer::Answer;

/// `code=Name`, one per line, sorted by code.
const LIST: &str = include_str!("languages.txt");

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    LIST.lines().filter_map(|line| line.split_once('='))
}

/// The code as Forvo writes it.
pub(crate) fn find(code: &str) -> Option<&'static str> {
    all().map(|(known, _)| known).find(|known| *known == code)
}

/// The English name.
pub(crate) fn name(code: &str) -> Option<&'static str> {
    all().find(|(known, _)| *known == code).map(|(_, name)| name)
}

fn show(languages: Vec<(&'static str, &'static str)>) -> Answer {
    let items: Vec<Value> = languages
        .into_iter()
        .map(|(code, name)| json!({"code": code, "en": name}))
        .collect();
    php_answer(
        200,
        &json!({"attributes": {"total": items.len()}, "items": items}),
    )
}

/// Only English names are simulated.
fn in_english(pairs: &Pairs) -> Result<(), Answer> {
    if pairs.get("language").is_none_or(|language| language == "en") {
        Ok(())
    } else {
        Err(invalid("language"))
    }
}

fn sort(languages: &mut [(&str, &str)], order: &str) -> Result<(), Answer> {
    match order {
        "name" => languages.sort_by_key(|(_, name)| *name),
        "code" => languages.sort_by_key(|(code, _)| *code),
        "popular" => {}
        _ => return Err(invalid("order")),
    }
    Ok(())
}

/// `language-popular`: the languages with most recordings.
pub(crate) fn popular(pairs: &Pairs) -> Result<Answer, Answer> {
    const POPULAR: [&str; 12] = [
        "en", "de", "pt", "es", "ja", "ru", "fr", "zh", "nl", "sv", "it", "pl",
    ];
    pairs.only(&["key", "format", "action", "language", "order", "limit"])?;
    in_english(pairs)?;
    let limit = match pairs.get("limit") {
        None => 10,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| invalid("limit"))?,
    };
    let mut languages: Vec<_> = POPULAR
        .into_iter()
        .filter_map(|code| Some((code, name(code)?)))
        .take(limit)
        .collect();
    sort(&mut languages, pairs.get("order").unwrap_or("popular"))?;
    Ok(show(languages))
}

/// `language-list`: all of them.
pub(crate) fn list(pairs: &Pairs) -> Result<Answer, Answer> {
    pairs.only(&[
        "key",
        "format",
        "action",
        "language",
        "order",
        "min-pronunciations",
    ])?;
    in_english(pairs)?;
    let mut languages: Vec<_> = all().collect();
    match pairs.get("order").unwrap_or("name") {
        "popular" => return Err(invalid("order")),
        order => sort(&mut languages, order)?,
    }
    Ok(show(languages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_has_forvos_own_codes() {
        assert_eq!(all().count(), 431);
        assert_eq!(name("ind"), Some("Indonesian"));
        assert_eq!(find("id"), None);
        assert_eq!(find("es-MX"), None);
        assert_eq!(name("x-tp"), Some("Toki Pona"));
    }
}
