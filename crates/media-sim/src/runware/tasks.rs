//! Accepted tasks: who owns them, what they cost, when they are done.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::check::{self, Wanted};
use super::error::{TaskError, status_of};
use super::{Object, account, op_of};
use crate::bill::ChargeId;
use crate::fault::{FaultKind, Provider, Stage, Target};
use crate::gate::Gate;
use crate::hash;
use crate::openai::mentions;
use crate::scenario::{Runware, RunwareTrait};
use crate::state::{Shared, lock};

/// A task that was accepted.
#[derive(Debug)]
pub(crate) struct Task {
    /// As the client wrote it.
    pub(crate) uuid: String,
    pub(crate) task_type: String,
    pub(crate) request: Value,
    pub(crate) content: String,
    pub(crate) wanted: Wanted,
    /// The seed of the first result.
    pub(crate) seed: u64,
    accepted_ms: u64,
    latency_ms: u64,
    pub(crate) charge: Option<ChargeId>,
    pub(crate) failure: Option<TaskError>,
}

impl Task {
    /// When a result is ready: one after the other, so that partial results can be seen.
    pub(crate) fn ready_ms(&self, index: usize) -> u64 {
        self.accepted_ms + self.latency_ms + self.latency_ms * index as u64 / 4
    }

    /// When all are.
    pub(crate) fn done_ms(&self) -> u64 {
        self.ready_ms(self.wanted.results.saturating_sub(1))
    }

    /// The id of a result's media.
    pub(crate) fn media_uuid(&self, index: usize) -> String {
        hash::uuid(&["media", &self.uuid, &index.to_string()]).to_string()
    }
}

#[derive(Debug)]
struct Account {
    balance_nanos: i64,
    tasks: HashMap<String, Arc<Task>>,
    /// When the running generations end.
    running: BinaryHeap<Reverse<u64>>,
}

/// What the simulated Runware remembers.
#[derive(Debug)]
pub(crate) struct State {
    accounts: Mutex<Vec<Account>>,
    /// Hosted media by id.
    hosted: Mutex<HashMap<String, (Arc<Task>, usize)>>,
    pub(crate) busy: Gate,
}

fn nanos(usd: f64) -> i64 {
    (usd * 1e9).round() as i64
}

fn fresh(scenario: &Runware) -> Vec<Account> {
    let account = |balance_usd| Account {
        balance_nanos: nanos(balance_usd),
        tasks: HashMap::new(),
        running: BinaryHeap::new(),
    };
    scenario.keys.iter().map(|key| account(key.balance_usd)).collect()
}

impl State {
    pub(crate) fn new(scenario: &Runware) -> Self {
        Self {
            accounts: Mutex::new(fresh(scenario)),
            hosted: Mutex::default(),
            busy: Gate::default(),
        }
    }

    pub(crate) fn clear(&self, scenario: &Runware) {
        *lock(&self.accounts) = fresh(scenario);
        lock(&self.hosted).clear();
    }

    /// A task of this account.
    pub(crate) fn find(&self, key: usize, uuid: &str) -> Option<Arc<Task>> {
        lock(&self.accounts)
            .get(key)?
            .tasks
            .get(&uuid.to_ascii_lowercase())
            .cloned()
    }

    pub(crate) fn hosted(&self, media_uuid: &str) -> Option<(Arc<Task>, usize)> {
        lock(&self.hosted).get(media_uuid).cloned()
    }

    pub(crate) fn balance(&self, key: usize) -> f64 {
        lock(&self.accounts)
            .get(key)
            .map_or(0.0, |account| account.balance_nanos as f64 / 1e9)
    }
}

/// The prompt or text of a task object.
pub(crate) fn content_of(object: &Object) -> String {
    let speech = || object.get("speech")?.get("text");
    let text = speech().or_else(|| object.get("positivePrompt"));
    text.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Whether a task will fail, and is billed.
fn fate(shared: &Shared, target: &Target<'_>, object: &Object) -> (Option<TaskError>, bool) {
    match shared.faults.take(Stage::Task, target) {
        Some(FaultKind::TaskError {
            code,
            message,
            billed,
        }) => {
            let failure = TaskError::new(status_of(&code), code, message);
            (Some(failure.of(object)), billed)
        }
        _ if mentions(target.content, &shared.scenario.runware.moderation) => {
            let message = "The prompt was refused by the content policy of the model.";
            let failure = TaskError::new(400, "contentPolicyViolation", message).about("positivePrompt");
            (Some(failure.of(object)), false)
        }
        _ => (None, true),
    }
}

/// Accepts a task, or refuses it without a trace: a refused submit leaves its UUID unused and costs nothing.
pub(crate) fn accept(
    shared: &Shared,
    key: usize,
    kind: &str,
    object: Object,
) -> Result<Arc<Task>, TaskError> {
    let scenario = &shared.scenario.runware;
    let uuid = check::task_uuid(&object)?;
    if account::has(shared, key, RunwareTrait::NoInference) {
        return Err(TaskError::new(
            403,
            "insufficientPermissions",
            "The key has no permission to run inference.",
        ));
    }
    let now = shared.clock.now_ms();
    let mut accounts = lock(&shared.runware.accounts);
    let Some(owner) = accounts.get_mut(key) else {
        return Err(TaskError::new(401, "invalidApiKey", "The API key is invalid."));
    };
    if owner.tasks.contains_key(&uuid) {
        return Err(
            TaskError::new(400, "conflictTaskUUID", "The taskUUID has already been used.").about("taskUUID"),
        );
    }
    let wanted = check::inference(scenario, kind, &object)?;
    let price = nanos(wanted.usd_each) * wanted.results as i64;
    // The gate for partner models first: it is about the account, not about this task.
    if wanted.partner && owner.balance_nanos < nanos(5.0) {
        let message = "External inference tasks require a paid invoice or at least $5 credit.";
        return Err(TaskError::new(400, "thirdPartyInsufficientCredits", message));
    }
    if owner.balance_nanos < price {
        return Err(TaskError::new(
            402,
            "insufficientCredits",
            "Insufficient credits. Please add funds to your account.",
        ));
    }
    while owner.running.peek().is_some_and(|Reverse(done)| *done <= now) {
        owner.running.pop();
    }
    if owner.running.len() + wanted.results > scenario.limits.queue {
        return Err(TaskError::new(
            429,
            "inferenceRateLimitExceeded",
            "The queue is full. Please retry later.",
        ));
    }

    let content = content_of(&object);
    let target = Target {
        provider: Provider::Runware,
        op: op_of(kind),
        path: "/runware/v1",
        content: &content,
    };
    let (failure, billed) = fate(shared, &target, &object);
    let sent_uuid = object
        .get("taskUUID")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let charge = billed.then(|| {
        owner.balance_nanos -= price;
        let usd = price as f64 / 1e9;
        shared.ledger.charge(
            "runware",
            &sent_uuid,
            &wanted.model,
            &content,
            usd,
            wanted.results,
        )
    });
    let latency_ms = if kind == "imageInference" {
        scenario.latency_ms.image
    } else {
        scenario.latency_ms.audio
    };
    // Random seeds are 32-bit numbers in the real service.
    let seed = wanted
        .seed
        .unwrap_or_else(|| u64::from(hash::number(&["seed", &uuid]) as u32).max(1));
    let task = Arc::new(Task {
        uuid: sent_uuid,
        task_type: kind.to_owned(),
        request: Value::Object(object),
        content,
        seed,
        accepted_ms: now,
        latency_ms,
        charge,
        failure,
        wanted,
    });
    for index in 0..task.wanted.results {
        owner.running.push(Reverse(task.ready_ms(index)));
    }
    owner.tasks.insert(uuid, Arc::clone(&task));
    drop(accounts);
    if task.failure.is_none() {
        let mut hosted = lock(&shared.runware.hosted);
        for index in 0..task.wanted.results {
            hosted.insert(task.media_uuid(index), (Arc::clone(&task), index));
        }
    }
    Ok(task)
}
