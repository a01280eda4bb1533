//! How a run went, in words.

use std::fmt::Write as _;
use std::time::Duration;

use media_core::Usd;
use media_engine::{Account, Outcome, Status};

use super::{counted, here, moment, needs_a_person, number, passes, quoted, roughly};
use crate::exit::Exit;

/// How a run went.
pub(crate) fn summary(outcome: &Outcome, exit: Exit, then: Then<'_>) -> String {
    let mut text = String::new();
    let is_fetch = matches!(then, Then::Fetch(_));
    let _ = writeln!(
        text,
        "{} after {}",
        headline(outcome, exit, then),
        roughly(outcome.elapsed)
    );
    status_lines(&mut text, outcome, is_fetch);
    let left = outcome.left();
    // What a fetch does not come to is there, or was never bought.
    if left > 0 && !is_fetch {
        let _ = writeln!(text, "  {:<9}{:>7}   not come to", "left", number(left));
    }
    if outcome.unaffordable > 0 {
        let count = number(outcome.unaffordable);
        let _ = writeln!(text, "  {:<9}{count:>7}   over the budget, not made", "");
    }
    if let Some(spent) = spent(outcome) {
        let _ = writeln!(text, "  {:<9}{:>7}   {spent}", "cost", "");
    }
    if outcome.spending.overshoot > Usd::ZERO {
        let overshoot = outcome.spending.overshoot;
        let _ = writeln!(
            text,
            "  {:<9}{:>7}   {overshoot} USD of it more than was set aside",
            "", ""
        );
    }
    for (name, account) in &outcome.accounts {
        account_lines(&mut text, name, account);
    }
    slowed_lines(&mut text, outcome);
    if let Some(next) = next(outcome, exit, then) {
        let _ = writeln!(text, "next: {next}");
    }
    text
}

/// How many files ended how.
fn status_lines(text: &mut String, outcome: &Outcome, is_fetch: bool) {
    let accounts = || outcome.accounts.values();
    for status in Status::ALL {
        let total = outcome.count(status);
        if total == 0 {
            continue;
        }
        let detail = match status {
            Status::Done => done_detail(outcome),
            Status::Waiting if accounts().any(|account| account.failures.contains_key("pending")) => {
                "handed over, and not done yet".to_owned()
            }
            Status::Waiting => {
                let until = accounts().find_map(|account| account.until.as_deref()?.parse().ok());
                until
                    .map(|at| format!("until {}", moment(at)))
                    .unwrap_or_default()
            }
            Status::Unknown => "may have been billed; nothing is sent again by itself".to_owned(),
            Status::Skipped => "there already".to_owned(),
            Status::Kept => "changed or picked by hand, left as they are".to_owned(),
            Status::Changed => "made before their rows were changed, left as they are".to_owned(),
            Status::Outdated => "made with another configuration, left as they are".to_owned(),
            Status::Gone => "made and no longer there; not bought again by themselves".to_owned(),
            Status::Cancelled if is_fetch => {
                "never bought; media run makes them, media redo other takes".to_owned()
            }
            Status::Failed | Status::Cancelled => String::new(),
        };
        let _ = writeln!(text, "  {:<9}{:>7}   {detail}", status.as_str(), number(total));
    }
}

/// What one provider did not make, and why.
fn account_lines(text: &mut String, name: &str, account: &Account) {
    if account.passed_on > 0 {
        let files = counted(account.passed_on, "file");
        let _ = writeln!(text, "{name}: {files} passed on to the next provider");
    }
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
            let mut next = here(next);
            let ids = failure.next_ids.iter().map(|id| format!(" {}", quoted(id)));
            next.extend(ids);
            let _ = writeln!(text, "    {next}");
        }
        if failure.has_others {
            let other = here("not all of them say the same: media status, with an id, tells about each");
            let _ = writeln!(text, "    {other}");
        }
    }
    for (warning, count) in &account.warnings {
        let _ = writeln!(text, "{name}: {} x attention: {warning}", number(*count));
    }
}

/// Limits of the configuration that are lower than the account's.
fn slowed_lines(text: &mut String, outcome: &Outcome) {
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
}

fn headline(outcome: &Outcome, exit: Exit, then: Then<'_>) -> String {
    match exit {
        Exit::Done if matches!(then, Then::Fetch(_)) => {
            "what was bought and can be fetched is there,".to_owned()
        }
        Exit::Done => "everything asked for is there,".to_owned(),
        Exit::SomeFailed => "finished, but not all is there,".to_owned(),
        Exit::Act => {
            let why = outcome.accounts.iter().find_map(|(name, account)| {
                let (_, failure) = account.failures.iter().find(|(kind, _)| needs_a_person(kind))?;
                Some(format!("stopped: {name}: {}", failure.message))
            });
            let budget = || match outcome.unaffordable {
                0 => "stopped".to_owned(),
                count => format!("the budget is used up, {} not made", counted(count, "file")),
            };
            format!("{},", why.unwrap_or_else(budget))
        }
        Exit::Later if outcome.count(Status::Failed) + outcome.count(Status::Unknown) > 0 => {
            "not finished, and some of it failed,".to_owned()
        }
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
        costs.push(format!("{estimated} estimated"));
    }
    if unknown > 0 {
        costs.push(format!("{} of unknown cost", number(unknown)));
    }
    (!costs.is_empty()).then(|| costs.join(", "))
}

fn all_pass(outcome: &Outcome) -> bool {
    let mut failures = outcome.accounts.values().flat_map(|account| &account.failures);
    failures.all(|(kind, failure)| passes(kind) && !failure.is_spent)
}

/// What goes on where a command ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then<'a> {
    /// The same command: it makes what is missing, and nothing that is there.
    Same(&'a str),
    /// The same command, which asks for what failed as it stood in the list then.
    AsItWas(&'a str),
    /// The same command, which makes nothing.
    Fetch(&'a str),
    /// Not the same command: it would make anew what it has made anew.
    Anew,
}

fn next(outcome: &Outcome, exit: Exit, then: Then<'_>) -> Option<String> {
    let any = |status| outcome.count(status) > 0;
    let failures = || outcome.accounts.values().flat_map(|account| &account.failures);
    if matches!(exit, Exit::Done | Exit::Refused) {
        return None;
    }
    let mut steps: Vec<String> = Vec::new();
    if any(Status::Unknown) {
        steps.push(here("media status tells what may have been billed"));
    }
    if any(Status::Gone) {
        steps.push(here(
            "put back what is gone, or media redo --missing buys it anew",
        ));
    }
    match then {
        // What was sent once more is not to be sent a third time.
        Then::AsItWas(_) if exit == Exit::Later && failures().any(|(kind, _)| kind == "pending") => {
            steps.push(here("media rescue, later, fetches what was handed over"));
        }
        Then::Same(again) | Then::AsItWas(again) => match exit {
            Exit::Act if !failures().any(|(kind, _)| needs_a_person(kind)) => steps.push(format!(
                "a larger budget (--max-cost, --max-run-cost or budget in the configuration; a day's is there again after \
                 midnight), then  {again}"
            )),
            Exit::Act => steps.push(format!("act on it, then  {again}")),
            Exit::SomeFailed if any(Status::Failed) && all_pass(outcome) => {
                steps.push(format!("what failed is asked for again by  {again}"));
            }
            Exit::SomeFailed if failures().any(|(_, failure)| failure.is_spent) => {
                let refused = failures().any(|(kind, failure)| !passes(kind) && !failure.is_spent);
                let mend = match refused {
                    true => here("; rows that were refused want a change, or  media retry"),
                    false => String::new(),
                };
                let anew =
                    here("what came is no good, and that is bought anew only by  media redo, with its id");
                steps.push(format!(
                    "{again}  fetches what was billed and can still come; {anew}{mend}"
                ));
            }
            Exit::SomeFailed if any(Status::Failed) => {
                let mend = here("mend the rows named above (media export failed lists them)");
                steps.push(match then {
                    Then::AsItWas(_) => {
                        format!("{mend}, then run their list: media retry sends what it sent before")
                    }
                    _ => format!("{mend}, then  {again}"),
                });
            }
            Exit::SomeFailed => {}
            _ => steps.push(again.to_owned()),
        },
        Then::Fetch(again) => match exit {
            Exit::SomeFailed => steps.push(here("media status ID tells about each")),
            _ => steps.push(again.to_owned()),
        },
        Then::Anew => {
            if failures().any(|(kind, _)| kind == "pending") {
                steps.push(here("media rescue, later, fetches what was handed over"));
            }
            if outcome.left() > 0 || any(Status::Failed) || any(Status::Cancelled) {
                steps.push(here("media redo, with the ids of what was not made anew"));
            }
        }
    }
    (!steps.is_empty()).then(|| steps.join("\n      "))
}
