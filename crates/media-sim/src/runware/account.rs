//! Keys, sessions and the account behind a key.

use serde_json::{Value, json};

use super::Object;
use super::error::TaskError;
use super::item::Item;
use crate::scenario::{RunwareTrait, Shape};
use crate::server::Incoming;
use crate::state::Shared;

/// The key of a request: by header, or by an `authentication` element in first place.
fn key_of<'a>(incoming: &'a Incoming, elements: &'a [Value]) -> Option<&'a str> {
    let first = elements
        .first()
        .filter(|first| first.get("taskType").and_then(Value::as_str) == Some("authentication"));
    match first {
        Some(first) => first.get("apiKey").and_then(Value::as_str),
        None => incoming.bearer(),
    }
}

/// The number of the account, when the key is valid.
pub(crate) fn index_of(shared: &Shared, incoming: &Incoming, elements: &[Value]) -> Option<usize> {
    let key = key_of(incoming, elements)?;
    shared
        .scenario
        .runware
        .keys
        .iter()
        .position(|entry| entry.key == key)
}

/// Checks the key.
pub(crate) fn authenticate(
    shared: &Shared,
    incoming: &Incoming,
    elements: &[Value],
) -> Result<usize, TaskError> {
    let error = |code, message| {
        Err(TaskError::new(401, code, message)
            .about("apiKey")
            .of(&Object::from_iter([(
                "taskType".to_owned(),
                json!("authentication"),
            )])))
    };
    if key_of(incoming, elements).is_none() {
        return error(
            "missingApiKey",
            "An API key is required: send it as a Bearer token or in an authentication task.",
        );
    }
    match index_of(shared, incoming, elements) {
        Some(index) => Ok(index),
        None => error(
            "invalidApiKey",
            "The API key is invalid. Get one at https://my.runware.ai/signup.",
        ),
    }
}

/// The answer to an `authentication` element.
pub(crate) fn session() -> Item {
    let session = crate::hash::uuid(&["session"]).to_string();
    Item::plain(json!({"taskType": "authentication", "connectionSessionUUID": session}))
}

/// `accountManagement`, operation `getDetails`.
pub(crate) fn details(shared: &Shared, key: usize, object: &Object) -> Result<Vec<Item>, TaskError> {
    super::check::task_uuid(object)?;
    let operation = object
        .get("operation")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if operation != "getDetails" {
        let message = format!("The operation '{operation}' is not supported.");
        return Err(TaskError::new(400, "invalidOperation", message)
            .about("operation")
            .allowing(&["getDetails"]));
    }
    let scenario = &shared.scenario.runware;
    if has(shared, key, RunwareTrait::NoAccount) {
        return Err(TaskError::new(
            403,
            "forbidden",
            "The key has no permission for account management.",
        ));
    }
    let balance = shared.runware.balance(key);
    let balance = match scenario.balance_shape {
        Shape::Number => json!(balance),
        Shape::Object => json!({"amount": balance, "freeBalance": 0.0, "currency": "USD"}),
    };
    let uuid = crate::hash::uuid(&["organization"]).to_string();
    let usage = json!({"credits": 0.0, "requests": 0});
    Ok(vec![Item::plain(json!({
        "taskType": "accountManagement",
        "taskUUID": object.get("taskUUID"),
        "operation": "getDetails",
        "organizationUUID": uuid,
        "organizationName": "Simulated",
        "balance": balance,
        "team": [],
        "apiKeys": [],
        "usage": {"today": usage, "last7Days": usage, "last30Days": usage, "total": usage},
    }))])
}

pub(crate) fn has(shared: &Shared, key: usize, wanted: RunwareTrait) -> bool {
    shared
        .scenario
        .runware
        .keys
        .get(key)
        .is_some_and(|entry| entry.traits.contains(&wanted))
}
