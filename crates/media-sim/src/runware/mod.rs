//! Runware over HTTP: one URL, an array of tasks in, one body of results and errors out. WebSockets are not simulated.

mod account;
mod check;
mod error;
mod hosting;
mod item;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Piece};
use crate::bill::ChargeId;
use crate::fault::{FaultKind, Op, Provider, Stage, Target};
use crate::scenario::UnknownTask;
use crate::server::{self, Incoming};
use crate::state::Shared;

use error::TaskError;
use item::Item;
pub(crate) use tasks::State;
use tasks::Task;

/// A task object as sent.
type Object = Map<String, Value>;

/// Answers a request under `/runware/v1` or for hosted media.
pub(crate) async fn answer(shared: &Arc<Shared>, incoming: &Incoming) -> Answer {
    if let Some(path) = incoming.path.strip_prefix("/runware-media/") {
        return hosting::answer(shared, incoming, path).await;
    }
    let sent = serde_json::from_slice::<Value>(&incoming.body).ok();
    let (op, content) = subject(shared, incoming, sent.as_ref());
    let target = Target {
        provider: Provider::Runware,
        op,
        path: &incoming.path,
        content: &content,
    };
    if let Err(answer) = server::before(shared, &target, default_error).await {
        return answer;
    }
    let answer = match tasks_of(incoming, sent) {
        Ok(elements) => match account::authenticate(shared, incoming, &elements) {
            Ok(key) => serve(shared, &target, key, elements).await,
            Err(error) => refusal(&error),
        },
        Err(error) => refusal(&error),
    };
    server::after(shared, &target, answer, default_error)
}

/// What a request is about, for faults: the kind of its first real task, and all prompts and texts in it.
fn subject(shared: &Shared, incoming: &Incoming, sent: Option<&Value>) -> (Op, String) {
    let elements = sent
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let kinds = elements
        .iter()
        .filter_map(|element| element.get("taskType")?.as_str());
    let op = kinds
        .map(op_of)
        .max_by_key(|op| u8::from(*op != Op::Account))
        .unwrap_or(Op::Other);
    let contents = elements.iter().filter_map(|element| {
        let own = tasks::content_of(element.as_object()?);
        if !own.is_empty() {
            return Some(own);
        }
        let uuid = element.get("taskUUID")?.as_str()?;
        let account = account::index_of(shared, incoming, elements)?;
        Some(shared.runware.find(account, uuid)?.content.clone())
    });
    (op, contents.collect::<Vec<_>>().join("\n"))
}

fn op_of(kind: &str) -> Op {
    match kind {
        "imageInference" => Op::Image,
        "audioInference" => Op::Speech,
        "getResponse" => Op::Poll,
        "getTaskDetails" => Op::Details,
        "ping" | "authentication" | "accountManagement" => Op::Account,
        _ => Op::Other,
    }
}

fn tasks_of(incoming: &Incoming, sent: Option<Value>) -> Result<Vec<Value>, TaskError> {
    if incoming.method != Method::POST {
        return Err(TaskError::new(
            405,
            "methodNotAllowed",
            "Send tasks by POST; WebSocket connections are not simulated.",
        ));
    }
    match sent {
        None => Err(TaskError::new(
            400,
            "invalidJSON",
            "The request body is not valid JSON.",
        )),
        Some(Value::Array(elements)) if !elements.is_empty() => Ok(elements),
        Some(_) => Err(TaskError::new(
            400,
            "invalidRequest",
            "The request body must be an array of task objects.",
        )),
    }
}

/// What one element led to.
enum Outcome {
    Items(Vec<Item>),
    Failed(TaskError),
    /// A task to wait for.
    Sync(Arc<Task>),
}

async fn serve(shared: &Arc<Shared>, target: &Target<'_>, key: usize, elements: Vec<Value>) -> Answer {
    let scenario = &shared.scenario.runware;
    if elements.len() > scenario.max_tasks {
        let message = format!("A request may hold at most {} tasks.", scenario.max_tasks);
        return refusal(&TaskError::new(400, "maxTasksExceeded", message));
    }
    let Some(_pass) = shared.runware.busy.enter(key, scenario.limits.concurrency) else {
        return refusal(&TaskError::new(
            429,
            "rateLimitExceeded",
            "Too many requests at the same time. Please retry later.",
        ));
    };
    let mut outcomes = Vec::new();
    for element in elements {
        outcomes.push(match element {
            Value::Object(object) => one(shared, key, object).await,
            _ => Outcome::Failed(TaskError::new(
                400,
                "invalidRequest",
                "Each task must be an object.",
            )),
        });
    }
    let until = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Sync(task) => Some(task.done_ms()),
        _ => None,
    });
    wait_until(shared, until.max().unwrap_or(0)).await;

    let (mut items, mut errors) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Items(more) => items.extend(more),
            Outcome::Failed(error) => errors.push(error),
            Outcome::Sync(task) => match &task.failure {
                Some(error) => errors.push(error.clone()),
                None => items.extend(item::finished(shared, &task, false).await),
            },
        }
    }
    if shared.faults.take(Stage::Results, target) == Some(FaultKind::EmptyData) {
        return Answer::json(200, &json!({"data": []}));
    }
    body(shared, items, &errors)
}

/// Waits in small steps, so that a clock put forward is noticed.
async fn wait_until(shared: &Shared, done_ms: u64) {
    loop {
        let left = done_ms.saturating_sub(shared.clock.now_ms());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left.min(50))).await;
    }
}

async fn one(shared: &Arc<Shared>, key: usize, object: Object) -> Outcome {
    let Some(kind) = object.get("taskType").and_then(Value::as_str).map(str::to_owned) else {
        return Outcome::Failed(
            TaskError::new(400, "missingTaskType", "The parameter 'taskType' is required.")
                .about("taskType")
                .of(&object),
        );
    };
    let done = match kind.as_str() {
        "authentication" => Ok(vec![account::session()]),
        "ping" => Ok(vec![Item::plain(json!({"taskType": "ping", "pong": true}))]),
        "accountManagement" => account::details(shared, key, &object),
        "getResponse" => poll(shared, key, &object).await,
        "getTaskDetails" => details(shared, key, &object).await,
        "imageInference" | "audioInference" => match tasks::accept(shared, key, &kind, object.clone()) {
            Ok(task) if task.wanted.is_async => Ok(vec![item::acknowledged(&task)]),
            Ok(task) => return Outcome::Sync(task),
            Err(error) => Err(error),
        },
        other => Err(TaskError::new(
            400,
            "unsupportedTaskType",
            format!("The task type '{other}' is not supported."),
        )
        .about("taskType")
        .allowing(&[
            "imageInference",
            "audioInference",
            "getResponse",
            "getTaskDetails",
            "accountManagement",
            "authentication",
            "ping",
        ])),
    };
    match done {
        Ok(items) => Outcome::Items(items),
        Err(error) => Outcome::Failed(error.of(&object)),
    }
}

fn unknown(shared: &Shared) -> Result<Vec<Item>, TaskError> {
    match shared.scenario.runware.unknown_task {
        UnknownTask::Empty => Ok(Vec::new()),
        UnknownTask::NotFound => {
            Err(TaskError::new(404, "taskNotFound", "The task was not found.").about("taskUUID"))
        }
    }
}

/// `getResponse`: the state of an async task, each result on its own. A task that was sent with sync delivery is not
/// found here (seen live).
async fn poll(shared: &Arc<Shared>, key: usize, object: &Object) -> Result<Vec<Item>, TaskError> {
    let uuid = check::task_uuid(object)?;
    let Some(task) = shared
        .runware
        .find(key, &uuid)
        .filter(|task| task.wanted.is_async)
    else {
        return unknown(shared);
    };
    if let Some(failure) = task
        .failure
        .as_ref()
        .filter(|_| task.done_ms() <= shared.clock.now_ms())
    {
        return Err(failure.clone().with_status());
    }
    Ok(item::finished(shared, &task, true).await)
}

/// `getTaskDetails`: the archive of requests and answers, sync ones too. While a task runs its answer is empty.
async fn details(shared: &Arc<Shared>, key: usize, object: &Object) -> Result<Vec<Item>, TaskError> {
    let uuid = check::task_uuid(object)?;
    let Some(task) = shared.runware.find(key, &uuid) else {
        return unknown(shared);
    };
    let response = if task.done_ms() > shared.clock.now_ms() {
        json!({"data": []})
    } else if let Some(failure) = &task.failure {
        json!({"errors": [failure.show()]})
    } else {
        let items = item::finished(shared, &task, false).await;
        json!({"data": items.iter().map(Item::value).collect::<Vec<_>>()})
    };
    Ok(vec![Item::plain(json!({
        "taskType": "getTaskDetails",
        "taskUUID": uuid,
        "request": [task.request],
        "response": response,
    }))])
}

/// The whole request is refused. No `Retry-After` with 429: the real service documents none.
fn refusal(error: &TaskError) -> Answer {
    Answer::json(error.status, &json!({"data": [], "errors": [error.show()]}))
}

/// One body for all. With something in `data` it is a success that may also tell of errors.
fn body(shared: &Shared, items: Vec<Item>, errors: &[TaskError]) -> Answer {
    let status = match (items.is_empty(), errors.first()) {
        (_, None) => 200,
        (true, Some(first)) => first.status,
        (false, Some(_)) => shared.scenario.runware.mixed_status,
    };
    let mut pieces = vec![Piece::Bytes("{\"data\":[".into())];
    let mut carried: Vec<(ChargeId, Option<usize>)> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            pieces.push(Piece::Bytes(",".into()));
        }
        carried.extend(item.carries);
        pieces.extend(item.into_pieces());
    }
    let mut end = "]".to_owned();
    if !errors.is_empty() {
        let errors: Vec<Value> = errors.iter().map(TaskError::show).collect();
        end.push_str(&format!(",\"errors\":{}", Value::Array(errors)));
    }
    end.push('}');
    pieces.push(Piece::Bytes(end.into()));
    Answer::of_pieces(status, "application/json", pieces).delivering(&shared.ledger, carried)
}

/// The error of a status fault that brings no body of its own.
fn default_error(status: u16) -> Answer {
    let (code, message) = match status {
        401 => ("invalidApiKey", "The API key is invalid."),
        402 => ("insufficientCredits", "Insufficient credits."),
        403 => ("forbidden", "The key has no permission for this."),
        404 => ("taskNotFound", "The task was not found."),
        408 => ("requestTimeout", "The request timed out."),
        429 => ("rateLimitExceeded", "The queue is full. Please retry later."),
        502 => {
            return Answer::html(
                502,
                "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            );
        }
        503 => ("serviceUnavailable", "The service is temporarily unavailable."),
        504 => (
            "timeoutProvider",
            "The external provider did not respond within the timeout window.",
        ),
        500.. => ("internalServerError", "An internal error occurred."),
        _ => ("invalidRequest", "The request was refused."),
    };
    Answer::json(
        status,
        &json!({"data": [], "errors": [TaskError::new(status, code, message).show()]}),
    )
}
