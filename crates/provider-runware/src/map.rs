//! Pure translation: a resolved request to a task, an answer to what became of each task.

use std::collections::BTreeMap;

use media_core::http::Payload;
use media_core::{
    AttemptKey, Error, ErrorKind, Facts, Format, Generated, Link, Media, MediaKind, Resolved, Staged, Usd,
};
use serde_json::{Map, Value, json};
use url::Url;

use crate::config::{Delivery, Mode, Output, WhenFlagged};
use crate::error::Class;
use crate::wire::{Envelope, Item, TaskError};

/// Our parameters of pictures and Runware's names for them.
const IMAGE_FIELDS: [(&str, &str); 11] = [
    ("negative_prompt", "negativePrompt"),
    ("width", "width"),
    ("height", "height"),
    ("steps", "steps"),
    ("cfg_scale", "CFGScale"),
    ("scheduler", "scheduler"),
    ("seed", "seed"),
    ("quality", "outputQuality"),
    ("lora", "lora"),
    ("accelerator_options", "acceleratorOptions"),
    ("provider_settings", "providerSettings"),
];

/// The task that buys one result. The attempt key is its taskUUID: the same key is never billed twice.
pub(crate) fn task(resolved: &Resolved, key: AttemptKey, delivery: &Delivery) -> Value {
    let mut task = Map::new();
    let mut put = |name: &str, value: Value| {
        task.insert(name.to_owned(), value);
    };
    let image = resolved.format.kind() == MediaKind::Image;
    put(
        "taskType",
        if image { "imageInference" } else { "audioInference" }.into(),
    );
    put("taskUUID", key.to_string().into());
    put("model", resolved.model.as_str().into());
    put("numberResults", 1.into());
    put("outputFormat", format_name(resolved.format).into());
    put("includeCost", true.into());
    put(
        "deliveryMethod",
        if delivery.mode == Mode::Async {
            "async"
        } else {
            "sync"
        }
        .into(),
    );
    match delivery.output {
        Output::Url => {
            put("outputType", "URL".into());
            // Only allowed together with links.
            if let Some(keep) = delivery.keep_url {
                put("ttl", keep.0.as_secs().into());
            }
        }
        Output::Base64 => put("outputType", "base64Data".into()),
    }
    let given = |name: &str| resolved.params.get(name);
    if let Some(settings) = given("settings") {
        put("settings", settings.clone());
    }
    if image {
        put("positivePrompt", resolved.content.as_str().into());
        for (ours, theirs) in IMAGE_FIELDS {
            if let Some(value) = given(ours) {
                put(theirs, value.clone());
            }
        }
        if given("check_content") == Some(&Value::Bool(true)) {
            put("safety", json!({"checkContent": true}));
        }
    } else {
        let mut speech = given("speech")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        speech.insert("text".to_owned(), resolved.content.as_str().into());
        speech.insert("voice".to_owned(), given("voice").cloned().unwrap_or_default());
        put("speech", Value::Object(speech));
        let audio: Map<_, _> = [("sample_rate", "sampleRate"), ("bitrate", "bitrate")]
            .into_iter()
            .filter_map(|(ours, theirs)| Some((theirs.to_owned(), given(ours)?.clone())))
            .collect();
        if !audio.is_empty() {
            put("audioSettings", Value::Object(audio));
        }
        if let Some(value) = given("provider_settings") {
            put("providerSettings", value.clone());
        }
    }
    Value::Object(task)
}

/// Runware's name of a format. Upper case as in the reference; examples show lower case too.
fn format_name(format: Format) -> String {
    match format {
        Format::Jpeg => "JPG".to_owned(),
        other => other.name().to_ascii_uppercase(),
    }
}

/// The status of a generation that came to nothing: `error` is documented, the others are what such services say.
const FAILED: [&str; 3] = ["error", "failed", "failure"];

/// What an answer says about one task.
#[derive(Debug)]
pub(crate) enum State {
    /// Accepted or in progress.
    Running,
    /// Said to be a success, but without media that can be used.
    Unusable(Error),
    /// It failed.
    Failed(TaskError),
    /// It was made and billed, and is not wanted.
    Flagged(Error),
    /// It was made.
    Done(Box<Generated>),
}

impl State {
    /// Of several statements about one task the most definite counts: a result beats an error beats progress.
    fn weight(&self) -> u8 {
        match self {
            State::Running => 0,
            State::Unusable(_) => 1,
            State::Failed(_) => 2,
            State::Flagged(_) => 3,
            State::Done(_) => 4,
        }
    }
}

/// What an answer says, task by task. Order and repetition mean nothing; the taskUUID alone does.
#[derive(Debug, Default)]
pub(crate) struct States(BTreeMap<AttemptKey, State>);

impl States {
    /// What is said about a task; takes it out.
    pub(crate) fn take(&mut self, key: AttemptKey) -> Option<State> {
        self.0.remove(&key)
    }

    pub(crate) fn peek(&self, key: AttemptKey) -> Option<&State> {
        self.0.get(&key)
    }

    /// Adds another answer.
    pub(crate) fn merge(&mut self, other: States) {
        for (key, state) in other.0 {
            self.add(key, state);
        }
    }

    fn add(&mut self, key: AttemptKey, state: State) {
        if let (Some(State::Failed(known)), State::Failed(failed)) = (self.0.get_mut(&key), &state) {
            // Either of them may name what it cost.
            let costs = [known.cost, failed.cost].into_iter().flatten();
            known.cost = costs.max_by(f64::total_cmp);
            return;
        }
        if self
            .0
            .get(&key)
            .is_none_or(|known| known.weight() < state.weight())
        {
            self.0.insert(key, state);
        }
    }
}

/// Reads answers with these media in them.
pub(crate) struct Reader {
    media: Vec<Option<Staged>>,
    when_flagged: WhenFlagged,
}

impl Reader {
    pub(crate) fn new(media: Vec<Staged>, when_flagged: WhenFlagged) -> Reader {
        Reader {
            media: media.into_iter().map(Some).collect(),
            when_flagged,
        }
    }

    /// The answer to tasks that were just sent: every error with a taskUUID is that task's.
    pub(crate) fn submitted(self, envelope: Envelope) -> States {
        self.read(envelope, |_| true)
    }

    /// The answer to `getResponse`: an error can also be about the question.
    pub(crate) fn polled(self, envelope: Envelope) -> States {
        self.read(envelope, TaskError::is_final)
    }

    fn read(mut self, mut envelope: Envelope, counts: impl Fn(&TaskError) -> bool) -> States {
        let mut states = States::default();
        // What is said to go on has not failed, unless that is said in so many words.
        let goes_on = |item: &Item| {
            !item.error.iter().any(TaskError::is_of_generation)
                && item.status.as_deref().is_some_and(is_progress)
        };
        let running: Vec<_> = envelope
            .data
            .iter()
            .filter(|item| goes_on(item))
            .filter_map(|item| key_of(item.task_uuid.as_deref()))
            .collect();
        for error in envelope.take_errors() {
            let key = key_of(error.task_uuid.as_deref())
                .filter(|key| counts(&error) && (error.says_error() || !running.contains(key)));
            if let Some(key) = key {
                states.add(key, State::Failed(error));
            }
        }
        for item in envelope.data {
            if let Some(key) = key_of(item.task_uuid.as_deref()) {
                let state = self.state(item);
                states.add(key, state);
            }
        }
        states
    }

    /// The answer to `getTaskDetails`: each entry holds the answer that was once given. While a task runs it is empty.
    pub(crate) fn archived(mut self, envelope: Envelope) -> States {
        let mut states = States::default();
        for item in envelope.data {
            let Some(key) = key_of(item.task_uuid.as_deref()) else {
                continue;
            };
            states.add(key, State::Running);
            let Some(mut response) = item.response else {
                continue;
            };
            // The answer of a whole array may be archived with each of its tasks.
            let own = |uuid: Option<&str>| uuid.is_none() || key_of(uuid) == Some(key);
            for error in response
                .take_errors()
                .into_iter()
                .filter(|error| own(error.task_uuid.as_deref()) && error.is_final_in_archive())
                // That a whole request broke down does not say what became of each of its tasks.
                .filter(|error| error.task_uuid.is_some() || error.class() != Class::Server)
            {
                states.add(key, State::Failed(error));
            }
            for item in response
                .data
                .into_iter()
                .filter(|item| own(item.task_uuid.as_deref()))
            {
                let state = self.state(item);
                states.add(key, state);
            }
        }
        states
    }

    fn state(&mut self, mut item: Item) -> State {
        let status = item.status.as_deref().unwrap_or_default().to_ascii_lowercase();
        let has_failed = FAILED.contains(&status.as_str());
        let media = self.media(&item);
        // A result is a result, whatever stands beside it; a failure with one was made, whatever it says of money.
        if has_failed && matches!(media, Some(Ok(_))) {
            let said = item.error.first().map(TaskError::said).unwrap_or_default();
            let error = Error::new(
                ErrorKind::BadResponse,
                format!("it is said to have failed, and comes with a result: {said}"),
            );
            return State::Unusable(with_cost(error, &item));
        }
        let is_told = item.error.iter().any(TaskError::is_of_generation);
        if has_failed || (media.is_none() && is_told) {
            let flat = TaskError {
                code: item.code.take(),
                message: item.message.take(),
                ..TaskError::default()
            };
            let cost = item.error.iter().map(|error| error.cost).chain([item.cost]);
            let cost = cost.flatten().max_by(f64::total_cmp);
            let error = item.error.into_iter().next().unwrap_or(flat);
            // What the item says of itself is said of its error.
            let status = error.status.clone().or(item.status);
            return State::Failed(TaskError {
                cost,
                status,
                ..error
            });
        }
        // Words without a code, of what goes on or of what nothing is known.
        if media.is_none()
            && !is_progress(&status)
            && let Some(error) = item.error.first()
        {
            let message = format!("the service says of it: {}", error.said());
            return State::Unusable(with_cost(Error::new(ErrorKind::ProviderFault, message), &item));
        }
        match media {
            Some(Ok(media)) if item.nsfw == Some(true) && self.when_flagged == WhenFlagged::Reject => {
                drop(media);
                let error = Error::new(
                    ErrorKind::ContentRejected,
                    "the content check flagged the picture",
                );
                State::Flagged(
                    error
                        .billed(cost_of(&item))
                        .hint("change the prompt, or set when_flagged to warn"),
                )
            }
            Some(Ok(media)) => State::Done(Box::new(Generated {
                media,
                facts: facts(&item),
            })),
            Some(Err(error)) => State::Unusable(with_cost(error, &item)),
            None if status == "success" => {
                let error = Error::new(
                    ErrorKind::BadResponse,
                    "the result holds neither a link nor media",
                );
                State::Unusable(with_cost(error, &item))
            }
            // No status is an acknowledgement; `processing`, `pending`, `queued` and their like are progress.
            None => State::Running,
        }
    }

    fn media(&mut self, item: &Item) -> Option<Result<Media, Error>> {
        let payloads = [
            &item.image_base64,
            &item.image_data_uri,
            &item.audio_base64,
            &item.audio_data_uri,
        ];
        let mut unreadable = None;
        for payload in payloads.into_iter().flatten() {
            match payload {
                Payload::Staged(place) => {
                    if let Some(staged) = self.media.get_mut(*place).and_then(Option::take) {
                        return Some(Ok(Media::Staged(staged)));
                    }
                }
                Payload::Unreadable(why) => {
                    unreadable = Some(Error::new(ErrorKind::BadResponse, why.clone()));
                }
                Payload::Text(_) => {}
            }
        }
        let Some(text) = item.image_url.as_deref().or(item.audio_url.as_deref()) else {
            return unreadable.map(Err);
        };
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        Some(url.map(|url| Media::Link(Link::new(url))).ok_or_else(|| {
            Error::new(
                ErrorKind::BadResponse,
                "the link to the result is not an http address",
            )
        }))
    }
}

fn key_of(uuid: Option<&str>) -> Option<AttemptKey> {
    AttemptKey::parse(uuid?)
}

/// What a result cost. Hosted models are billed by the time they took; 0 means that it is not known yet.
fn cost_of(item: &Item) -> Option<Usd> {
    item.cost.filter(|cost| *cost > 0.0).and_then(Usd::from_dollars)
}

/// What names its cost was billed.
fn with_cost(error: Error, item: &Item) -> Error {
    match cost_of(item) {
        Some(cost) => error.billed(Some(cost)),
        None => error,
    }
}

fn is_progress(status: &str) -> bool {
    let status = status.to_ascii_lowercase();
    !status.is_empty() && status != "success" && !FAILED.contains(&status.as_str())
}

fn facts(item: &Item) -> Facts {
    let warnings = match item.nsfw {
        Some(true) => vec!["the content check flagged the picture as unsafe".to_owned()],
        _ => Vec::new(),
    };
    Facts {
        remote_id: item.image_uuid.clone().or_else(|| item.audio_uuid.clone()),
        cost: cost_of(item),
        seed: item.seed,
        warnings,
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests;
