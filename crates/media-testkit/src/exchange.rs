//! One recorded call: what it must look like, and what is answered.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use media_core::http::Scripted;
use serde_json::Value;
use url::Url;

type Answer = dyn Fn(&Request<Bytes>) -> Scripted + Send + Sync;

/// A call that a provider is expected to make, with its answer. It may be made more than once.
#[derive(Clone)]
pub struct Exchange {
    method: Method,
    path: String,
    origin: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    pub(crate) paid: bool,
    answer: Arc<Answer>,
}

impl Exchange {
    /// A call of this method and path. The path is the whole one, as it is on the wire; `*` stands for any one segment.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Exchange {
        Exchange {
            method,
            path: path.into(),
            origin: None,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            paid: false,
            answer: Arc::new(|_| Scripted::new(200, "")),
        }
    }

    /// A GET of this path.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Exchange {
        Exchange::new(Method::GET, path)
    }

    /// A POST to this path.
    #[must_use]
    pub fn post(path: impl Into<String>) -> Exchange {
        Exchange::new(Method::POST, path)
    }

    /// At another host than the service's, such as one that media are downloaded from: `https://cdn.test`.
    #[must_use]
    pub fn on(mut self, origin: impl Into<String>) -> Exchange {
        self.origin = Some(origin.into());
        self
    }

    /// It costs money, so it has to be in the journal first.
    #[must_use]
    pub fn buys(mut self) -> Exchange {
        self.paid = true;
        self
    }

    /// Its body is JSON that holds at least this: of objects each named member, arrays in full; the text `"*"` stands
    /// for any value.
    #[must_use]
    pub fn asks(mut self, body: Value) -> Exchange {
        self.body = Some(body);
        self
    }

    /// It has this header.
    #[must_use]
    pub fn has_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Exchange {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Its address has this parameter, decoded.
    #[must_use]
    pub fn has_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Exchange {
        self.query.push((name.into(), value.into()));
        self
    }

    /// The answer: status and body.
    #[must_use]
    pub fn answers(self, status: u16, body: impl Into<Bytes>) -> Exchange {
        let body = body.into();
        self.answers_with(move |_| Scripted::new(status, body.clone()))
    }

    /// The answer: status and JSON.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is written as a literal in place"
    )]
    pub fn answers_json(self, status: u16, body: Value) -> Exchange {
        let text = body.to_string();
        self.answers_with(move |_| {
            Scripted::new(status, text.clone()).header("content-type", "application/json")
        })
    }

    /// The answer, made from the call: for services that give back an id of the request's.
    #[must_use]
    pub fn answers_with(
        mut self,
        answer: impl Fn(&Request<Bytes>) -> Scripted + Send + Sync + 'static,
    ) -> Exchange {
        self.answer = Arc::new(answer);
        self
    }

    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Scripted {
        (self.answer)(request)
    }

    pub(crate) fn fits(&self, base: &Url, request: &Request<Bytes>) -> bool {
        let Ok(url) = Url::parse(&request.uri().to_string()) else {
            return false;
        };
        let origin = match &self.origin {
            Some(origin) => Url::parse(origin).map(|origin| origin.origin()),
            None => Ok(base.origin()),
        };
        let has_query = |(name, value): &(String, String)| {
            url.query_pairs()
                .any(|(other, found)| other == name.as_str() && found == value.as_str())
        };
        let has_header = |(name, value): &(String, String)| {
            request
                .headers()
                .get_all(name)
                .iter()
                .any(|found| found.as_bytes() == value.as_bytes())
        };
        *request.method() == self.method
            && origin.is_ok_and(|origin| origin == url.origin())
            && path_fits(&self.path, url.path())
            && self.query.iter().all(has_query)
            && self.headers.iter().all(has_header)
            && self.body.as_ref().is_none_or(|body| {
                serde_json::from_slice(request.body()).is_ok_and(|found| holds(body, &found))
            })
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}{}",
            self.method,
            self.origin.as_deref().unwrap_or_default(),
            self.path
        )
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({self})")
    }
}

fn path_fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    pattern.split('/').all(|wanted| {
        segments
            .next()
            .is_some_and(|found| wanted == "*" || wanted == found)
    }) && segments.next().is_none()
}

/// Whether `found` holds everything of `wanted`.
fn holds(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::String(any), _) if any == "*" => true,
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .all(|(name, value)| found.get(name).is_some_and(|found| holds(value, found))),
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len()
                && wanted
                    .iter()
                    .zip(found)
                    .all(|(wanted, found)| holds(wanted, found))
        }
        _ => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_have_wildcards_for_one_segment() {
        assert!(path_fits("/v1/*/content", "/v1/42/content"));
        assert!(!path_fits("/v1/*", "/v1/42/content"));
        assert!(!path_fits("/v1/42/content", "/v1/42"));
    }

    #[test]
    fn bodies_hold_more_than_is_wanted() {
        let found = json!([{"prompt": "a dog", "n": 1, "id": "x"}]);
        assert!(holds(&json!([{"prompt": "a dog", "id": "*"}]), &found));
        assert!(!holds(&json!([{"prompt": "a cat"}]), &found));
        assert!(!holds(&json!([{"seed": "*"}]), &found));
        assert!(!holds(&json!([]), &found));
    }
}
