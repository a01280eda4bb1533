//! Pure translation: a resolved request to a task, an answer to what became of each task.

use std::collections::BTreeMap;

use media_core::http::Payload;
use media_core::{
    AttemptKey, Charge, Error, ErrorKind, Facts, Format, Generated, Link, Media, Resolved, Staged, Usd,
};
use serde_json::{Map, Value, json};
use url::Url;

use crate::check::IMAGE_GROUP;
use crate::config::{Delivery, Mode, Output, WhenFlagged};
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
    let image = resolved.group == IMAGE_GROUP;
    put("taskType", if image { "imageInference" } else { "audioInference" }.into());
    put("taskUUID", key.to_string().into());
    put("model", resolved.model.as_str().into());
    put("numberResults", 1.into());
    put("outputFormat", format_name(resolved.format).into());
    put("includeCost", true.into());
    put("deliveryMethod", if delivery.mode == Mode::Async { "async" } else { "sync" }.into());
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
        let mut speech = given("speech").and_then(Value::as_object).cloned().unwrap_or_default();
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
        if self.0.get(&key).is_none_or(|known| known.weight() < state.weight()) {
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
        Reader { media: media.into_iter().map(Some).collect(), when_flagged }
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
        for error in envelope.take_errors() {
            if let Some(key) = key_of(error.task_uuid.as_deref()).filter(|_| counts(&error)) {
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
            let Some(key) = key_of(item.task_uuid.as_deref()) else { continue };
            states.add(key, State::Running);
            let Some(mut response) = item.response else { continue };
            // The answer of a whole array may be archived with each of its tasks.
            let own = |uuid: Option<&str>| uuid.is_none() || key_of(uuid) == Some(key);
            for error in response.take_errors().into_iter().filter(|error| own(error.task_uuid.as_deref())) {
                states.add(key, State::Failed(error));
            }
            for item in response.data.into_iter().filter(|item| own(item.task_uuid.as_deref())) {
                let state = self.state(item);
                states.add(key, state);
            }
        }
        states
    }

    fn state(&mut self, mut item: Item) -> State {
        let status = item.status.as_deref().unwrap_or_default().to_ascii_lowercase();
        if status == "error" || !item.error.is_empty() {
            let flat = TaskError { code: item.code.take(), message: item.message.take(), ..TaskError::default() };
            return State::Failed(item.error.into_iter().next().unwrap_or(flat));
        }
        match self.media(&item) {
            Some(Ok(media)) if item.nsfw == Some(true) && self.when_flagged == WhenFlagged::Reject => {
                drop(media);
                let error = Error::new(ErrorKind::ContentRejected, "the content check flagged the picture");
                State::Flagged(error.with_charge(Charge::Certain).hint("change the prompt, or set when_flagged to warn"))
            }
            Some(Ok(media)) => State::Done(Box::new(Generated { media, facts: facts(&item) })),
            Some(Err(error)) => State::Unusable(error),
            None if status == "success" => {
                State::Unusable(Error::new(ErrorKind::BadResponse, "the result holds neither a link nor media"))
            }
            // No status is an acknowledgement; `processing`, `pending`, `queued` and their like are progress.
            None => State::Running,
        }
    }

    fn media(&mut self, item: &Item) -> Option<Result<Media, Error>> {
        let payloads = [&item.image_base64, &item.image_data_uri, &item.audio_base64, &item.audio_data_uri];
        for payload in payloads.into_iter().flatten() {
            if let Payload::Staged(place) = payload
                && let Some(staged) = self.media.get_mut(*place).and_then(Option::take)
            {
                return Some(Ok(Media::Staged(staged)));
            }
        }
        let text = item.image_url.as_deref().or(item.audio_url.as_deref())?;
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        Some(url.map(|url| Media::Link(Link::new(url))).ok_or_else(|| {
            Error::new(ErrorKind::BadResponse, "the link to the result is no http address")
        }))
    }
}

fn key_of(uuid: Option<&str>) -> Option<AttemptKey> {
    AttemptKey::parse(uuid?)
}

fn facts(item: &Item) -> Facts {
    let warnings = match item.nsfw {
        Some(true) => vec!["the content check flagged the picture as unsafe".to_owned()],
        _ => Vec::new(),
    };
    Facts {
        remote_id: item.image_uuid.clone().or_else(|| item.audio_uuid.clone()),
        // Hosted models are billed by the time they took; 0 means that it is not known yet.
        cost: item.cost.filter(|cost| *cost > 0.0).and_then(Usd::from_dollars),
        seed: item.seed,
        warnings,
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::config::RunwareConfig;
    use media_core::MediaRequest;

    const A: &str = "11111111-1111-4111-8111-111111111111";
    const B: &str = "22222222-2222-4222-8222-222222222222";

    fn key(text: &str) -> AttemptKey {
        AttemptKey::parse(text).unwrap()
    }

    fn made(request: &MediaRequest, change: impl FnOnce(&mut RunwareConfig)) -> Value {
        let mut config = RunwareConfig::default();
        change(&mut config);
        task(&check::resolve("runware", &config, request).unwrap(), key(A), &config.delivery)
    }

    #[test]
    fn a_picture_as_documented() {
        let request = MediaRequest::image("red apple on white", "x.png")
            .param("width", 512)
            .param("height", 512)
            .param("seed", 7)
            .param("quality", 90)
            .param("lora", json!([{"model": "civitai:1@2", "weight": 0.8}]));
        let expected = json!({
            "taskType": "imageInference", "taskUUID": A, "model": "runware:100@1",
            "positivePrompt": "red apple on white", "width": 512, "height": 512, "steps": 4, "seed": 7,
            "outputQuality": 90, "lora": [{"model": "civitai:1@2", "weight": 0.8}],
            "safety": {"checkContent": true}, "numberResults": 1, "outputType": "URL", "outputFormat": "PNG",
            "includeCost": true, "deliveryMethod": "async", "ttl": 604_800
        });
        assert_eq!(made(&request, |_| {}), expected);
    }

    #[test]
    fn base64_has_no_lifetime_and_sync_says_so() {
        let request = MediaRequest::image("red apple", "x.jpg").param("check_content", false);
        let task = made(&request, |config| {
            config.delivery.output = Output::Base64;
            config.delivery.mode = Mode::Sync;
        });
        assert_eq!(task["outputType"], "base64Data");
        assert_eq!(task["outputFormat"], "JPG");
        assert_eq!(task["deliveryMethod"], "sync");
        assert!(task.get("ttl").is_none());
        assert!(task.get("safety").is_none());
    }

    #[test]
    fn speech_as_documented() {
        let request = MediaRequest::audio("hola", "x.mp3")
            .param("speech", json!({"speed": 0.9}))
            .param("sample_rate", 24_000);
        let task = made(&request, |_| {});
        assert_eq!(task["taskType"], "audioInference");
        assert_eq!(task["speech"], json!({"text": "hola", "voice": "Diego", "speed": 0.9}));
        assert_eq!(task["audioSettings"], json!({"sampleRate": 24_000}));
        assert_eq!(task["outputFormat"], "MP3");
        assert!(task.get("positivePrompt").is_none());
    }

    fn envelope(value: &Value) -> Envelope {
        Envelope::read(value.to_string().as_bytes()).unwrap()
    }

    fn reader() -> Reader {
        Reader::new(Vec::new(), WhenFlagged::Warn)
    }

    #[test]
    fn the_polled_body_of_the_reference() {
        let body = json!({
            "data": [
                {"taskType": "imageInference", "taskUUID": A, "status": "processing"},
                {"taskType": "imageInference", "taskUUID": A, "status": "success", "imageUUID": "I1",
                 "imageURL": "https://im.runware.ai/x.png", "seed": 7, "cost": 0.0006}],
            "errors": [{"code": "timeoutProvider", "status": "error", "message": "...", "taskUUID": B}]
        });
        let mut states = reader().polled(envelope(&body));
        let Some(State::Done(done)) = states.take(key(A)) else { panic!("no result") };
        assert_eq!(done.facts.remote_id.as_deref(), Some("I1"));
        assert_eq!((done.facts.seed, done.facts.cost.map(Usd::micros)), (Some(7), Some(600)));
        assert!(matches!(done.media, Media::Link(link) if link.url.as_str() == "https://im.runware.ai/x.png"));
        assert!(matches!(states.take(key(B)), Some(State::Failed(_))));
    }

    #[test]
    fn order_case_and_repetition_mean_nothing() {
        let upper = A.to_uppercase();
        let result = json!({"taskUUID": upper, "imageURL": "https://h/1.png", "imageUUID": "1"});
        let other = json!({"taskUUID": A, "imageURL": "https://h/2.png", "imageUUID": "2"});
        let body = json!({"data": [result, other, {"taskUUID": A}, {"status": "success"}]});
        let mut states = reader().submitted(envelope(&body));
        let Some(State::Done(done)) = states.take(key(A)) else { panic!("no result") };
        assert_eq!(done.facts.remote_id.as_deref(), Some("1"));
    }

    #[test]
    fn one_entry_in_every_state() {
        let state = |entry: Value| {
            let mut entry = entry;
            entry["taskUUID"] = A.into();
            reader().submitted(envelope(&json!({"data": [entry]}))).take(key(A)).unwrap()
        };
        assert!(matches!(state(json!({})), State::Running));
        for status in ["processing", "pending", "Queued"] {
            assert!(matches!(state(json!({"status": status})), State::Running), "{status}");
        }
        assert!(matches!(state(json!({"status": "success"})), State::Unusable(_)));
        assert!(matches!(state(json!({"imageURL": "ftp://x/y"})), State::Unusable(_)));
        for failed in [
            json!({"status": "error", "error": {"code": "providerError"}}),
            json!({"status": "ERROR", "code": "providerError"}),
            json!({"error": [{"code": "providerError"}]}),
        ] {
            let State::Failed(error) = state(failed) else { panic!("not failed") };
            assert_eq!(error.code.as_deref(), Some("providerError"));
        }
    }

    #[test]
    fn a_cost_of_nothing_is_not_known() {
        for cost in [json!(0), json!(null), json!("x"), json!(-1)] {
            let item = json!({"taskUUID": A, "imageURL": "https://h/1.png", "cost": cost});
            let mut states = reader().submitted(envelope(&json!({"data": [item]})));
            let Some(State::Done(done)) = states.take(key(A)) else { panic!("no result") };
            assert_eq!(done.facts.cost, None);
        }
    }

    #[test]
    fn a_flagged_picture_is_delivered_or_rejected_as_configured() {
        let body = json!({"data": [{"taskUUID": A, "imageURL": "https://h/1.png", "NSFWContent": true}]});
        let Some(State::Done(done)) = reader().submitted(envelope(&body)).take(key(A)) else { panic!("no result") };
        assert_eq!(done.facts.warnings.len(), 1);
        let strict = Reader::new(Vec::new(), WhenFlagged::Reject);
        let Some(State::Flagged(error)) = strict.submitted(envelope(&body)).take(key(A)) else { panic!("delivered") };
        assert_eq!((error.kind(), error.charge()), (ErrorKind::ContentRejected, Some(Charge::Certain)));
    }

    #[test]
    fn the_archive_holds_the_answer_of_each_task() {
        let entry = |response: Value| json!({"data": [{"taskType": "getTaskDetails", "taskUUID": A, "request": [{}],
            "response": response}]});
        let state = |response: Value| reader().archived(envelope(&entry(response))).take(key(A)).unwrap();
        assert!(matches!(state(json!({"data": []})), State::Running));
        assert!(matches!(state(json!(null)), State::Running));
        assert!(matches!(state(json!({"errors": [{"code": "providerError"}]})), State::Failed(_)));
        let foreign = json!({"data": [{"taskUUID": B, "imageURL": "https://h/b.png"}]});
        assert!(matches!(state(foreign), State::Running));
        let own = json!({"data": [{"taskUUID": A, "imageURL": "https://h/a.png"}]});
        assert!(matches!(state(own), State::Done(_)));
    }

    #[test]
    fn a_complaint_about_the_poll_leaves_the_task_alone() {
        let body = json!({"data": [], "errors": [
            {"code": "rateLimitExceeded", "taskUUID": A, "taskType": "getResponse"},
            {"code": "taskNotFound", "taskUUID": B}]});
        let mut states = reader().polled(envelope(&body));
        assert!(states.take(key(A)).is_none());
        assert!(states.take(key(B)).is_none());
    }
}
