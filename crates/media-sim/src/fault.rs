//! Faults that can be armed: what goes wrong, for which requests, how often.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::lock;

/// One of the simulated APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Provider {
    /// `/openai/v1`
    Openai,
    /// `/openai-compat/v1`, a server that only resembles OpenAI
    OpenaiCompat,
    /// `/runware/v1` and its media host
    Runware,
    /// `/forvo`
    Forvo,
}

impl Provider {
    /// The name as it stands in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::OpenaiCompat => "openai-compat",
            Self::Runware => "runware",
            Self::Forvo => "forvo",
        }
    }
}

/// A kind of request, across the APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// A picture is asked for (OpenAI images, Runware imageInference).
    Image,
    /// Speech is asked for (OpenAI speech, Runware audioInference).
    Speech,
    /// The model list.
    Models,
    /// A link to media is followed (Runware, compatible servers).
    Media,
    /// Runware `getResponse`; an OpenAI batch is asked for.
    Poll,
    /// An OpenAI batch is created.
    Batch,
    /// An OpenAI file is uploaded or fetched.
    File,
    /// Runware `getTaskDetails`.
    Details,
    /// Runware `ping`, `authentication` and `accountManagement`.
    Account,
    /// Forvo `word-pronunciations` and `standard-pronunciation`.
    Lookup,
    /// A Forvo recording is fetched.
    Audio,
    /// The other Forvo lists.
    List,
    /// Anything else.
    Other,
}

/// What a body pretends to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WrongType {
    /// An HTML page labelled `text/html`.
    Html,
    /// A JSON error labelled `application/json`.
    Json,
    /// An HTML page that is labelled as the media it should have been.
    HtmlAsMedia,
    /// Another media format than the one asked for, labelled as the one asked for.
    OtherFormat,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// This status instead of the answer.
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, as it is to be sent: seconds, a date or nonsense.
        #[serde(default)]
        retry_after: Option<String>,
        /// `retry-after-ms`, as it is to be sent.
        #[serde(default)]
        retry_after_ms: Option<String>,
        /// More headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body: a JSON value, or a string that is sent as an HTML page. Left out: an error of the provider's shape.
        #[serde(default)]
        body: Option<Value>,
        /// The work was done, and charged, before the answer was lost in a gateway.
        #[serde(default)]
        billed: bool,
    },
    /// Status 200 with an error object of the provider's shape (or this body); nothing is charged.
    ErrorBody {
        /// The body instead of the default one.
        #[serde(default)]
        body: Option<Value>,
    },
    /// The answer is held back this long before anything is done.
    Delay {
        /// How long.
        ms: u64,
    },
    /// The work is done and charged, then the answer is held back this long: what a client's timeout loses.
    DelayAfterBilling {
        /// How long.
        ms: u64,
    },
    /// The connection closes before the request is looked at: not charged.
    CutBefore,
    /// The work is done and charged, then the connection closes before the first byte of the answer.
    CutAfterBilling,
    /// The connection closes in the middle of the answer.
    CutMiddle {
        /// After so many bytes of the body; left out: after half.
        #[serde(default)]
        after_bytes: Option<u64>,
    },
    /// The body comes in small pieces.
    Drip {
        /// Bytes per piece.
        bytes: usize,
        /// Pause between pieces.
        every_ms: u64,
    },
    /// The media ends early, the transfer is clean.
    Truncate {
        /// How much is kept, in percent; left out: 50.
        #[serde(default)]
        keep_percent: Option<u8>,
    },
    /// Bytes in the middle of the media are damaged.
    Corrupt,
    /// The media is something else.
    WrongType {
        /// What it is.
        what: WrongType,
    },
    /// The media is empty.
    Empty,
    /// Bytes follow the end of the media.
    TrailingGarbage {
        /// How many.
        bytes: usize,
    },
    /// The answer is followed by so many bytes (blanks after JSON, zeros after media).
    Oversized {
        /// How many.
        bytes: u64,
    },
    /// A redirect.
    Redirect {
        /// Where to.
        location: String,
        /// The status, 302 unless told.
        #[serde(default = "found")]
        status: u16,
    },
    /// Forvo's body for a spent quota, whatever the counter says.
    QuotaBody,
    /// A Runware task, or one OpenAI picture, fails with this error.
    TaskError {
        /// The provider's code, such as `timeoutProvider`.
        code: String,
        /// The message.
        #[serde(default)]
        message: String,
        /// It was charged all the same.
        #[serde(default)]
        billed: bool,
    },
    /// Success with an empty list where the results should be. A generation is charged.
    EmptyData,
    /// OpenAI stream: an `error` event instead of the result. Charged.
    StreamError,
    /// OpenAI stream: a clean end without `completed`. Charged.
    StreamUnfinished,
}

fn found() -> u16 {
    302
}

/// When in the life of a request a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before anything is done.
    Before,
    /// When one generation is accepted.
    Task,
    /// When the list of results is written.
    Results,
    /// When media bytes are made.
    Media,
    /// When the answer is on its way.
    Answer,
}

impl FaultKind {
    /// This status instead of the answer, with an error of the provider's shape; nothing is done and nothing charged.
    #[must_use]
    pub fn status(status: u16) -> FaultKind {
        FaultKind::Status {
            status,
            retry_after: None,
            retry_after_ms: None,
            headers: BTreeMap::new(),
            body: None,
            billed: false,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Status { billed: true, .. } => Stage::Answer,
            Self::Status { .. } | Self::ErrorBody { .. } | Self::Delay { .. } | Self::CutBefore => {
                Stage::Before
            }
            Self::Redirect { .. } | Self::QuotaBody => Stage::Before,
            Self::TaskError { .. } => Stage::Task,
            Self::EmptyData | Self::StreamError | Self::StreamUnfinished => Stage::Results,
            Self::Truncate { .. } | Self::Corrupt | Self::WrongType { .. } | Self::Empty => Stage::Media,
            Self::TrailingGarbage { .. } => Stage::Media,
            Self::DelayAfterBilling { .. }
            | Self::CutAfterBilling
            | Self::CutMiddle { .. }
            | Self::Drip { .. }
            | Self::Oversized { .. } => Stage::Answer,
        }
    }
}

/// A fault, armed for the next requests that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fault {
    /// Whose API.
    pub provider: Provider,
    /// Only this kind of request.
    #[serde(default)]
    pub op: Option<Op>,
    /// Only when the path holds this.
    #[serde(default)]
    pub path: Option<String>,
    /// Only when the prompt, text or word holds this.
    #[serde(default)]
    pub content: Option<String>,
    /// So many matching requests pass first.
    #[serde(default)]
    pub after: u64,
    /// How many matching requests it strikes.
    #[serde(default = "once")]
    pub times: u64,
    /// What goes wrong.
    pub fault: FaultKind,
}

fn once() -> u64 {
    1
}

impl Fault {
    /// A fault that strikes the next request to this provider.
    #[must_use]
    pub fn new(provider: Provider, fault: FaultKind) -> Self {
        Self {
            provider,
            op: None,
            path: None,
            content: None,
            after: 0,
            times: 1,
            fault,
        }
    }

    /// Only requests of this kind.
    #[must_use]
    pub fn on(mut self, op: Op) -> Self {
        self.op = Some(op);
        self
    }

    /// Only requests whose prompt, text or word holds this.
    #[must_use]
    pub fn matching(mut self, content: impl Into<String>) -> Self {
        self.content = Some(content.into());
        self
    }

    /// How many matching requests it strikes.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// So many matching requests pass first.
    #[must_use]
    pub fn after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }
}

/// A request as faults see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) provider: Provider,
    pub(crate) op: Op,
    pub(crate) path: &'a str,
    pub(crate) content: &'a str,
}

impl Fault {
    fn matches(&self, target: &Target<'_>) -> bool {
        self.provider == target.provider
            && self.op.is_none_or(|op| op == target.op)
            && self.path.as_ref().is_none_or(|part| target.path.contains(part))
            && self
                .content
                .as_ref()
                .is_none_or(|part| target.content.contains(part))
    }
}

/// The armed faults.
#[derive(Debug, Default)]
pub(crate) struct Armory(Mutex<Vec<Fault>>);

impl Armory {
    pub(crate) fn arm(&self, fault: Fault) {
        lock(&self.0).push(fault);
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    pub(crate) fn armed(&self) -> Vec<Fault> {
        lock(&self.0).clone()
    }

    /// Takes the first fault of this stage that matches, using it up once.
    pub(crate) fn take(&self, stage: Stage, target: &Target<'_>) -> Option<FaultKind> {
        let mut armed = lock(&self.0);
        let mut struck = None;
        for fault in armed.iter_mut() {
            if fault.fault.stage() != stage || fault.times == 0 || !fault.matches(target) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.times -= 1;
            struck = Some(fault.fault.clone());
            break;
        }
        armed.retain(|fault| fault.times > 0);
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(op: Op, content: &'a str) -> Target<'a> {
        Target {
            provider: Provider::Runware,
            op,
            path: "/runware/v1",
            content,
        }
    }

    #[test]
    fn a_fault_strikes_only_what_it_names_and_only_so_often() {
        let armory = Armory::default();
        armory.arm(
            Fault::new(Provider::Runware, FaultKind::Corrupt)
                .on(Op::Media)
                .matching("cat")
                .times(2)
                .after(1),
        );
        assert_eq!(armory.take(Stage::Media, &target(Op::Media, "dog")), None);
        assert_eq!(armory.take(Stage::Media, &target(Op::Image, "cat")), None);
        assert_eq!(armory.take(Stage::Before, &target(Op::Media, "cat")), None);
        let struck: Vec<bool> = (0..4)
            .map(|_| armory.take(Stage::Media, &target(Op::Media, "a cat")).is_some())
            .collect();
        assert_eq!(struck, [false, true, true, false]);
        assert!(armory.armed().is_empty());
    }

    #[test]
    fn json_is_short_and_strict() {
        let fault: Fault = serde_json::from_str(
            r#"{"provider":"openai","op":"image","times":3,"fault":{"kind":"status","status":429,"retry_after":"1"}}"#,
        )
        .unwrap();
        assert_eq!(fault.times, 3);
        assert!(
            serde_json::from_str::<Fault>(r#"{"provider":"openai","fault":{"kind":"delay","ms":1,"x":1}}"#)
                .is_err()
        );
        let text = serde_json::to_string(&fault).unwrap();
        assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), fault);
    }
}
