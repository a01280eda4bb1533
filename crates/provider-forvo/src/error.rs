//! The judge: what an answer of Forvo says went wrong, told by its body before its status.

use http::StatusCode;
use http::header::LOCATION;
use media_core::http::{DOWNLOAD, Judge, Reply};
use media_core::{Error, ErrorKind, Result, one_line};
use serde_json::Value;
use url::Url;

/// What looking up a word is called in messages.
pub(crate) const LOOKUP: &str = "lookup";
/// As much of a statement as fits in a message.
const MOST_STATED: usize = 160;

/// Reads Forvo's answers. Every answer counts as a call, so only what may pass by itself is ever tried again.
#[derive(Debug)]
pub(crate) struct ForvoJudge {
    /// The name of the instance, for messages.
    pub(crate) name: String,
    /// When the day's calls start anew, for messages.
    pub(crate) day_starts: String,
    /// Where people read about Forvo.
    pub(crate) website: Url,
}

impl Judge for ForvoJudge {
    fn judge(&self, reply: &Reply<'_>) -> Result<()> {
        let json = reply.json();
        // The same statement was seen with 400 and with 200, and in place of sound: the text decides.
        if let Some(text) = json.as_ref().and_then(statement) {
            return Err(self.stated(reply, &text));
        }
        if reply.may_pass() {
            return Err(reply.by_status());
        }
        if reply.op == DOWNLOAD {
            return Err(self.dead_link(reply));
        }
        if reply.status.is_redirection() {
            return Err(self.redirected(reply));
        }
        match json {
            Some(_) if reply.status.is_success() => Ok(()),
            json => Err(self.no_answer(reply, json.is_some())),
        }
    }
}

impl ForvoJudge {
    fn error(&self, reply: &Reply<'_>, kind: ErrorKind, message: String) -> Error {
        Error::new(kind, message).in_op(reply.op).not_billed()
    }

    /// Errors are a JSON list of texts. No statement is worth another call.
    fn stated(&self, reply: &Reply<'_>, text: &str) -> Error {
        let name = &self.name;
        let lower = text.to_lowercase();
        let error = |kind, message| self.error(reply, kind, message).with_code(Some(text.to_owned()));
        if lower.contains("limit/day") {
            return error(
                ErrorKind::QuotaExhausted,
                format!("{name} says that the day's calls are used up"),
            )
            .hint(format!("run the same command after {}", self.day_starts));
        }
        if lower.contains("incorrect domain") {
            // What an unknown key is answered.
            return error(
                ErrorKind::Authentication,
                format!("{name} does not know the key (it says {text:?})"),
            )
            .hint("check the key in your account at Forvo, and that base_url is the host of its plan");
        }
        if lower.contains("account disabled") {
            return error(
                ErrorKind::PermissionDenied,
                format!("{name} has disabled the account of the key"),
            )
            .hint("look at your account there, or write to Forvo");
        }
        if lower.starts_with("invalid value") {
            return error(
                ErrorKind::InvalidRequest,
                format!("{name} refused the call: {text}"),
            )
            .hint("change the word or its parameters");
        }
        if reply.status == StatusCode::TOO_MANY_REQUESTS || reply.status.is_server_error() {
            return reply.by_status();
        }
        error(
            ErrorKind::ProviderFault,
            format!("{name} refused the call: {text}"),
        )
    }

    /// What a dead link is answered is not known, so whatever is no sound makes it one: it is looked up once more.
    fn dead_link(&self, reply: &Reply<'_>) -> Error {
        let shown = reply.excerpt();
        let status = reply.status.as_u16();
        let message = format!("the link gave no sound ({status}): {shown}");
        self.error(reply, ErrorKind::ProviderFault, message)
            .hint("links live two hours; run the same command again")
    }

    /// A word without recordings can be answered by sending the caller to the page `404` of the website.
    fn redirected(&self, reply: &Reply<'_>) -> Error {
        let target = reply
            .headers
            .get(LOCATION)
            .and_then(|value| self.website.join(value.to_str().ok()?).ok());
        let site = self.website.host_str().unwrap_or_default();
        let missing = target.as_ref().is_some_and(|url| {
            let host = url.host_str().unwrap_or_default();
            let is_there = host == site || host.strip_suffix(site).is_some_and(|sub| sub.ends_with('.'));
            is_there && url.path().trim_matches('/') == "404"
        });
        if missing && reply.op == LOOKUP {
            return self.error(reply, ErrorKind::NotFound, "there is no such word".to_owned());
        }
        let status = reply.status.as_u16();
        let message = format!("{} sent the call elsewhere ({status})", self.name);
        self.error(reply, ErrorKind::BadResponse, message)
            .hint("check that base_url is the host of the key's plan")
    }

    /// Neither an answer nor a statement: a page of a web server or of Cloudflare.
    fn no_answer(&self, reply: &Reply<'_>, is_json: bool) -> Error {
        let name = &self.name;
        let status = reply.status.as_u16();
        let shown = reply.excerpt();
        let error = |kind, message| self.error(reply, kind, message);
        match reply.status {
            StatusCode::URI_TOO_LONG => error(
                ErrorKind::InvalidRequest,
                format!("the word is too long for {name}"),
            )
            .hint("look up single words"),
            StatusCode::UNAUTHORIZED => reply.by_status(),
            StatusCode::FORBIDDEN => error(
                ErrorKind::PermissionDenied,
                format!("the gateway of {name} turned the call away (403): {shown}"),
            )
            .hint("wait a while; if it stays, set \"user_agent\" in the configuration, or ask Forvo"),
            _ if is_json => error(
                ErrorKind::BadResponse,
                format!("the answer is not as documented ({status}): {shown}"),
            ),
            _ => error(
                ErrorKind::ProviderFault,
                format!("a page came in place of an answer ({status}): {shown}"),
            )
            .hint("check base_url"),
        }
    }
}

/// The text of an error statement: a list of texts and nothing else.
fn statement(json: &Value) -> Option<String> {
    let texts: Option<Vec<&str>> = json.as_array()?.iter().map(Value::as_str).collect();
    let text = texts.filter(|texts| !texts.is_empty())?.join(" ");
    Some(one_line(&text, MOST_STATED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use media_core::{Charge, Retry};

    fn judge_of(op: &'static str, status: u16, location: Option<&str>, body: &str) -> Result<()> {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, location.parse().unwrap());
        }
        let judge = ForvoJudge {
            name: "forvo".to_owned(),
            day_starts: "22:00 UTC".to_owned(),
            website: "https://forvo.com".parse().unwrap(),
        };
        judge.judge(&Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            body: body.as_bytes(),
            op,
        })
    }

    fn verdict(op: &'static str, status: u16, body: &str) -> Error {
        judge_of(op, status, None, body).unwrap_err()
    }

    #[test]
    fn statements_are_told_by_their_text_whatever_the_status() {
        for status in [200, 400, 403] {
            for op in ["lookup", DOWNLOAD] {
                for (body, kind) in [
                    (r#"["Limit\/day reached."]"#, ErrorKind::QuotaExhausted),
                    (r#"["Calling from incorrect domain."]"#, ErrorKind::Authentication),
                    (r#"["Account disabled."]"#, ErrorKind::PermissionDenied),
                    (
                        r#"["Invalid value for parameter limit."]"#,
                        ErrorKind::InvalidRequest,
                    ),
                    (r#"["Something new."]"#, ErrorKind::ProviderFault),
                ] {
                    let error = verdict(op, status, body);
                    assert_eq!(error.kind(), kind, "{op} {status} {body}");
                    assert_eq!(
                        (error.retry(), error.charge()),
                        (Retry::Never, Some(Charge::None))
                    );
                }
            }
        }
        let quota = verdict("lookup", 400, r#"["Limit/day reached."]"#);
        assert_eq!(quota.next(), Some("run the same command after 22:00 UTC"));
        assert_eq!(
            verdict("lookup", 429, r#"["Too many."]"#).kind(),
            ErrorKind::RateLimited
        );
    }

    #[test]
    fn json_that_is_no_statement_is_left_to_the_reader() {
        for body in [r#"{"items":[]}"#, "false", "null", "[]", "[1]"] {
            assert!(judge_of("lookup", 200, None, body).is_ok(), "{body}");
            assert!(judge_of(DOWNLOAD, 200, None, body).is_err(), "{body}");
        }
        assert_eq!(verdict("lookup", 400, "{}").kind(), ErrorKind::BadResponse);
    }

    #[test]
    fn only_the_redirect_to_404_means_that_nothing_was_found() {
        let kind = |location| judge_of("lookup", 302, location, "").unwrap_err().kind();
        assert_eq!(kind(Some("https://forvo.com/404")), ErrorKind::NotFound);
        assert_eq!(kind(Some("https://www.forvo.com/404/")), ErrorKind::NotFound);
        assert_eq!(kind(Some("//forvo.com/404")), ErrorKind::NotFound);
        assert_eq!(kind(Some("/404")), ErrorKind::NotFound);
        assert_eq!(kind(Some("https://forvo.com/login")), ErrorKind::BadResponse);
        assert_eq!(kind(Some("https://notforvo.com/404")), ErrorKind::BadResponse);
        assert_eq!(kind(None), ErrorKind::BadResponse);
    }

    #[test]
    fn pages_are_never_not_found() {
        let page = "<!DOCTYPE html><html><title>Just a moment...</title></html>";
        for (status, kind, retry) in [
            (200, ErrorKind::ProviderFault, Retry::Never),
            (403, ErrorKind::PermissionDenied, Retry::Never),
            (404, ErrorKind::ProviderFault, Retry::Never),
            (414, ErrorKind::InvalidRequest, Retry::Never),
            (429, ErrorKind::RateLimited, Retry::Later),
            (500, ErrorKind::ProviderFault, Retry::Later),
            (503, ErrorKind::ProviderFault, Retry::Later),
        ] {
            let error = verdict("lookup", status, page);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{status}");
        }
        assert!(verdict("lookup", 403, page).to_string().contains("Just a moment"));
        for status in [200, 403, 404, 410] {
            let error = verdict(DOWNLOAD, status, page);
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::ProviderFault, Retry::Never)
            );
        }
        assert_eq!(verdict(DOWNLOAD, 502, page).retry(), Retry::Later);
    }
}
