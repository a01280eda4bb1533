//! What the API's errors mean, for the request and for the money.
//!
//! Decided by `error.code`, then `error.type`, then the message, then the status: a 429 alone is three things (too
//! fast; never possible; no money). Source: the error table of the API reference as of 2026-11-23.

use media_core::http::{Judge, Reply};
use media_core::limit::parse_duration;
use media_core::{Charge, Error, ErrorKind, Result, Retry, one_line};
use serde_json::Value;

use crate::batch::{ASK_OP, FETCH_OP};

/// Reads answers of OpenAI and of compatible servers.
#[derive(Debug)]
pub(crate) struct OpenAiJudge;

impl Judge for OpenAiJudge {
    fn judge(&self, reply: &Reply<'_>) -> Result<()> {
        let body = reply.json();
        // What came beside an error was made, whatever the error says of money.
        let has_result = body.as_ref().is_some_and(holds_result);
        let complaint = body.as_ref().and_then(Complaint::read);
        match complaint {
            // Compatible gateways answer 200 with an error inside.
            Some(complaint) if !reply.status.is_success() => {
                let error = complaint.judge(reply);
                Err(if has_result { error.without_charge() } else { error })
            }
            Some(complaint) if complaint.explicit => {
                let error = complaint.judge(reply);
                // In a stream the work has begun, and so it has where a server fails inside a success: what was drawn by
                // then may be billed. What is refused before drawing says so, or comes as JSON.
                let is_refusal = !has_result
                    && (complaint.stage.as_deref() == Some("input")
                        || !(reply.is_event() || error.kind() == ErrorKind::ProviderFault));
                Err(if is_refusal { error } else { error.without_charge() })
            }
            _ if reply.status.is_success() => Ok(()),
            _ => Err(reply.by_status()),
        }
    }
}

/// An error body, whatever its shape.
#[derive(Debug, Default)]
struct Complaint {
    message: String,
    code: String,
    kind: String,
    stage: Option<String>,
    /// It stands under `error`, not merely beside something else.
    explicit: bool,
}

/// An `error` that some servers put beside every answer: null, empty, or an object of nothing else.
pub(crate) fn says_nothing(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(map) => map.values().all(says_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// Whether an answer holds what was made, under any of the names that servers use.
fn holds_result(body: &Value) -> bool {
    let is_there = |value: &Value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => false,
    };
    let names = ["data", "images", "b64_json", "audio"];
    names.into_iter().filter_map(|name| body.get(name)).any(is_there)
}

impl Complaint {
    /// `{"error": {...}}`, `{"error": "text"}`, `{"detail": ...}`, `{"message": ...}`.
    fn read(body: &Value) -> Option<Complaint> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        match body.get("error").filter(|error| !says_nothing(error)) {
            Some(Value::Object(error)) => {
                let field = |name: &str| error.get(name).map(text).unwrap_or_default();
                let details = error
                    .get("moderation_details")
                    .or_else(|| body.get("moderation_details"));
                let stage = details.and_then(|details| details.get("moderation_stage"));
                Some(Complaint {
                    message: field("message"),
                    code: field("code"),
                    kind: field("type"),
                    stage: stage.and_then(Value::as_str).map(str::to_owned),
                    explicit: true,
                })
            }
            Some(other) => {
                // sd-server: {"error": "server_error", "message": "..."}.
                let message = body.get("message").map_or_else(|| text(other), text);
                Some(Complaint {
                    message,
                    explicit: true,
                    ..Complaint::default()
                })
            }
            None => {
                let message = body.get("detail").or_else(|| body.get("message"))?;
                let field = |name: &str| body.get(name).map(text).unwrap_or_default();
                Some(Complaint {
                    message: text(message),
                    code: field("code"),
                    // An event of a stream says by its type what it is.
                    explicit: body.get("type").and_then(Value::as_str) == Some("error"),
                    ..Complaint::default()
                })
            }
        }
    }

    fn judge(&self, reply: &Reply<'_>) -> Error {
        let error = self.classify(reply);
        let said = Some(&self.code).filter(|code| !code.is_empty()).cloned();
        let code = error.code().map(str::to_owned).or(said);
        error.in_op(reply.op).with_code(code)
    }

    /// An error with what the service said.
    fn error(&self, kind: ErrorKind, what: &str) -> Error {
        match shorten(&self.message).as_str() {
            "" => Error::new(kind, what),
            said => Error::new(kind, format!("{what}: {said}")),
        }
    }

    fn classify(&self, reply: &Reply<'_>) -> Error {
        if let Some(known) = self.by_code(reply) {
            return known;
        }
        let message = self.message.to_ascii_lowercase();
        match reply.status.as_u16() {
            401 | 403 if message.contains("scope") => missing_scope(),
            // The message may repeat part of the key.
            401 if message.contains("key") => wrong_key(),
            401 => self
                .error(ErrorKind::Authentication, "the service refused the key's owner")
                .not_billed()
                .hint("check the key, its organisation, and which addresses may use it"),
            402 => self.no_money(),
            403 if message.contains("must be verified") => self
                .error(ErrorKind::PermissionDenied, "the organisation is not verified")
                .not_billed()
                .hint("verify it in the organisation's settings; it takes effect within 15 minutes"),
            403 => self
                .error(ErrorKind::PermissionDenied, "access was denied")
                .not_billed(),
            404 if self.explicit && [ASK_OP, FETCH_OP].contains(&reply.op) => self
                .error(ErrorKind::NotFound, "the service has no such thing")
                .not_billed(),
            404 => self
                .error(
                    ErrorKind::Config,
                    "the service does not know this model or address",
                )
                .not_billed(),
            400 if message.contains("model") && message.contains("does not exist") => self.no_such_model(),
            429 => self.too_fast(reply),
            200..=299 => self.error(ErrorKind::BadResponse, "the service answered with an error"),
            _ => reply.by_status_saying(&shorten(&self.message)),
        }
    }

    fn by_code(&self, reply: &Reply<'_>) -> Option<Error> {
        Some(match self.code.as_str() {
            "moderation_blocked" | "content_policy_violation" | "contentFilter" | "content_filter" => {
                let refused = self
                    .error(ErrorKind::ContentRejected, "moderation refused it")
                    .hint("change the prompt");
                // Refused before drawing is free; what was drawn and then withheld may be billed. Azure has one code for both,
                // and says it in words.
                let is_drawn = self.message.to_ascii_lowercase().contains("generated image");
                match self.stage.as_deref() {
                    Some("input") => refused.not_billed(),
                    None if !is_drawn => refused.not_billed(),
                    _ => refused.with_charge(Charge::Unknown),
                }
            }
            "billing_hard_limit_reached"
            | "credit_balance_exhausted"
            | "organization_spend_limit_exceeded"
            | "project_spend_limit_exceeded"
            | "organization_usage_limit_exceeded"
            | "insufficient_quota" => self.no_money(),
            _ if self.kind == "insufficient_quota" => self.no_money(),
            "invalid_api_key" => wrong_key(),
            MISSING_SCOPE => missing_scope(),
            "model_not_found" if reply.status == 403 => self
                .error(ErrorKind::PermissionDenied, "the project may not use this model")
                .not_billed()
                .hint("allow the model in the project's limits; it takes about half a minute"),
            "model_not_found" | "DeploymentNotFound" => self.no_such_model(),
            "rate_limit_exceeded" | "slow_down" => self.too_fast(reply),
            // A gateway also says 503 after it lost a service that had taken the request on; only the service's own
            // words prove that it had not.
            "server_is_overloaded" => self.overloaded(reply),
            _ if self.kind == "service_unavailable_error" => self.overloaded(reply),
            // There is no picture. Nobody says that there is no bill (ADR 6).
            "image_generation_failed" => self
                .error(ErrorKind::ProviderFault, "the picture could not be made")
                .retryable(),
            _ => return None,
        })
    }

    /// A 429 that is neither money nor, perhaps, a matter of pace.
    fn too_fast(&self, reply: &Reply<'_>) -> Error {
        if let (Some(limit), Some(asked)) = (
            number_after(&self.message, "Limit "),
            number_after(&self.message, "Requested "),
        ) && asked > limit
        {
            return if limit == 0 {
                self.error(
                    ErrorKind::PermissionDenied,
                    "the account has no allowance for this model",
                )
                .not_billed()
                .hint("image models need a paid account: see its limits page")
            } else {
                // Not what is wrong with the request: with another limit it is taken.
                self.error(
                    ErrorKind::RateLimited,
                    "one request is more than the account's limit allows",
                )
                .not_billed()
                .with_retry(Retry::Never)
                .hint("ask the service to allow the account more, or make the request smaller")
            };
        }
        let told = self.message.split_once("try again in ").and_then(|(_, rest)| {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
                .unwrap_or(rest.len());
            parse_duration(rest.get(..end)?.trim_end_matches('.'))
        });
        let wait = reply.retry_after().into_iter().chain(told).max();
        self.error(ErrorKind::RateLimited, "too many requests")
            .after(wait)
            .retryable()
            .not_billed()
    }

    fn overloaded(&self, reply: &Reply<'_>) -> Error {
        self.error(ErrorKind::ProviderFault, "the service is overloaded")
            .after(reply.retry_after())
            .retryable()
            .not_billed()
    }

    fn no_money(&self) -> Error {
        self.error(ErrorKind::InsufficientCredit, "the account has no credit left")
            .not_billed()
            .hint("add credit or raise the limit in the account's billing settings")
    }

    fn no_such_model(&self) -> Error {
        self.error(ErrorKind::Config, "the model is not there").not_billed().hint(
        "name another model in the provider's configuration: `media check` lists what is about to be shut down",
    )
    }
}

fn wrong_key() -> Error {
    Error::new(ErrorKind::Authentication, "the key was refused")
        .not_billed()
        .hint("check the key, and that it is one of this server (base_url)")
}

/// The code of an error that says so, whether the service gave one or said it in words.
const MISSING_SCOPE: &str = "insufficient_scope";

fn missing_scope() -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        "the key lacks the permission for this",
    )
    .not_billed()
    .with_code(Some(MISSING_SCOPE.to_owned()))
    .hint("give the key the scopes for images, audio and models")
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    let (_, rest) = text.split_once(label)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// One line of what the service said, without its full stop.
pub(crate) fn shorten(message: &str) -> String {
    one_line(message, 300).trim_end_matches('.').to_owned()
}

/// Whether a failure of listing models still proves that the key is good: a bare 403 may be that of a proxy, or of a
/// country that is not served.
pub(crate) fn proves_the_key(error: &Error) -> bool {
    error.code() == Some(MISSING_SCOPE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use media_core::Retry;
    use media_core::http::Reply;
    use std::time::Duration;

    fn judge(status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<()> {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = http::StatusCode::from_u16(status).unwrap();
        OpenAiJudge.judge(&Reply {
            status,
            headers: &map,
            body: body.as_bytes(),
            op: "image generation",
        })
    }

    fn error(status: u16, body: &str) -> Error {
        judge(status, &[], body).unwrap_err()
    }

    fn api(kind: &str, code: &str, message: &str) -> String {
        serde_json::json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            .to_string()
    }

    /// Nothing beside a picture may cost the picture.
    #[test]
    fn an_error_that_says_nothing_is_none() {
        for empty in [
            "null",
            "\"\"",
            "{}",
            "[]",
            "false",
            r#"{"message":"","code":null,"type":""}"#,
        ] {
            let body = format!(r#"{{"created":1,"data":[{{"b64_json":"x"}}],"error":{empty}}}"#);
            assert!(judge(200, &[], &body).is_ok(), "{empty}");
        }
        for said in [
            "\"no\"",
            r#"{"message":"no"}"#,
            "true",
            "500",
            r#"[{"code":"x"}]"#,
        ] {
            let body = format!(r#"{{"data":[{{"b64_json":"x"}}],"error":{said}}}"#);
            assert!(judge(200, &[], &body).is_err(), "{said}");
        }
    }

    /// Every row of the reference's error table: status, type, code, message; kind, retry, charge.
    #[test]
    fn the_documented_errors() {
        use ErrorKind::*;
        let none = Some(Charge::None);
        type Row = (
            u16,
            &'static str,
            &'static str,
            &'static str,
            ErrorKind,
            Retry,
            Option<Charge>,
        );
        #[rustfmt::skip]
        let rows: &[Row] = &[
            (400, "invalid_request_error", "unknown_parameter", "Unknown parameter: 'X'.", InvalidRequest, Retry::Never, none),
            (400, "invalid_request_error", "string_above_max_length", "too long", InvalidRequest, Retry::Never, none),
            (400, "image_generation_user_error", "invalid_value", "Invalid size '1x1'.", InvalidRequest, Retry::Never, none),
            (400, "image_generation_user_error", "invalid_value", "The model 'dall-e-3' does not exist.", Config, Retry::Never, none),
            (400, "image_generation_user_error", "moderation_blocked", "rejected", ContentRejected, Retry::Never, none),
            (400, "invalid_request_error", "content_policy_violation", "rejected", ContentRejected, Retry::Never, none),
            (400, "invalid_request_error", "contentFilter", "Your task failed as a result of our safety system.", ContentRejected, Retry::Never, none),
            (400, "", "contentFilter", "Generated image was filtered as a result of our safety system.", ContentRejected, Retry::Never, Some(Charge::Unknown)),
            (400, "insufficient_quota", "billing_hard_limit_reached", "hard limit", InsufficientCredit, Retry::Never, none),
            (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-ab*yz", Authentication, Retry::Never, none),
            (401, "invalid_request_error", "", "Missing scopes: api.model.images.request", PermissionDenied, Retry::Never, none),
            (403, "invalid_request_error", "", "Missing scopes: api.model.images.request", PermissionDenied, Retry::Never, none),
            (401, "invalid_request_error", "ip_not_authorized", "Your IP is not on the allowlist", Authentication, Retry::Never, none),
            (402, "", "", "Payment required", InsufficientCredit, Retry::Never, none),
            (403, "invalid_request_error", "", "Your organization must be verified to use the model", PermissionDenied, Retry::Never, none),
            (403, "invalid_request_error", "model_not_found", "Project does not have access", PermissionDenied, Retry::Never, none),
            (404, "invalid_request_error", "model_not_found", "no", Config, Retry::Never, none),
            (429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached: Limit 5, Used 5, Requested 1. Please try again in 12s.", RateLimited, Retry::Later, none),
            (429, "", "rate_limit_exceeded", "Request too large: Limit 5, Requested 10", RateLimited, Retry::Never, none),
            (429, "", "rate_limit_exceeded", "Limit 0, Requested 1", PermissionDenied, Retry::Never, none),
            (429, "rate_limit_error", "slow_down", "slow down", RateLimited, Retry::Later, none),
            (429, "insufficient_quota", "", "You exceeded your current quota", InsufficientCredit, Retry::Never, none),
            (429, "insufficient_quota", "credit_balance_exhausted", "no", InsufficientCredit, Retry::Never, none),
            (500, "image_generation_server_error", "image_generation_failed", "failed", ProviderFault, Retry::Later, None),
            (500, "server_error", "", "The server had an error", ProviderFault, Retry::Later, None),
            (503, "service_unavailable_error", "server_is_overloaded", "overloaded", ProviderFault, Retry::Later, none),
            (503, "service_unavailable_error", "", "overloaded", ProviderFault, Retry::Later, none),
            // Whoever wrote this, it need not be the service itself.
            (503, "", "", "Service Unavailable", ProviderFault, Retry::Later, None),
        ];
        for (status, kind, code, message, expected, retry, charge) in rows {
            let error = error(*status, &api(kind, code, message));
            let found = (error.kind(), error.retry(), error.charge());
            assert_eq!(
                found,
                (*expected, *retry, *charge),
                "{status} {kind} {code} {message}"
            );
            assert!(!error.to_string().contains("sk-ab"), "{error}");
        }
    }

    #[test]
    fn hints_about_time_are_read_from_headers_and_text() {
        let body = api(
            "",
            "rate_limit_exceeded",
            "Limit 5, Used 5, Requested 1. Please try again in 12s.",
        );
        assert_eq!(error(429, &body).retry_after(), Some(Duration::from_secs(12)));
        let longer = judge(429, &[("retry-after", "20")], &body).unwrap_err();
        assert_eq!(longer.retry_after(), Some(Duration::from_secs(20)));
        let body = api("", "rate_limit_exceeded", "Please try again in 467ms.");
        assert_eq!(error(429, &body).retry_after(), Some(Duration::from_millis(467)));
    }

    #[test]
    fn what_was_drawn_and_withheld_may_have_cost() {
        let body = |stage: &str| {
            serde_json::json!({"error": {"code": "moderation_blocked", "message": "no",
                "moderation_details": {"moderation_stage": stage, "categories": []}}})
            .to_string()
        };
        assert_eq!(error(400, &body("input")).charge(), Some(Charge::None));
        assert_eq!(error(400, &body("output")).charge(), Some(Charge::Unknown));
    }

    #[test]
    fn the_shapes_of_compatible_servers() {
        assert!(
            error(500, r#"{"error":{"code":500,"message":"boom","type":""}}"#)
                .to_string()
                .contains("boom")
        );
        assert!(
            error(400, r#"{"error":"server_error","message":"bad size"}"#)
                .to_string()
                .contains("bad size")
        );
        assert!(
            error(422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#)
                .to_string()
                .contains("field required")
        );
        assert!(
            error(400, r#"{"error":"just text"}"#)
                .to_string()
                .contains("just text")
        );
        assert_eq!(error(500, "").kind(), ErrorKind::ProviderFault);
        assert_eq!(error(502, "<html>Bad gateway</html>").charge(), None);
        assert!(judge(200, &[], r#"{"error":{"message":"inside a success"}}"#).is_err());
        assert!(judge(200, &[], r#"{"created":1,"data":[],"error":null}"#).is_ok());
        assert!(judge(200, &[], r#"{"created":1,"message":"welcome","data":[]}"#).is_ok());
    }
}
