//! Forvo: keys and parameters as path segments, PHP's way of writing JSON, a daily quota of calls.

mod audio;
mod countries;
mod languages;
mod path;
mod php;
mod query;
mod quota;
mod words;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::fault::{FaultKind, Op, Provider, Stage, Target};
use crate::scenario::{Forvo, ForvoNotFound};
use crate::server::{self, Incoming};
use crate::state::Shared;

use path::Pairs;
pub(crate) use path::redacted;
pub(crate) use quota::{State, day_of};

/// Errors are an array of one string.
fn statement(status: u16, text: &str) -> Answer {
    php_answer(status, &json!([text]))
}

fn php_answer(status: u16, value: &Value) -> Answer {
    Answer::new(status, "application/json", php::encode(value))
}

/// The body that tells a spent quota; told by its text, not by its status.
pub(crate) fn quota_answer(scenario: &Forvo) -> Answer {
    statement(scenario.quota_status, "Limit/day reached.")
}

fn invalid(name: &str) -> Answer {
    statement(400, &format!("Invalid value for parameter {name}."))
}

fn default_error(status: u16) -> Answer {
    Answer::html(
        status,
        "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Error</body></html>",
    )
}

/// Answers a request under `/forvo`.
pub(crate) async fn answer(shared: &Arc<Shared>, incoming: &Incoming) -> Answer {
    let rest = incoming.path.strip_prefix("/forvo").unwrap_or_default();
    if let Some(token) = rest.strip_prefix("/audio/") {
        return audio::answer(shared, incoming, token).await;
    }
    let pairs = Pairs::parse(rest);
    let action = pairs
        .as_ref()
        .and_then(|pairs| pairs.get("action"))
        .unwrap_or_default()
        .to_owned();
    let op = match action.as_str() {
        "word-pronunciations" | "standard-pronunciation" => Op::Lookup,
        "" => Op::Other,
        _ => Op::List,
    };
    let word = pairs
        .as_ref()
        .and_then(|pairs| pairs.get("word"))
        .unwrap_or_default()
        .to_owned();
    let target = Target {
        provider: Provider::Forvo,
        op,
        path: &incoming.path,
        content: &word,
    };
    if let Err(answer) = server::before(shared, &target, default_error).await {
        return answer;
    }
    let answer = match pairs {
        Some(pairs) if incoming.method == Method::GET => serve(shared, &target, &action, &pairs)
            .await
            .unwrap_or_else(|refusal| refusal),
        Some(_) => default_error(405),
        // Bytes that are no UTF-8, an encoded slash, a name without a value: Apache or PHP gives up.
        None => Answer::html(
            404,
            "<html><head><title>404 Not Found</title></head><body>Not Found</body></html>",
        ),
    };
    server::after(shared, &target, answer, default_error)
}

/// The order: key, pace, quota (which every request with a valid key uses), then the parameters.
async fn serve(shared: &Shared, target: &Target<'_>, action: &str, pairs: &Pairs) -> Result<Answer, Answer> {
    let scenario = &shared.scenario.forvo;
    let key = key_of(scenario, pairs)?;
    let _pass = shared
        .forvo
        .busy
        .enter(key, scenario.limits.concurrency)
        .ok_or_else(|| too_many(1000))?;
    shared
        .forvo
        .pace(scenario, key, shared.clock.now_ms())
        .map_err(too_many)?;
    if !shared.forvo.count(scenario, key, day_of(shared.clock.now_ms())) {
        return Err(quota_answer(scenario));
    }
    tokio::time::sleep(Duration::from_millis(scenario.latency_ms.lookup)).await;
    match pairs.get("format") {
        Some("json") => {}
        // XML and js-tag exist and are not simulated.
        _ => return Err(invalid("format")),
    }
    match action {
        "word-pronunciations" => lookup(shared, target, key, pairs),
        "standard-pronunciation" => standard(shared, target, key, pairs),
        "language-popular" => languages::popular(pairs),
        "language-list" => languages::list(pairs),
        _ => Err(invalid("action")),
    }
}

/// Which key, by its number in the scenario.
fn key_of(scenario: &Forvo, pairs: &Pairs) -> Result<usize, Answer> {
    let key = pairs.get("key").unwrap_or_default();
    let found = scenario
        .keys
        .iter()
        .enumerate()
        .find(|(_, entry)| entry.key == key);
    let Some((index, entry)) = found else {
        return Err(statement(400, "Calling from incorrect domain."));
    };
    if entry.disabled {
        Err(statement(400, "Account disabled."))
    } else {
        Ok(index)
    }
}

/// 429: the real service publishes no pace and was never seen to send this.
fn too_many(wait_ms: u64) -> Answer {
    statement(429, "Too many requests.").header("retry-after", wait_ms.div_ceil(1000).max(1).to_string())
}

fn lookup(shared: &Shared, target: &Target<'_>, key: usize, pairs: &Pairs) -> Result<Answer, Answer> {
    pairs.only(&[
        "key",
        "format",
        "action",
        "word",
        "language",
        "country",
        "username",
        "sex",
        "rate",
        "order",
        "limit",
        "group-in-languages",
    ])?;
    let query = query::Query::read(pairs)?;
    if let Some(answer) = odd_word(&shared.scenario.forvo, &query.word) {
        return Ok(answer);
    }
    let mut found = words::find(&shared.scenario.forvo, &query.word, query.language);
    query.narrow(&mut found);
    if shared.faults.take(Stage::Results, target) == Some(FaultKind::EmptyData) {
        found.clear();
    }
    if found.is_empty() {
        return Ok(nothing(&shared.scenario.forvo));
    }
    let items: Vec<Value> = found
        .iter()
        .map(|recording| audio::show(shared, key, recording))
        .collect();
    Ok(php_answer(
        200,
        &json!({"attributes": {"total": items.len()}, "items": items}),
    ))
}

/// The single top-rated recording, without `attributes`.
fn standard(shared: &Shared, target: &Target<'_>, key: usize, pairs: &Pairs) -> Result<Answer, Answer> {
    pairs.only(&["key", "format", "action", "word", "language"])?;
    let query = query::Query::read(pairs)?;
    if let Some(answer) = odd_word(&shared.scenario.forvo, &query.word) {
        return Ok(answer);
    }
    let found = words::find(&shared.scenario.forvo, &query.word, query.language);
    let empty = shared.faults.take(Stage::Results, target) == Some(FaultKind::EmptyData);
    match found
        .iter()
        .max_by_key(|recording| recording.rate())
        .filter(|_| !empty)
    {
        Some(best) => Ok(php_answer(
            200,
            &json!({"items": [audio::show(shared, key, best)]}),
        )),
        None => Ok(nothing(&shared.scenario.forvo)),
    }
}

/// Words that PHP or Apache stumbles over.
fn odd_word(scenario: &Forvo, word: &str) -> Option<Answer> {
    if word.chars().count() > scenario.max_word {
        let page = "<html><head><title>414 Request-URI Too Long</title></head><body>Request-URI Too Long</body></html>";
        return Some(Answer::html(414, page));
    }
    // "0" is false in PHP.
    (word == "0").then(|| php_answer(200, &Value::Bool(false)))
}

/// "Nothing found", in the shape of the scenario.
fn nothing(scenario: &Forvo) -> Answer {
    match scenario.not_found {
        ForvoNotFound::Empty => php_answer(200, &json!({"attributes": {"total": 0}, "items": []})),
        ForvoNotFound::False => php_answer(200, &Value::Bool(false)),
        ForvoNotFound::Redirect => {
            Answer::html(302, "<html><body>Found</body></html>").header("location", "https://forvo.com/404")
        }
        ForvoNotFound::Html => default_error(403),
    }
}
