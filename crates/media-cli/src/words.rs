//! What the program says to people: plans, summaries, errors.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use media_core::{Client, Error, ErrorKind, Usd};
use media_engine::{Account, AttemptState, Outcome, Plan, Status};
use serde_json::json;

use crate::args::{Global, ListArgs, SimulateArgs};
use crate::exit::Exit;
use crate::session::List;

/// An error with its causes and what to do, on one or two lines.
pub(crate) fn of_error(error: &Error) -> String {
    match error.next() {
        Some(next) => format!("{}\n  {next}", error.full()),
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
pub(crate) fn of_attempt(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Sending => "sent, and no answer is known: it may have been billed",
        AttemptState::Refused => "refused or failed, not billed",
        AttemptState::Linked => "made, and not yet downloaded",
        AttemptState::Have => "received, and not yet under its name",
        AttemptState::Done => "made",
        AttemptState::Spent => "billed, and what came is no good",
        AttemptState::Abandoned => "given up: it may have been billed, and was sent again by hand",
    }
}

/// Whether a failure of this kind waits for a person.
pub(crate) fn needs_a_person(kind: &str) -> bool {
    [
        ErrorKind::Config,
        ErrorKind::MissingApiKey,
        ErrorKind::Authentication,
        ErrorKind::PermissionDenied,
        ErrorKind::InsufficientCredit,
        ErrorKind::BudgetExceeded,
    ]
    .iter()
    .any(|known| known.as_str() == kind)
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

/// The command that runs what was planned.
pub(crate) fn run_command(global: &Global, list: &ListArgs, simulate: &SimulateArgs) -> String {
    let mut command = "media run".to_owned();
    if let Some(list) = &list.list {
        let _ = write!(command, " {}", quoted(&list.to_string_lossy()));
    }
    let flags = [
        ("--recipe", &list.recipe),
        ("--out", &list.out),
        ("--scenario", &simulate.scenario),
        ("--config", &global.config),
        ("--env-file", &global.env_file),
    ];
    for provider in &list.provider {
        let _ = write!(command, " --provider {}", quoted(provider));
    }
    if simulate.simulate {
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
    for problem in &findings.problems {
        let _ = write!(text, "\n  {problem}");
    }
    let shown = findings.problems.len() as u64;
    if findings.total > shown {
        let _ = write!(text, "\n  and {} more", findings.total - shown);
    }
    Some(
        Error::new(ErrorKind::InvalidRequest, text)
            .not_billed()
            .hint("nothing was sent"),
    )
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{} {what}s", number(count))
    }
}

/// `1,188`.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

/// What a run would do.
pub(crate) fn plan(plan: &Plan, list: &List) -> String {
    let mut text = String::new();
    let recipe = list
        .recipe
        .as_deref()
        .map(|path| format!(" + {}", file_name(path)))
        .unwrap_or_default();
    let outputs: Vec<_> = plan
        .by_output
        .iter()
        .map(|(name, count)| format!("{} {name}", number(*count)))
        .collect();
    let shared = match plan.findings.shared {
        0 => String::new(),
        shared => format!("; {} shared by equal rows", number(shared)),
    };
    let _ = writeln!(
        text,
        "{}{recipe}: {}, {} ({}{shared})",
        file_name(&list.path),
        counted(plan.rows, "row"),
        counted(plan.files, "file"),
        outputs.join(", "),
    );
    let _ = writeln!(text, "{:<12}{:>7}{:>7}   {:<22}time", "", "make", "there", "cost");
    for (name, provider) in &plan.providers {
        let cost = match (&provider.days, provider.unpriced) {
            (Some(days), _) => format!("{} of {} a day", number(days.calls), number(days.per_day)),
            (None, 0) if provider.cost == Usd::ZERO => "nothing by the file".to_owned(),
            (None, 0) => format!("about {} USD", cents(provider.cost)),
            (None, unpriced) => format!("{} USD + {} unpriced", cents(provider.cost), number(unpriced)),
        };
        let time = match &provider.days {
            Some(days) => format!(
                "{}: {} now, {} a day after {}",
                counted(days.days(), "day"),
                number(days.files_per_day().min(provider.make)),
                number(days.files_per_day()),
                moment(days.resets),
            ),
            None => format!("about {} ({})", roughly(provider.time), provider.because),
        };
        let _ = writeln!(
            text,
            "{name:<12}{:>7}{:>7}   {cost:<22}{time}",
            number(provider.make),
            number(provider.there())
        );
    }
    for field in &plan.fields.fields {
        let mut rules = Vec::new();
        let prefixes: u64 = field.dropped_prefix.iter().map(|(_, count)| count).sum();
        if prefixes > 0 {
            let which: Vec<_> = field
                .dropped_prefix
                .iter()
                .map(|(prefix, _)| format!("{:?}", prefix.trim()))
                .collect();
            rules.push(format!(
                "{} lose a prefix ({})",
                number(prefixes),
                which.join(", ")
            ));
        }
        for (cut, count) in &field.cut_at {
            rules.push(format!("{} end at the first {cut:?}", number(*count)));
        }
        if field.dropped_characters > 0 {
            rules.push(format!("{} lose characters", number(field.dropped_characters)));
        }
        let _ = writeln!(text, "field {}: {}", field.field, rules.join(", "));
    }
    text
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// The plan for programs.
pub(crate) fn plan_json(plan: &Plan) -> serde_json::Value {
    let providers: serde_json::Map<_, _> = plan
        .providers
        .iter()
        .map(|(name, provider)| {
            let days = provider.days.map(|days| {
                json!({ "calls": days.calls, "calls_per_day": days.per_day, "days": days.days(), "resets": days.resets.to_string() })
            });
            let stays: serde_json::Map<_, _> = provider
                .stays
                .iter()
                .map(|(status, count)| (status.as_str().to_owned(), json!(count)))
                .collect();
            let value = json!({
                "make": provider.make, "fetch": provider.fetch, "there": provider.there(), "shared": provider.shared,
                "stays": stays,
                "cost_usd": provider.cost, "unpriced": provider.unpriced,
                "seconds": provider.time.as_secs(), "daily_quota": days,
            });
            (name.clone(), value)
        })
        .collect();
    let cost: Usd = plan.providers.values().map(|provider| provider.cost).sum();
    json!({ "v": 1, "rows": plan.rows, "files": plan.files, "shared": plan.findings.shared, "cost_usd": cost, "providers": providers })
}

/// How a run went.
pub(crate) fn summary(outcome: &Outcome, exit: Exit, again: &str) -> String {
    let mut text = String::new();
    let accounts = || outcome.accounts.values();
    let count = |status| accounts().map(|account| account.count(status)).sum::<u64>();
    let _ = writeln!(
        text,
        "{} after {}",
        headline(outcome, exit),
        roughly(outcome.elapsed)
    );
    for status in Status::ALL {
        let total = count(status);
        if total == 0 {
            continue;
        }
        let detail = match status {
            Status::Done => done_detail(outcome),
            Status::Waiting => {
                let until = accounts().find_map(|account| account.until.as_deref()?.parse().ok());
                until
                    .map(|at| format!("until {}", moment(at)))
                    .unwrap_or_default()
            }
            Status::Unknown => "may have been billed; nothing is sent again by itself".to_owned(),
            Status::Skipped => "there already".to_owned(),
            Status::Kept => "changed by hand, left as they are".to_owned(),
            Status::Changed => "made before their rows were changed, left as they are".to_owned(),
            Status::Outdated => "made with another configuration, left as they are".to_owned(),
            Status::Gone => "made and no longer there; not bought again by themselves".to_owned(),
            Status::Failed | Status::Cancelled => String::new(),
        };
        let _ = writeln!(text, "  {:<9}{:>7}   {detail}", status.as_str(), number(total));
    }
    let left: u64 = accounts().map(Account::left).sum();
    if left > 0 {
        let _ = writeln!(text, "  {:<9}{:>7}   not come to", "left", number(left));
    }
    if let Some(spent) = spent(outcome) {
        let _ = writeln!(text, "  {:<9}{:>7}   {spent}", "cost", "");
    }
    for (name, account) in &outcome.accounts {
        for (kind, failure) in &account.failures {
            let mut ids = failure.ids.join(", ");
            let more = failure.count.saturating_sub(failure.ids.len() as u64);
            if more > 0 {
                let _ = write!(ids, " and {} more", number(more));
            }
            let _ = writeln!(
                text,
                "{name}: {} x {kind}: {}",
                number(failure.count),
                failure.message
            );
            let _ = writeln!(text, "    {ids}");
            if let Some(next) = &failure.next {
                let _ = writeln!(text, "    {next}");
            }
        }
        for (warning, count) in &account.warnings {
            let _ = writeln!(text, "{name}: {} x attention: {warning}", number(*count));
        }
    }
    for (name, slowed) in &outcome.slowed {
        if let Some(reported) = slowed.reported.filter(|reported| *reported > slowed.configured)
            && slowed.waited > Duration::from_secs(1)
        {
            let _ = writeln!(
                text,
                "{name}: the configured limit of {} {} slowed this run by {}; the account reports {}",
                number(slowed.configured),
                slowed.bucket,
                roughly(slowed.waited),
                number(reported),
            );
        }
    }
    if let Some(next) = next(outcome, exit, again) {
        let _ = writeln!(text, "next: {next}");
    }
    text
}

fn some_failed(outcome: &Outcome) -> bool {
    let failed = |account: &Account| account.count(Status::Failed) + account.count(Status::Unknown) > 0;
    outcome.accounts.values().any(failed)
}

fn headline(outcome: &Outcome, exit: Exit) -> String {
    match exit {
        Exit::Done => "everything asked for is there,".to_owned(),
        Exit::SomeFailed => "finished, but not all is there,".to_owned(),
        Exit::Act => {
            let why = outcome.accounts.iter().find_map(|(name, account)| {
                let (_, failure) = account.failures.iter().find(|(kind, _)| needs_a_person(kind))?;
                Some(format!("stopped: {name}: {}", failure.message))
            });
            format!("{},", why.unwrap_or_else(|| "stopped".to_owned()))
        }
        Exit::Later if some_failed(outcome) => "not finished, and some of it failed,".to_owned(),
        Exit::Later => "not finished, and nothing is wrong or lost,".to_owned(),
        Exit::Interrupted | Exit::Terminated => "interrupted; what was sent is finished,".to_owned(),
        Exit::Refused => "nothing was sent,".to_owned(),
    }
}

fn done_detail(outcome: &Outcome) -> String {
    let mut outputs = std::collections::BTreeMap::new();
    for account in outcome.accounts.values() {
        for (name, count) in &account.done_by_output {
            *outputs.entry(name.clone()).or_insert(0) += count;
        }
    }
    let outputs: Vec<_> = outputs
        .iter()
        .map(|(name, count)| format!("{} {name}", number(*count)))
        .collect();
    format!("({})", outputs.join(", "))
}

/// What was spent, on files that are there and on those that are not.
fn spent(outcome: &Outcome) -> Option<String> {
    let mut spent = std::collections::BTreeMap::new();
    let (mut estimated, mut unknown) = (Usd::ZERO, 0);
    for account in outcome.accounts.values() {
        for (basis, usd) in &account.spent {
            *spent.entry(basis.clone()).or_insert(Usd::ZERO) += *usd;
        }
        estimated += account.estimated;
        unknown += account.cost_unknown;
    }
    let mut costs: Vec<_> = spent
        .iter()
        .map(|(basis, usd)| format!("{usd} USD {basis}"))
        .collect();
    if !costs.is_empty() && estimated > Usd::ZERO {
        costs.push(format!("{estimated} planned"));
    }
    if unknown > 0 {
        costs.push(format!("{} of unknown cost", number(unknown)));
    }
    (!costs.is_empty()).then(|| costs.join(", "))
}

fn cents(amount: Usd) -> String {
    if amount.micros() < 10_000 {
        amount.to_string()
    } else {
        format!("{:.2}", amount.dollars())
    }
}

fn next(outcome: &Outcome, exit: Exit, again: &str) -> Option<String> {
    let any = |status| outcome.accounts.values().any(|account| account.count(status) > 0);
    match exit {
        Exit::Done | Exit::Refused => None,
        Exit::SomeFailed if any(Status::Failed) => Some(format!(
            "mend the rows named above (media export failed lists them), then  {again}"
        )),
        Exit::SomeFailed if any(Status::Unknown) => {
            Some("media status tells what may have been billed".to_owned())
        }
        Exit::SomeFailed => Some(again.to_owned()),
        Exit::Act => Some(format!("act on it, then  {again}")),
        Exit::Later | Exit::Interrupted | Exit::Terminated => Some(again.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(cents(Usd::from_micros(600)), "0.0006");
        assert_eq!(cents(Usd::from_micros(360_000)), "0.36");
    }
}
