//! What a provider does wrong.

use std::fmt;

/// One thing that a provider does wrong, and where it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken, in a few words: the same for every play that breaks it.
    pub rule: &'static str,
    /// Where and how it showed first.
    pub what: String,
    /// In how many plays it showed.
    pub times: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)?;
        if self.times > 1 {
            write!(f, " (and {} more like it)", self.times - 1)
        } else {
            Ok(())
        }
    }
}

/// Findings so far; of those that break the same rule the first is kept and the others are counted.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub(crate) fn add(&mut self, rule: &'static str, what: impl Into<String>) {
        if let Some(known) = self.0.iter_mut().find(|finding| finding.rule == rule) {
            known.times += 1;
        } else {
            self.0.push(Finding {
                rule,
                what: what.into(),
                times: 1,
            });
        }
    }

    pub(crate) fn into_list(self) -> Vec<Finding> {
        self.0
    }
}
