//! What Runware's error codes mean: for the request, for another try, and for the money.
//!
//! The code decides before the HTTP status. A proxy's or gateway's answer has no code, and only its status counts.

use media_core::http::{Judge, Reply};
use media_core::{Error, ErrorKind, Result};

use crate::wire::{Envelope, TaskError};

/// Sends that buy; in their answers an error of all tasks is an error of the send.
pub(crate) const IMAGE_OP: &str = "image generation";
/// See [`IMAGE_OP`].
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
    /// Something that the request names does not exist.
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
            Class::Credit
        } else if has(&["ratelimit"]) {
            Class::Pace
        } else if has(&["contentpolicy", "sensitivecontent", "unsafecontent", "nsfw", "moderation"])
            || is(&["promptblocked", "imageblocked", "invalidprovidercontent"])
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
        } else if begins(&["invalid", "missing", "conflict", "duplicate", "unsupported", "value", "array", "max"])
            || is(&["unknownparameter", "incompatibleparameters"])
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
            Class::Permission => ErrorKind::PermissionDenied,
            Class::Timeout => ErrorKind::Timeout,
            Class::UnknownTask => ErrorKind::NotFound,
            // A model that is not there is a mistake in the request; `NotFound` would pass it on in a chain.
            Class::NotFound | Class::Request | Class::Conflict => ErrorKind::InvalidRequest,
            Class::Gone | Class::Server | Class::Provider | Class::Other => ErrorKind::ProviderFault,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Class::Conflict => "the task was sent before",
            Class::Credit => "the account has too little credit",
            Class::Pace => "too many requests",
            Class::Content => "the content was rejected",
            Class::Key => "the key was refused",
            Class::Permission => "the account may not do this",
            Class::Timeout => "it took the service too long",
            Class::UnknownTask => "the service knows no such task",
            Class::Gone => "the service no longer has the result",
            Class::NotFound => "something the request names does not exist",
            Class::Server => "the service failed",
            Class::Provider => "the generation failed",
            Class::Request => "the service refused the request",
            Class::Other => "the service reported an error",
        }
    }

    fn may_pass_later(self) -> bool {
        matches!(self, Class::Pace | Class::Timeout | Class::Server | Class::Provider)
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Class::Credit => Some("add credit at runware.ai; models of partners want a paid invoice or 5 USD of credit"),
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
        if self.status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("error")) {
            return true;
        }
        match self.class() {
            Class::Content | Class::Provider => true,
            Class::Timeout => self.code.as_deref() == Some("timeoutProvider"),
            _ => false,
        }
    }

    /// The error of one task that failed for good.
    ///
    /// Errors and rejected submits are free, so all say so, except those that do not say what became of an accepted
    /// task.
    pub(crate) fn of_task(&self, op: &'static str) -> Error {
        let class = self.class();
        let error = self.plain(class).in_op(op);
        match class {
            Class::Conflict | Class::Gone | Class::UnknownTask => error,
            _ => error.not_billed(),
        }
    }

    fn plain(&self, class: Class) -> Error {
        let said = self.said();
        let what = class.what();
        let message = if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") };
        let error = Error::new(class.kind(), message).with_code(self.code.clone());
        let error = if class.may_pass_later() { error.retryable() } else { error };
        match class.hint() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// The service's own words, short and on one line.
    fn said(&self) -> String {
        let mut text = self.message.clone().or_else(|| self.code.clone()).unwrap_or_default();
        if !self.parameter.is_empty() {
            text.push_str(&format!(" (parameter {})", self.parameter.join(", ")));
        }
        if !self.allowed.is_empty() {
            let allowed: Vec<String> = self.allowed.iter().map(ToString::to_string).collect();
            text.push_str(&format!(" (allowed: {})", allowed.join(", ")));
        }
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(300).collect()
    }

    /// The error of a request that was refused or failed as a whole.
    fn of_request(&self, reply: &Reply<'_>) -> Error {
        let class = self.class();
        let status = reply.status.as_u16();
        if class == Class::Other {
            // Nothing known by its code: the status decides, in the service's words.
            let by_status = reply.by_status();
            if !reply.status.is_success() {
                let error = Error::new(by_status.kind(), format!("{} ({status})", self.said()))
                    .with_retry(by_status.retry())
                    .with_code(self.code.clone());
                let error = match by_status.charge() {
                    Some(charge) => error.with_charge(charge),
                    None => error,
                };
                return error.in_op(reply.op).with_status(status).after(by_status.retry_after());
            }
        }
        let error = self.plain(class).in_op(reply.op).with_status(status).after(reply.retry_after());
        match class {
            // Not taken on. Every other failure of the service may have come after the tasks were accepted.
            Class::Server if status == 503 => error.not_billed(),
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
        if of_tasks && !paced { Ok(()) } else { Err(first.of_request(reply)) }
    }
}

impl RunwareJudge {
    fn without_envelope(&self, reply: &Reply<'_>) -> Result<()> {
        if reply.status.is_success() {
            let ours = matches!(reply.op, IMAGE_OP | SPEECH_OP | RESULT_OP | ACCOUNT_OP);
            if !ours {
                // In place of media; what was found there says more.
                return Ok(());
            }
            // A page of a proxy, or an answer that was cut: as good as none.
            let message = format!("the answer is not as documented: {}", reply.excerpt());
            return Err(Error::new(ErrorKind::BadResponse, message).in_op(reply.op).retryable());
        }
        let error = reply.by_status();
        // An envelope that was cut: it may tell of results beside the error that its status stands for.
        let begun = reply.body.trim_ascii_start().first() == Some(&b'{') && reply.json().is_none();
        Err(if begun { error.without_charge().retryable() } else { error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use media_core::{Charge, Retry};

    /// Every code of the reference, with its class.
    #[test]
    fn codes_of_the_reference() {
        let table: [(Class, &[&str]); 12] = [
            (Class::Credit, &[
                "insufficientCredits", "thirdPartyInsufficientCredits", "videoInferenceInsufficientCredits",
                "providerInsufficientCredits", "quotaExceeded", "paymentRequired",
            ]),
            (Class::Pace, &["rateLimitExceeded", "inferenceRateLimitExceeded", "providerRateLimitExceeded"]),
            (Class::Content, &[
                "contentPolicyViolation", "providerContentPolicyViolation", "sensitiveContentDetected",
                "unsafeContentDetected", "nsfwContentDetected", "promptBlocked", "imageBlocked", "moderationFailed",
                "invalidProviderContent",
            ]),
            (Class::Key, &["invalidApiKey", "missingApiKey", "unauthorized", "authenticationFailed", "tokenExpired"]),
            (Class::Permission, &[
                "forbidden", "permissionDenied", "insufficientPermissions", "accountSuspended", "workspaceDisabled",
            ]),
            (Class::Timeout, &["timeout", "timeoutProvider", "requestTimeout", "providerTimeout"]),
            (Class::NotFound, &["modelNotFound", "mediaNotFound"]),
            (Class::UnknownTask, &["taskNotFound"]),
            (Class::Gone, &["resultExpired", "taskCancelled", "taskFailedOrNotFound"]),
            (Class::Server, &[
                "internalServerError", "serviceUnavailable", "serverUnavailable", "standardError", "unknownError",
                "undefinedError", "defaultError", "unrecognizedResponse", "errorRetrievingAccountManagement",
            ]),
            (Class::Provider, &[
                "providerError", "providerUnavailable", "providerBadGateway", "providerInternalError",
                "inferenceError", "processingFailed", "taskFailed", "downloadFailed", "uploadFailed",
                "noAvailableServer", "modelUnavailable", "modelDisabled", "modelNotReady",
            ]),
            (Class::Request, &[
                "invalidPositivePrompt", "invalidPositivePromptLength", "invalidModel", "missingPositivePrompt",
                "missingDimensionParameters", "unsupportedDuration", "unsupportedParameter", "unsupportedTaskType",
                "unknownParameter", "valueTooLarge", "incompatibleParameters", "maxTasksExceeded",
            ]),
        ];
        for (class, codes) in table {
            for code in codes {
                assert_eq!(Class::of(code), class, "{code}");
            }
        }
        assert_eq!(Class::of("conflictTaskUUID"), Class::Conflict);
        assert_eq!(Class::of("somethingNew"), Class::Other);
    }

    fn task_error(code: &str) -> TaskError {
        TaskError { code: Some(code.into()), message: Some("Words.".into()), ..TaskError::default() }
    }

    #[test]
    fn what_an_error_of_a_task_says_about_money() {
        let charge = |code| task_error(code).of_task(RESULT_OP).charge();
        for code in ["providerError", "timeoutProvider", "insufficientCredits", "rateLimitExceeded", "newCode"] {
            assert_eq!(charge(code), Some(Charge::None), "{code}");
        }
        for code in ["resultExpired", "taskNotFound", "conflictTaskUUID"] {
            assert_eq!(charge(code), None, "{code}");
        }
        assert_eq!(task_error("timeoutProvider").of_task(RESULT_OP).retry(), Retry::Later);
        assert_eq!(task_error("invalidModel").of_task(RESULT_OP).retry(), Retry::Never);
    }

    #[test]
    fn a_complaint_about_a_poll_is_not_the_fate_of_the_task() {
        let said = |code| TaskError { status: Some("Error".into()), ..task_error(code) };
        for code in ["rateLimitExceeded", "internalServerError", "invalidApiKey", "requestTimeout"] {
            assert!(!task_error(code).is_final(), "{code}");
            assert!(said(code).is_final(), "{code}");
        }
        assert!(!said("taskNotFound").is_final());
        assert!(task_error("providerError").is_final());
        assert!(task_error("timeoutProvider").is_final());
        assert!(!task_error("invalidTaskUUID").is_final());
    }

    #[test]
    fn messages_are_for_people() {
        let error = TaskError {
            parameter: vec!["width".into(), "height".into()],
            allowed: vec![512.into(), 1024.into()],
            ..task_error("invalidDimensions")
        };
        assert_eq!(
            error.of_task(IMAGE_OP).to_string(),
            "image generation: the service refused the request: Words. (parameter width, height) (allowed: 512, 1024)"
        );
        assert_eq!(TaskError::default().of_task(RESULT_OP).to_string(), "result: the service reported an error");
    }

    fn judge(op: &'static str, status: u16, body: &str) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        let status = StatusCode::from_u16(status).unwrap();
        RunwareJudge.judge(&Reply { status, headers: &headers, body: body.as_bytes(), op })
    }

    #[test]
    fn answers_about_single_tasks_are_left_to_the_provider_whatever_the_status() {
        for status in [200, 400, 402, 500] {
            assert!(judge(IMAGE_OP, status, r#"{"data":[{"taskUUID":"a"}],"errors":[{"code":"x"}]}"#).is_ok());
            let one = r#"{"data":[],"errors":[{"code":"insufficientCredits","taskUUID":"a"}]}"#;
            assert!(judge(IMAGE_OP, status, one).is_ok());
        }
        assert!(judge(IMAGE_OP, 200, r#"{"data":[]}"#).is_ok());
    }

    #[test]
    fn all_tasks_turned_away_for_pace_is_one_refusal_that_may_go_again() {
        let body = r#"{"data":[],"errors":[{"code":"inferenceRateLimitExceeded","taskUUID":"a"},{"code":"rateLimitExceeded","taskUUID":"b"}]}"#;
        let error = judge(IMAGE_OP, 429, body).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::RateLimited, Some(Charge::None)));
        assert_eq!(error.retry(), Retry::Later);
        assert_eq!(error.retry_after().unwrap().as_secs(), 7);
        // In the answer to a poll the same words may be the fate of a task.
        assert!(judge(RESULT_OP, 200, body).is_ok());
        let mixed = body.replacen("rateLimitExceeded", "invalidModel", 1);
        assert!(judge(IMAGE_OP, 400, &mixed).is_ok());
    }

    #[test]
    fn errors_of_the_whole_request() {
        let whole = |status, code: &str| {
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"Words.","taskType":"authentication"}}]}}"#);
            let error = judge(IMAGE_OP, status, &body).unwrap_err();
            (error.kind(), error.charge(), error.retry() == Retry::Later)
        };
        let none = Some(Charge::None);
        assert_eq!(whole(401, "invalidApiKey"), (ErrorKind::Authentication, none, false));
        assert_eq!(whole(402, "insufficientCredits"), (ErrorKind::InsufficientCredit, none, false));
        assert_eq!(whole(400, "thirdPartyInsufficientCredits"), (ErrorKind::InsufficientCredit, none, false));
        assert_eq!(whole(429, "rateLimitExceeded"), (ErrorKind::RateLimited, none, true));
        assert_eq!(whole(503, "serviceUnavailable"), (ErrorKind::ProviderFault, none, true));
        assert_eq!(whole(500, "internalServerError"), (ErrorKind::ProviderFault, None, true));
        assert_eq!(whole(504, "timeoutProvider"), (ErrorKind::Timeout, None, true));
        assert_eq!(whole(200, "internalServerError"), (ErrorKind::ProviderFault, None, true));
        assert_eq!(whole(429, "brandNew"), (ErrorKind::RateLimited, none, true));
        assert_eq!(whole(500, "brandNew"), (ErrorKind::ProviderFault, None, true));
        assert_eq!(whole(200, "brandNew"), (ErrorKind::ProviderFault, None, false));
    }

    #[test]
    fn gateways_are_judged_by_status() {
        let html = judge(IMAGE_OP, 502, "<html>Bad Gateway</html>").unwrap_err();
        assert_eq!((html.kind(), html.charge(), html.retry()), (ErrorKind::ProviderFault, None, Retry::Later));
        assert_eq!(judge(IMAGE_OP, 503, "").unwrap_err().charge(), Some(Charge::None));
        assert_eq!(judge(IMAGE_OP, 403, r#"{"message":"Forbidden"}"#).unwrap_err().charge(), Some(Charge::None));
        let page = judge(IMAGE_OP, 200, "<html>").unwrap_err();
        assert_eq!((page.kind(), page.charge(), page.retry()), (ErrorKind::BadResponse, None, Retry::Later));
        assert!(judge("download", 200, "<html>").is_ok());
    }

    /// A refusal bills nothing, but a cut envelope may hold results: under a 4xx it must not pass for a refusal.
    #[test]
    fn a_cut_envelope_says_nothing_about_money() {
        let error = judge(IMAGE_OP, 400, r#"{"data":[{"taskUUID":"a","imageBase64Data":"iVBOR"#).unwrap_err();
        assert_eq!((error.charge(), error.retry()), (None, Retry::Later));
    }
}
