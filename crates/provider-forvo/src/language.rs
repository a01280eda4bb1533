//! Languages: from a BCP 47 tag to Forvo's code and, if the tag names a region, the country to choose by.

use media_core::{Error, Result};

use crate::config::ForvoConfig;

/// A language as Forvo knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// Forvo's code.
    pub(crate) code: String,
    /// The country that the tag names: Forvo's codes have no regions, so it becomes a rule of the choice.
    pub(crate) country: Option<String>,
}

/// Reads a tag: its longest beginning that is known names the language; scripts sound alike and are passed over.
pub(crate) fn resolve(config: &ForvoConfig, service: &str, tag: &str) -> Result<Spoken> {
    let refuse = |message: String, hint: String| Err(Error::invalid(message).hint(hint));
    let normal = tag.trim().to_ascii_lowercase().replace('_', "-");
    let subtags: Vec<&str> = normal.split('-').collect();
    let known = (1..=subtags.len()).rev().find_map(|length| {
        let (first, rest) = subtags.split_at_checked(length)?;
        let first = first.join("-");
        let code = config.language_tags.get(&first).cloned();
        let code = code.or_else(|| config.languages.contains_key(&first).then_some(first))?;
        Some((code, rest))
    });
    let Some((code, rest)) = known else {
        let named = config
            .languages
            .iter()
            .find(|(_, name)| name.to_lowercase() == normal);
        let hint = match named {
            Some((code, name)) => format!("write {code:?} for {name}"),
            None => "give a BCP 47 tag such as es or pt-BR; a code that forvo added lately goes into \"languages\" of \
                     its configuration"
                .to_owned(),
        };
        return refuse(format!("{service} has no language {tag:?}"), hint);
    };
    let mut country = None;
    for subtag in rest {
        let letters = subtag.bytes().all(|byte| byte.is_ascii_alphabetic());
        match subtag.len() {
            4 if letters => {}
            2 if letters
                && country.is_none()
                && config.countries.contains_key(&subtag.to_ascii_uppercase()) =>
            {
                country = Some(subtag.to_ascii_uppercase());
            }
            _ => {
                return refuse(
                    format!("{service} knows languages and countries, and {subtag:?} in {tag:?} is neither"),
                    format!("give the language as {code:?}, and countries by the parameter \"country\""),
                );
            }
        }
    }
    Ok(Spoken { code, country })
}

#[cfg(test)]
mod tests {
    use media_core::ErrorKind;

    use super::*;

    #[test]
    fn tags_become_forvos_codes() {
        let config = ForvoConfig::default();
        for (tag, code, country) in [
            ("es", "es", None),
            ("ES", "es", None),
            ("pt-BR", "pt", Some("BR")),
            ("pt_br", "pt", Some("BR")),
            ("id", "ind", None),
            ("id-ID", "ind", Some("ID")),
            ("nb-NO", "no", Some("NO")),
            ("fil", "tl", None),
            ("zh-Hant-TW", "zh", Some("TW")),
            ("zh-Hans", "zh", None),
            ("cmn-Hans-CN", "zh", Some("CN")),
            ("zh-yue-HK", "yue", Some("HK")),
            ("sr-Latn", "sr", None),
            ("x-tp", "x-tp", None),
            ("tok", "x-tp", None),
            ("fzho", "fzho", None),
        ] {
            let spoken = resolve(&config, "forvo", tag).unwrap();
            assert_eq!(
                (spoken.code.as_str(), spoken.country.as_deref()),
                (code, country),
                "{tag}"
            );
        }
    }

    #[test]
    fn unknown_tags_are_refused_with_a_way_out() {
        let config = ForvoConfig::default();
        let error = resolve(&config, "forvo", "Spanish").unwrap_err();
        assert_eq!(error.to_string(), "forvo has no language \"Spanish\"");
        assert_eq!(error.next(), Some("write \"es\" for Spanish"));
        for tag in [
            "",
            "xx",
            "es-419",
            "es-ZZ",
            "es-MX-AR",
            "ca-valencia",
            "de-u-co-phonebk",
        ] {
            let error = resolve(&config, "forvo", tag).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{tag}");
            assert!(error.next().is_some(), "{tag}");
        }
    }
}
