//! What a run would do, in words and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use media_core::Usd;
use media_engine::{FieldCount, Plan, ProviderPlan, Status};
use serde_json::json;

use super::{cents, counted, moment, number, roughly};
use crate::session::List;

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
    if !list.providers.is_empty() {
        let asked = plan.providers.values().map(ProviderPlan::asked).sum();
        let names = list.providers.join(", ");
        let _ = writeln!(text, "only {names}: {} of these", number(asked));
    }
    let costs: Vec<_> = plan.providers.values().map(cost_of).collect();
    let wide = costs.iter().map(String::len).max().unwrap_or(0).max(20) + 2;
    let _ = writeln!(
        text,
        "{:<12}{:>7}{:>7}   {:<wide$}time",
        "", "make", "there", "cost"
    );
    for ((name, provider), cost) in plan.providers.iter().zip(costs) {
        provider_lines(&mut text, name, provider, &cost, wide);
    }
    for field in &plan.fields.fields {
        field_line(&mut text, field);
    }
    text
}

/// What one provider makes, in how long, at what price. `wide`: the column of prices.
fn provider_lines(text: &mut String, name: &str, provider: &ProviderPlan, cost: &str, wide: usize) {
    let time = match provider.days() {
        Some(days) => format!(
            "{}: {} now, {} a day after {}",
            counted(days.days(), "day"),
            number(days.files_today().min(provider.make)),
            number(days.files_per_day()),
            moment(days.resets),
        ),
        None if provider.make == 0 => String::new(),
        None if provider.time.as_secs() == 0 => format!("under a second ({})", provider.because),
        None => format!("about {} ({})", roughly(provider.time), provider.because),
    };
    let _ = writeln!(
        text,
        "{name:<12}{:>7}{:>7}   {}",
        number(provider.make),
        number(provider.there()),
        format!("{cost:<wide$}{time}").trim_end()
    );
    let others = others(provider);
    if !others.is_empty() {
        let _ = writeln!(text, "{:<12}  beside: {}", "", others.join(", "));
    }
    if provider.fallback > 0 {
        let mut cost = match provider.fallback_cost {
            Usd::ZERO => String::new(),
            cost => format!(", {} USD at most", cents(cost)),
        };
        if provider.fallback_unpriced > 0 {
            let _ = write!(cost, ", {} without a price", number(provider.fallback_unpriced));
        }
        let files = counted(provider.fallback, "file");
        let _ = writeln!(
            text,
            "{:<12}  and of {files} those that the providers before it do not have{cost}",
            ""
        );
    }
}

/// What the rules of a recipe do to one of its fields.
fn field_line(text: &mut String, field: &FieldCount) {
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
    let rules = rules.join(", ");
    let _ = writeln!(text, "field {}: {rules}   (--verbose lists them)", field.field);
}

fn cost_of(provider: &ProviderPlan) -> String {
    match (provider.days(), provider.unpriced) {
        (Some(days), _) => {
            let used = match days.used {
                0 => String::new(),
                used => format!(", {} used today", number(used)),
            };
            format!("{} of {} a day{used}", number(days.calls), number(days.per_day))
        }
        (None, 0) if provider.make == 0 => "nothing".to_owned(),
        (None, 0) if provider.cost == Usd::ZERO => "nothing by the file".to_owned(),
        (None, 0) => format!("about {} USD", cents(provider.cost)),
        (None, unpriced) if provider.cost == Usd::ZERO => format!("{} without a price", number(unpriced)),
        (None, unpriced) => {
            format!(
                "about {} USD and {} without a price",
                cents(provider.cost),
                number(unpriced)
            )
        }
    }
}

/// What is neither made nor simply there.
fn others(provider: &ProviderPlan) -> Vec<String> {
    let mut others = Vec::new();
    if provider.fetch > 0 {
        others.push(format!("{} bought before, to be fetched", number(provider.fetch)));
    }
    for (status, count) in &provider.stays {
        let what = match status {
            Status::Unknown => "unknown (may have been billed; not sent again)",
            Status::Gone => "gone (not bought again)",
            Status::Failed => "that cannot be made as things stand (a run says why)",
            Status::Waiting | Status::Cancelled => "waiting",
            Status::Done | Status::Skipped | Status::Kept | Status::Changed | Status::Outdated => continue,
        };
        others.push(format!("{} {what}", number(*count)));
    }
    others
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
            let days = provider.days().map(|days| {
                json!({ "calls": days.calls, "calls_per_day": days.per_day, "used_today": days.used, "days": days.days(), "resets": days.resets.to_string() })
            });
            let stays: serde_json::Map<_, _> = provider
                .stays
                .iter()
                .map(|(status, count)| (status.as_str().to_owned(), json!(count)))
                .collect();
            let value = json!({
                "make": provider.make, "fetch": provider.fetch, "there": provider.there(), "shared": provider.shared,
                "stays": stays, "fallback": provider.fallback, "fallback_cost_usd": provider.fallback_cost,
                "fallback_unpriced": provider.fallback_unpriced,
                "cost_usd": provider.cost, "unpriced": provider.unpriced,
                "seconds": provider.time.as_secs(), "daily_quota": days,
            });
            (name.clone(), value)
        })
        .collect();
    json!({ "v": 1, "rows": plan.rows, "files": plan.files, "shared": plan.findings.shared, "cost_usd": plan.cost(), "providers": providers })
}
