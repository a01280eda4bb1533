//! Steps of a chore: a headline, a time, and a table at the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What ran so far, how long it took and whether it worked.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<(String, Duration, bool)>);

impl Steps {
    /// Runs a chore of several steps, and ends with their table.
    pub(crate) fn of(chore: impl FnOnce(&mut Steps) -> Result<()>) -> Result<()> {
        let mut steps = Steps::default();
        let result = chore(&mut steps);
        print!("{}", steps.table());
        result
    }

    /// Runs one step. A failure carries its name.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let result = step();
        let time = start.elapsed();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("== {name}: {word} in {}", seconds(time));
        self.0.push((name.to_owned(), time, result.is_ok()));
        result.with_context(|| format!("step {name:?} failed"))
    }

    /// The table for the end of the output; nothing when nothing ran.
    fn table(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let width = self
            .0
            .iter()
            .map(|(name, ..)| name.len())
            .max()
            .unwrap_or(0)
            .max("total".len());
        let mut text = String::from("\n");
        for (name, time, ok) in &self.0 {
            let word = if *ok { "ok" } else { "FAILED" };
            text.push_str(&format!("  {name:<width$}  {:>9}  {word}\n", seconds(*time)));
        }
        let total = self.0.iter().map(|(_, time, _)| *time).sum();
        text.push_str(&format!("  {:<width$}  {:>9}\n", "total", seconds(total)));
        text
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_name_of_its_step_and_shows_in_the_table() {
        let mut steps = Steps::default();
        steps.run("one", || Ok(())).unwrap();
        let error = steps.run("two", || anyhow::bail!("broken")).unwrap_err();
        assert_eq!(format!("{error:#}"), "step \"two\" failed: broken");
        let table = steps.table();
        assert!(
            table.contains("one") && table.contains("FAILED") && table.contains("total"),
            "{table}"
        );
    }
}
