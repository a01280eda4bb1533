//! What Runware's error codes mean: for the request, for another try, and for the money.
//!
//! The code decides before the HTTP status, unless nothing is known of it. A proxy's or gateway's answer has no code, and only
//! its status counts.

use media_core::http::{Judge, Reply};
use media_core::{Error, ErrorKind, Result, Usd, one_line};

use crate::wire::{Envelope, TaskError};

/// Buying pictures. In answers to sends that buy, an error of all tasks is an error of the send.
pub(crate) const IMAGE_OP: &str = "image generation";
/// Buying speech.
pub(crate) const SPEECH_OP: &str = "speech generation";
/// Questions about results.
pub(crate) const RESULT_OP: &str = "result";
/// Questions about the account.
pub(crate) const ACCOUNT_OP: &str = "connection test";

/// What a code is about. The catalogue has hundreds of codes and changes, so most are known by a part of their name;
/// the order of the tests is that of Runware's own clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// This taskUUID was used before: the proof that an earlier submit arrived.
    Conflict,
    /// Models of partners want more of the account than its own do.
    Partner,
    Credit,
    Pace,
    Content,
    Key,
    Permission,
    Timeout,
    /// The service knows no such task.
    UnknownTask,
    /// The task was accepted, but what became of it cannot be had any more.
    Gone,
    /// The model does not exist.
    Model,
    /// Something else that the request names does not exist.
    NotFound,
    Server,
    Provider,
    Request,
    Other,
}

impl Class {
    pub(crate) fn of(code: &str) -> Class {
        let lower = code.to_ascii_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
        let begins = |parts: &[&str]| parts.iter().any(|part| lower.starts_with(part));
        let ends = |parts: &[&str]| parts.iter().any(|part| lower.ends_with(part));
        let is = |codes: &[&str]| codes.contains(&lower.as_str());
        if is(&["conflicttaskuuid"]) {
            Class::Conflict
        } else if has(&["credits", "quota", "balance", "paymentrequired"]) {
            if begins(&["thirdparty", "provider"]) {
                Class::Partner
            } else {
                Class::Credit
            }
        } else if has(&["ratelimit"]) {
            Class::Pace
        } else if has(&[
            "contentpolicy",
            "sensitivecontent",
            "unsafecontent",
            "nsfw",
            "moderation",
        ]) || is(&["promptblocked", "imageblocked", "invalidprovidercontent"])
        {
            Class::Content
        } else if has(&["apikey"]) || begins(&["token"]) || is(&["unauthorized", "authenticationfailed"]) {
            Class::Key
        } else if is(&["forbidden", "permissiondenied", "insufficientpermissions"])
            || (begins(&["account", "organization", "workspace"]) && has(&["suspended", "disabled"]))
        {
            Class::Permission
        } else if has(&["timeout"]) {
            // Lower-case on purpose: the documented `timeoutProvider` escapes the pattern of Runware's own clients.
            Class::Timeout
        } else if is(&["tasknotfound"]) {
            Class::UnknownTask
        } else if ends(&["expired"]) || is(&["taskcancelled", "taskfailedornotfound"]) {
            Class::Gone
        } else if is(&["modelnotfound"]) {
            Class::Model
        } else if ends(&["notfound"]) {
            Class::NotFound
        } else if is(&[
            "internalservererror",
            "serviceunavailable",
            "serverunavailable",
            "standarderror",
            "unknownerror",
            "undefinederror",
            "defaulterror",
            "unrecognizedresponse",
            "errorretrievingaccountmanagement",
        ]) {
            Class::Server
        } else if begins(&["provider"])
            || is(&[
                "inferenceerror",
                "processingfailed",
                "taskfailed",
                "downloadfailed",
                "uploadfailed",
                "noavailableserver",
                "modelunavailable",
                "modeldisabled",
                "modelnotready",
            ])
        {
            Class::Provider
        } else if begins(&[
            "invalid",
            "missing",
            "conflict",
            "duplicate",
            "unsupported",
            "value",
            "array",
            "max",
        ]) || is(&["unknownparameter", "incompatibleparameters"])
        {
            Class::Request
        } else {
            Class::Other
        }
    }

    fn kind(self) -> ErrorKind {
        match self {
            Class::Credit => ErrorKind::InsufficientCredit,
            Class::Pace => ErrorKind::RateLimited,
            Class::Content => ErrorKind::ContentRejected,
            Class::Key => ErrorKind::Authentication,
            // The account's own models work on.
            Class::Partner | Class::Permission => ErrorKind::PermissionDenied,
            Class::Timeout => ErrorKind::Timeout,
            Class::UnknownTask => ErrorKind::NotFound,
            // What is not there is a mistake in the configuration or the request; `NotFound` would pass it on in a chain.
            Class::Model => ErrorKind::Config,
            Class::NotFound | Class::Request | Class::Conflict => ErrorKind::InvalidRequest,
            Class::Gone | Class::Server | Class::Provider | Class::Other => ErrorKind::ProviderFault,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Class::Conflict => "the task was sent before",
            Class::Credit => "the account has too little credit",
            Class::Partner => "the account may not use models of partners",
            Class::Pace => "too many requests",
            Class::Content => "the content was rejected",
            Class::Key => "the key was refused",
            Class::Permission => "the account may not do this",
            Class::Timeout => "it took the service too long",
            Class::UnknownTask => "the service knows no such task",
            Class::Gone => "the service no longer has the result",
            Class::Model => "the service does not know this model",
            Class::NotFound => "something the request names does not exist",
            Class::Server => "the service failed",
            Class::Provider => "the generation failed",
            Class::Request => "the service refused the request",
            Class::Other => "the service reported an error",
        }
    }

    /// Whether a status says more than the code: nothing is known of the code, or only by the way its name begins.
    fn yields_to(self, reply: &Reply<'_>) -> bool {
        self == Class::Other || (self == Class::Request && reply.may_pass())
    }

    fn may_pass_later(self) -> bool {
        matches!(
            self,
            Class::Pace | Class::Timeout | Class::Server | Class::Provider
        )
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Class::Credit => Some("add credit to the Runware account"),
            Class::Partner => Some(
                "add credit to the Runware account: models of partners want a paid invoice or some credit left",
            ),
            Class::Model => Some("write its id as Runware's model search shows it"),
            Class::Key => Some("check the key in your Runware account"),
            Class::Permission => Some("check what the key may do in your Runware account"),
            _ => None,
        }
    }
}

impl TaskError {
    pub(crate) fn class(&self) -> Class {
        self.code.as_deref().map_or(Class::Other, Class::of)
    }

    /// Whether an error in the answer to `getResponse` is the fate of the task, not a complaint about the question.
    ///
    /// A failed generation carries `status: "error"`. Without it the code must speak of the generation: taking "too
    /// many requests" for a poll as the failure of the task would buy it a second time.
    pub(crate) fn is_final(&self) -> bool {
        if self.class() == Class::UnknownTask {
            // Said of tasks that are still on their way too, just as an empty answer is.
            return false;
        }
        if self.says_error() {
            return true;
        }
        match self.class() {
            Class::Content | Class::Provider => true,
            Class::Timeout => self.code.as_deref() == Some("timeoutProvider"),
            _ => false,
        }
    }

    /// Whether it is about a generation in terms that are known: it has a code, or says itself that it is the end.
    pub(crate) fn is_of_generation(&self) -> bool {
        self.code.as_deref().is_some_and(|code| !code.trim().is_empty()) || self.says_error()
    }

    /// Whether it says itself that the task has come to its end.
    pub(crate) fn says_error(&self) -> bool {
        self.status
            .as_deref()
            .is_some_and(|status| status.eq_ignore_ascii_case("error"))
    }

    /// Whether an error in the archive is the fate of the task. The archive holds the answer that was once given, and the
    /// answer that somebody stopped waiting, or that a second send was turned away, says nothing about the task. Of all other
    /// errors Runware says that they are free.
    pub(crate) fn is_final_in_archive(&self) -> bool {
        let of_provider = self
            .code
            .as_deref()
            .is_some_and(|code| code.starts_with("provider"));
        let may_go_on = match self.class() {
            Class::Timeout | Class::Conflict | Class::UnknownTask => true,
            // Mere words: who knows what they are about.
            Class::Other => self.code.is_none(),
            // That of the one who makes it is its end.
            Class::Pace => !of_provider,
            _ => false,
        };
        self.is_final() || !may_go_on
    }

    /// The error of one task that failed for good.
    ///
    /// Errors and rejected submits are free, so all say so, except those that do not say what became of an accepted
    /// task.
    pub(crate) fn of_task(&self, op: &'static str) -> Error {
        let class = self.class();
        let error = self.plain(class).in_op(op);
        match class {
            _ if self.cost.is_some_and(|cost| cost > 0.0) => {
                error.billed(self.cost.and_then(Usd::from_dollars))
            }
            Class::Conflict | Class::Gone | Class::UnknownTask => error,
            // Somebody stopped waiting for an accepted task, which goes on and is billed. That of the one who makes it is its end.
            Class::Timeout if self.code.as_deref() != Some("timeoutProvider") => error,
            _ => error.not_billed(),
        }
    }

    fn plain(&self, class: Class) -> Error {
        let said = self.said();
        let what = class.what();
        let message = if said.is_empty() {
            what.to_owned()
        } else {
            format!("{what}: {said}")
        };
        let error = Error::new(class.kind(), message).with_code(self.code.clone());
        let error = if class.may_pass_later() {
            error.retryable()
        } else {
            error
        };
        match class.hint() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// The service's own words, short and on one line.
    pub(crate) fn said(&self) -> String {
        let mut text = self
            .message
            .clone()
            .or_else(|| self.code.clone())
            .unwrap_or_default();
        if !self.parameter.is_empty() {
            text.push_str(&format!(" (parameter {})", self.parameter.join(", ")));
        }
        if !self.allowed.is_empty() {
            let allowed: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            text.push_str(&format!(" (allowed: {})", allowed.join(", ")));
        }
        one_line(&text, 300)
    }

    /// The error of a request that was refused or failed as a whole.
    fn of_request(&self, reply: &Reply<'_>) -> Error {
        let class = self.class();
        if class.yields_to(reply) && !reply.status.is_success() {
            // Nothing known by its code: the status decides, in the service's words.
            let by_status = reply.by_status_saying(&self.said());
            return by_status.with_code(self.code.clone());
        }
        let error = self.plain(class).in_op(reply.op).after(reply.retry_after());
        match class {
            // Not taken on. Every other failure of the service may have come after the tasks were accepted.
            Class::Server if reply.status == 503 => error.not_billed(),
            Class::Server | Class::Provider | Class::Timeout => error,
            Class::Conflict | Class::Gone | Class::UnknownTask | Class::Other => error,
            _ => error.not_billed(),
        }
    }
}

/// Reads answers as a whole. What belongs to single tasks is left to whoever knows the tasks.
#[derive(Debug)]
pub(crate) struct RunwareJudge;

impl Judge for RunwareJudge {
    fn judge(&self, reply: &Reply<'_>) -> Result<()> {
        let Some(mut envelope) = Envelope::read(reply.body) else {
            return self.without_envelope(reply);
        };
        let errors = envelope.take_errors();
        let Some(first) = errors.first() else {
            let nothing = envelope.data.is_empty() && !reply.status.is_success();
            return if nothing { Err(reply.by_status()) } else { Ok(()) };
        };
        if !envelope.data.is_empty() {
            return Ok(());
        }
        let of_tasks = errors.iter().any(|error| error.task_uuid.is_some());
        // Every task was turned away for pace, which makes no task: the same send, with the same keys, may go again.
        let buys = matches!(reply.op, IMAGE_OP | SPEECH_OP);
        let paced = buys && errors.iter().all(|error| error.class() == Class::Pace);
        let is_unknown = errors.iter().all(|error| error.class().yields_to(reply));
        let failed = buys && is_unknown && reply.may_pass();
        // A question that the service failed to answer says nothing of the tasks, unless it says so in so many words.
        let unasked = reply.op == RESULT_OP
            && reply.status.is_server_error()
            && !errors.iter().any(TaskError::says_error);
        // It is about the account, whatever tasks it names.
        let denied = is_unknown && matches!(reply.status.as_u16(), 401..=403);
        if of_tasks && !paced && !failed && !unasked && !denied {
            Ok(())
        } else {
            Err(first.of_request(reply))
        }
    }
}

impl RunwareJudge {
    fn without_envelope(&self, reply: &Reply<'_>) -> Result<()> {
        if reply.status.is_success() {
            // A page of a proxy, or an answer that was cut: as good as none.
            let message = format!("the answer is not as documented: {}", reply.excerpt());
            return Err(Error::new(ErrorKind::BadResponse, message)
                .in_op(reply.op)
                .retryable());
        }
        let error = reply.by_status();
        // An envelope that was cut: it may tell of results beside the error that its status stands for.
        let begun = reply.body.trim_ascii_start().first() == Some(&b'{') && reply.json().is_none();
        Err(if begun {
            error.without_charge().retryable()
        } else {
            error
        })
    }
}

#[cfg(test)]
mod tests;
