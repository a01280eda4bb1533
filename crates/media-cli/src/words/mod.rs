//! What the program says to people: plans, summaries, errors.

mod plan;
mod summary;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use media_core::{Client, Error, ErrorKind, Usd};
use media_engine::RowProblem;
pub(crate) use media_engine::grouped as number;
use media_engine::{AttemptState, Plan};

use crate::args::Global;

pub(crate) use self::plan::{plan, plan_json};
pub(crate) use self::summary::{Then, summary};

/// An error with its causes and what to do, on one or two lines.
pub(crate) fn of_error(error: &Error) -> String {
    match error.next() {
        Some(next) => format!("{}\n  {}", error.full(), here(next)),
        None => error.full(),
    }
}

/// `: a, b`, or nothing.
pub(crate) fn after_colon(notes: &[String]) -> String {
    if notes.is_empty() {
        String::new()
    } else {
        format!(": {}", notes.join(", "))
    }
}

/// What became of an attempt.
pub(crate) fn of_attempt(state: AttemptState, is_in_batch: bool) -> &'static str {
    match state {
        AttemptState::Sending if is_in_batch => "handed over in a remote batch, and not fetched yet",
        AttemptState::Sending => "sent, and no answer is known: it may have been billed",
        AttemptState::Refused => "refused or failed, not billed",
        AttemptState::Linked => "made, and not yet downloaded",
        AttemptState::Have => "received, and not yet under its name",
        AttemptState::Done => "made",
        AttemptState::Spent => "billed, and what came is no good",
        AttemptState::Abandoned => "given up by hand: it may have been billed",
    }
}

/// Whether a failure of this kind waits for a person.
pub(crate) fn needs_a_person(kind: &str) -> bool {
    let act = [
        ErrorKind::Config,
        ErrorKind::MissingApiKey,
        ErrorKind::Authentication,
        ErrorKind::PermissionDenied,
        ErrorKind::InsufficientCredit,
        ErrorKind::BudgetExceeded,
    ];
    ErrorKind::named(kind).is_some_and(|kind| act.contains(&kind))
}

/// Whether the same command asks again for what failed in this way and was not billed.
pub(crate) fn passes(kind: &str) -> bool {
    ErrorKind::named(kind).is_some_and(|kind| !kind.is_lasting())
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The command that goes on where this one ended: the same, without a bound that it has reached.
pub(crate) fn again(arguments: &[OsString]) -> String {
    let mut words = vec!["media".to_owned()];
    let mut rest = arguments.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = rest.next() {
        if word == "--max-items" {
            rest.next();
        } else if !word.starts_with("--max-items=") {
            words.push(quoted(&word));
        }
    }
    words.join(" ")
}

/// How this program was called, as far as the commands that it recommends need it too.
static PLACE: OnceLock<PlaceFlags> = OnceLock::new();

#[derive(Debug, Default)]
struct PlaceFlags {
    /// `--out`, `--ledger`, `--config`, `--env-file`, as they were given.
    place: String,
    /// `--simulate` and its scenario, for commands that ask services.
    simulate: String,
}

impl PlaceFlags {
    fn of(arguments: &[OsString]) -> PlaceFlags {
        let mut flags = PlaceFlags::default();
        let mut rest = arguments.iter().skip(1).map(|word| word.to_string_lossy());
        while let Some(word) = rest.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone().into_owned(), None),
            };
            let place = ["--out", "--ledger", "--config", "--env-file"];
            let text = if place.contains(&&*name) {
                &mut flags.place
            } else if name == "--scenario" {
                &mut flags.simulate
            } else {
                if name == "--simulate" {
                    flags.simulate.push_str(" --simulate");
                }
                continue;
            };
            if let Some(value) = value.or_else(|| rest.next().map(std::borrow::Cow::into_owned)) {
                let _ = write!(text, " {name} {}", quoted(&value));
            }
        }
        flags
    }

    /// The commands in a text, as they are to be typed for the same folder.
    fn put_into(&self, text: &str, simulate: &str) -> String {
        const PLACED: [&str; 10] = [
            "export failed",
            "export results",
            "status",
            "report",
            "cancel",
            "keep",
            "pick",
            "retry",
            "rescue",
            "redo",
        ];
        let mut parts = text.split("media ");
        let mut typed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let is_word = !typed.ends_with(|c: char| c.is_alphanumeric() || "-_./".contains(c));
            typed.push_str("media ");
            let command = PLACED.iter().find(|name| {
                let after = part.strip_prefix(**name);
                is_word
                    && after
                        .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '.'))
            });
            let Some(command) = command else {
                typed.push_str(part);
                continue;
            };
            typed.push_str(command);
            typed.push_str(&self.place);
            if ["retry", "rescue", "redo"].contains(command) {
                typed.push_str(simulate);
            }
            typed.push_str(part.strip_prefix(*command).unwrap_or_default());
        }
        typed
    }
}

/// Notes how the program was called, for [`here`].
pub(crate) fn called_as(arguments: &[OsString]) {
    // Only the first call counts, and there is no other.
    let _ = PLACE.set(PlaceFlags::of(arguments));
}

/// A text whose commands are about the folder that this one was called for: copied as they stand, they must not end up
/// in another.
pub(crate) fn here(text: &str) -> String {
    PLACE
        .get()
        .map_or_else(|| text.to_owned(), |flags| flags.put_into(text, &flags.simulate))
}

/// The same of a folder that is looked at: one of simulated results is gone on with by the simulator.
pub(crate) fn here_as(text: &str, is_simulated: bool) -> String {
    match PLACE.get() {
        Some(flags) if is_simulated && flags.simulate.is_empty() => flags.put_into(text, " --simulate"),
        _ => here(text),
    }
}

/// The command that runs what was planned.
pub(crate) fn run_command(global: &Global, planned: &crate::args::Plan, only_simulated: bool) -> String {
    let (list, simulate) = (&planned.list, &planned.simulate);
    let mut command = "media run".to_owned();
    if let Some(list) = &list.list {
        let _ = write!(command, " {}", quoted(&list.to_string_lossy()));
    }
    let flags = [
        ("--recipe", &list.recipe),
        ("--out", &list.place.out),
        ("--ledger", &list.place.ledger),
        ("--scenario", &simulate.scenario),
        ("--config", &global.config),
        ("--env-file", &global.env_file),
    ];
    for provider in &list.provider {
        let _ = write!(command, " --provider {}", quoted(provider));
    }
    let caps = [
        ("--max-cost", planned.budget.max_cost),
        ("--max-run-cost", planned.budget.max_run_cost),
    ];
    for (flag, cap) in caps {
        if let Some(cap) = cap {
            let _ = write!(command, " {flag} {cap}");
        }
    }
    if planned.batch_api {
        command.push_str(" --batch-api");
    }
    if simulate.simulate || only_simulated {
        command.push_str(" --simulate");
    }
    for (flag, value) in flags {
        if let Some(value) = value {
            let _ = write!(command, " {flag} {}", quoted(&value.to_string_lossy()));
        }
    }
    command
}

/// What a stop still waits for.
pub(crate) fn being_finished(clients: &[(String, Client)]) -> String {
    let mut at_work = Vec::new();
    for (name, client) in clients {
        let files = client.being_finished();
        if files > 0 {
            let most = client.provider().http().settings().timeouts.total.0;
            let (files, most) = (counted(files as u64, "file"), humantime::format_duration(most));
            at_work.push(format!("{files} at {name} (within {most})"));
        }
    }
    if at_work.is_empty() {
        return "nothing that was sent is open".to_owned();
    }
    format!("what was sent is being finished: {}", at_work.join(", "))
}

/// What is wrong with a list, as one error; `None` when nothing is.
pub(crate) fn findings(plan: &Plan, list: &Path) -> Option<Error> {
    let findings = &plan.findings;
    if findings.is_good() {
        return None;
    }
    let mut text = format!(
        "{}: it cannot be used as it is, for {}",
        list.display(),
        counted(findings.total, "problem")
    );
    for (problem, lines) in folded(&findings.problems) {
        let _ = match lines.as_slice() {
            [] | [_] => write!(text, "\n  {problem}"),
            lines => write!(text, "\n  {problem}\n    (so in lines {})", runs(lines)),
        };
    }
    let shown = findings.problems.len() as u64;
    if findings.total > shown {
        let _ = write!(text, "\n  and {} more", findings.total - shown);
    }
    Some(Error::invalid(text).hint("nothing was sent"))
}

/// Problems that differ only by their line, each once with its lines: a mistake in a recipe is one in every row.
fn folded(problems: &[RowProblem]) -> Vec<(&RowProblem, Vec<u64>)> {
    let mut folded: Vec<(&RowProblem, Vec<u64>)> = Vec::new();
    for problem in problems {
        let same = folded.iter_mut().find(|(first, _)| {
            first.message == problem.message && first.column == problem.column && first.file == problem.file
        });
        match same {
            Some((_, lines)) => lines.push(problem.line),
            None => folded.push((problem, vec![problem.line])),
        }
    }
    folded
}

/// `2-21, 30`.
fn runs(lines: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((_, last)) if *line <= *last + 1 => *last = (*line).max(*last),
            _ => runs.push((*line, *line)),
        }
    }
    let run = |(first, last): &(u64, u64)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{} {what}s", number(count))
    }
}

/// `8 min`, `40 s`, `3 h 20 min`.
pub(crate) fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => "under a second".to_owned(),
        1..=90 => format!("{seconds} s"),
        91..=7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `Tue 23:00 your time (22:00 UTC)`.
pub(crate) fn moment(at: Timestamp) -> String {
    let local = at.to_zoned(TimeZone::system());
    let utc = at.to_zoned(TimeZone::UTC);
    let offset = local.offset() == jiff::tz::Offset::UTC;
    let utc = utc.strftime(if offset { "%a %H:%M UTC" } else { "%H:%M UTC" });
    if offset {
        utc.to_string()
    } else {
        format!("{} your time ({utc})", local.strftime("%a %H:%M"))
    }
}

pub(super) fn cents(amount: Usd) -> String {
    if amount.micros() < 10_000 {
        amount.to_string()
    } else {
        format!("{:.2}", amount.dollars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_recommended_is_about_the_same_folder() {
        let called = [
            "media",
            "run",
            "words.csv",
            "--out=my deck",
            "--ledger",
            "l.sqlite",
            "--simulate",
            "--max-cost",
            "3",
        ];
        let arguments = called.map(OsString::from);
        let flags = PlaceFlags::of(&arguments);
        assert_eq!(
            flags.put_into(
                "look; media retry --unknown a, or media export failed; media run goes on",
                &flags.simulate
            ),
            "look; media retry --out 'my deck' --ledger l.sqlite --simulate --unknown a, or media export failed --out 'my deck' \
             --ledger l.sqlite; media run goes on"
        );
        let names = "the file social-media report.csv, other media report.csv, of media reports";
        assert_eq!(flags.put_into(names, ""), names);
        let plain = PlaceFlags::default();
        assert_eq!(plain.put_into("media status a", ""), "media status a");
    }

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_188), "1,188");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(roughly(Duration::from_millis(300)), "under a second");
        assert_eq!(roughly(Duration::from_secs(40)), "40 s");
        assert_eq!(roughly(Duration::from_secs(460)), "8 min");
        assert_eq!(roughly(Duration::from_secs(12_000)), "3 h 20 min");
        assert_eq!(runs(&[2, 3, 4, 9, 11, 12]), "2-4, 9, 11-12");
        assert_eq!(cents(Usd::from_micros(600)), "0.0006");
        assert_eq!(cents(Usd::from_micros(360_000)), "0.36");
    }
}
