//! The command line of one chore: flags, options, and a complaint about whatever is left.

use std::fmt;

use anyhow::Result;

/// The caller asked in a way that makes no sense: shown with the usage, exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

#[derive(Debug)]
pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self(words.collect())
    }

    /// Whether `name` was given; takes it out.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() != before
    }

    /// The value after `name`, if it was given; takes both out.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|word| word == name) else {
            return Ok(None);
        };
        if at + 1 >= self.0.len() {
            return Err(Usage(format!("{name} needs a value")).into());
        }
        let value = self.0.remove(at + 1);
        self.0.remove(at);
        Ok(Some(value))
    }

    /// Everything, for a program that is called in turn.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(Usage(format!("unexpected argument {word:?}")).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(String::from))
    }

    #[test]
    fn options_and_flags_are_taken_out() {
        let mut args = args("--fix -p media-core");
        assert!(args.flag("--fix"));
        assert!(!args.flag("--fix"));
        assert_eq!(args.option("-p").unwrap().as_deref(), Some("media-core"));
        args.finish().unwrap();
    }

    #[test]
    fn leftovers_and_missing_values_are_usage_errors() {
        assert!(args("-p").option("-p").unwrap_err().is::<Usage>());
        assert!(args("--fast").finish().unwrap_err().is::<Usage>());
    }
}
