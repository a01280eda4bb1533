//! Fields of a recipe: a column with parts taken off by explicit lists, so that `el perro` is looked up as `perro`.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization as _;

/// How a field is made from its source. All texts are compared exactly, upper and lower case too: `El Salvador` keeps
/// the article that `el perro` loses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) cut_at: Vec<String>,
    pub(super) drop_prefix: Vec<String>,
    pub(super) drop_characters: HashSet<char>,
}

/// What the rules of a field did to one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// The value of its source.
    pub before: String,
    /// The value of the field.
    pub after: String,
    /// The text of `cut_at` at which the rest was cut off.
    pub cut_at: Option<String>,
    /// The text of `drop_prefix` that was dropped.
    pub dropped_prefix: Option<String>,
    /// Whether any of `drop_characters` was there.
    pub dropped_characters: bool,
}

impl FieldChange {
    /// Whether any rule did anything.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.cut_at.is_some() || self.dropped_prefix.is_some() || self.dropped_characters
    }
}

impl Rules {
    /// In this order: cut at the first of any `cut_at`; drop the longest fitting prefix, unless nothing would be left;
    /// drop all `drop_characters`. White space at the ends goes after each.
    pub(super) fn apply(&self, field: &str, source: &str) -> FieldChange {
        let mut change = FieldChange {
            field: field.to_owned(),
            before: source.to_owned(),
            ..FieldChange::default()
        };
        let mut value = source.trim();
        // Of two at the same place, the longer one is the one meant.
        let cut = self
            .cut_at
            .iter()
            .filter_map(|at| value.find(at.as_str()).map(|place| (place, at)))
            .min_by_key(|(place, at)| (*place, std::cmp::Reverse(at.len())));
        if let Some((place, at)) = cut {
            value = value.get(..place).unwrap_or(value).trim_end();
            change.cut_at = Some(at.clone());
        }
        let fitting = self.drop_prefix.iter().filter(|prefix| {
            value
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| !rest.trim().is_empty())
        });
        if let Some(prefix) = fitting.max_by_key(|prefix| prefix.len()) {
            value = value.strip_prefix(prefix.as_str()).unwrap_or(value).trim_start();
            change.dropped_prefix = Some(prefix.clone());
        }
        if value.contains(|c| self.drop_characters.contains(&c)) {
            change.dropped_characters = true;
            let kept: String = value
                .chars()
                .filter(|c| !self.drop_characters.contains(c))
                .collect();
            // A character less can let its neighbours join.
            change.after = kept.trim().nfc().collect();
        } else {
            change.after = value.to_owned();
        }
        change
    }
}

/// How often the rules of one field did something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldCount {
    /// The field.
    pub field: String,
    /// Rows cut at each text of `cut_at`.
    pub cut_at: Vec<(String, u64)>,
    /// Rows that lost each text of `drop_prefix`.
    pub dropped_prefix: Vec<(String, u64)>,
    /// Rows that lost any of `drop_characters`.
    pub dropped_characters: u64,
}

/// How often the rules of all fields did something, for `312 words are looked up without their article`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldCounts {
    /// In the order in which they were first met.
    pub fields: Vec<FieldCount>,
}

impl FieldCounts {
    /// Counts what happened in one row.
    pub fn add(&mut self, changes: &[FieldChange]) {
        for change in changes.iter().filter(|change| change.is_change()) {
            let known = self.fields.iter().position(|count| count.field == change.field);
            let place = known.unwrap_or_else(|| {
                self.fields.push(FieldCount {
                    field: change.field.clone(),
                    ..FieldCount::default()
                });
                self.fields.len() - 1
            });
            let Some(count) = self.fields.get_mut(place) else {
                continue;
            };
            increase(&mut count.cut_at, change.cut_at.as_ref());
            increase(&mut count.dropped_prefix, change.dropped_prefix.as_ref());
            count.dropped_characters += u64::from(change.dropped_characters);
        }
    }
}

fn increase(counts: &mut Vec<(String, u64)>, text: Option<&String>) {
    let Some(text) = text else { return };
    match counts.iter_mut().find(|(known, _)| known == text) {
        Some((_, count)) => *count += 1,
        None => counts.push((text.clone(), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules() -> Rules {
        Rules {
            cut_at: ["/", "(", ","].map(str::to_owned).to_vec(),
            drop_prefix: ["el ", "la ", "el la "].map(str::to_owned).to_vec(),
            drop_characters: "¿?¡!.…".chars().collect(),
        }
    }

    #[test]
    fn parts_are_taken_off_in_order() {
        let cases = [
            ("perro", "perro"),
            ("el perro", "perro"),
            ("El Salvador", "El Salvador"),
            ("el la x", "x"),
            ("el el perro", "el perro"),
            ("el ", "el"),
            ("el", "el"),
            ("bonito/a", "bonito"),
            ("el jugo (el zumo)", "jugo"),
            ("grande, gran", "grande"),
            ("a(b/c", "a"),
            ("¿qué?", "qué"),
            ("érase una vez…", "érase una vez"),
            ("(x)", ""),
            ("?!", ""),
            ("", ""),
            ("  la  casa ", "casa"),
        ];
        for (source, after) in cases {
            assert_eq!(rules().apply("spoken", source).after, after, "{source:?}");
        }
    }

    #[test]
    fn what_was_done_is_counted() {
        let mut counts = FieldCounts::default();
        for word in ["el perro", "la casa", "el jugo/zumo", "¿qué?", "plain"] {
            counts.add(&[rules().apply("spoken", word)]);
        }
        let count = &counts.fields[0];
        assert_eq!(
            count.dropped_prefix,
            [("el ".to_owned(), 2), ("la ".to_owned(), 1)]
        );
        assert_eq!(count.cut_at, [("/".to_owned(), 1)]);
        assert_eq!((count.dropped_characters, counts.fields.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn a_field_is_trimmed_and_free_of_what_was_dropped(source in "[el a/(,?!.x]*|\\PC*") {
            let change = rules().apply("f", &source);
            prop_assert_eq!(change.after.trim(), &change.after);
            prop_assert!(!change.after.contains(['/', '(', ',', '?', '!', '.']));
        }
    }
}
