//! OpenAI's errors: `{"error":{"message","type","param","code"}}`.

use http::Method;
use serde_json::{Value, json};

use crate::answer::Answer;

/// An error of the API; boxed, because it travels in many results.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: u16,
    kind: &'static str,
    message: String,
    param: Option<String>,
    code: Option<String>,
    extra: Option<(&'static str, Value)>,
    headers: Vec<(&'static str, String)>,
}

impl ApiError {
    pub(crate) fn no_such_url(method: &Method, path: &str) -> Self {
        let message = format!("Invalid URL ({method} /v1{path})");
        Self::new(404, "invalid_request_error", message)
    }

    pub(crate) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Parts {
            status,
            kind,
            message,
            param: None,
            code: None,
            extra: None,
            headers: Vec::new(),
        }))
    }

    /// 400 `invalid_request_error`.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// 400 `invalid_request_error`, `invalid_value`.
    pub(crate) fn value(param: &str, message: impl Into<String>) -> Self {
        Self::invalid(message).param(param).code("invalid_value")
    }

    /// 400 `image_generation_user_error`, `invalid_value`: what the image service itself refuses.
    pub(crate) fn image(param: &str, message: impl Into<String>) -> Self {
        Self::new(400, "image_generation_user_error", message)
            .param(param)
            .code("invalid_value")
    }

    pub(crate) fn unknown_parameter(name: &str) -> Self {
        Self::invalid(format!("Unknown parameter: '{name}'."))
            .param(name)
            .code("unknown_parameter")
    }

    pub(crate) fn code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    pub(crate) fn param(mut self, param: &str) -> Self {
        self.0.param = Some(param.to_owned());
        self
    }

    pub(crate) fn extra(mut self, name: &'static str, value: Value) -> Self {
        self.0.extra = Some((name, value));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.0.headers.push((name, value));
        self
    }

    fn body(&self) -> Value {
        let parts = &*self.0;
        let mut error =
            json!({"message": parts.message, "type": parts.kind, "param": parts.param, "code": parts.code});
        if let (Some((name, value)), Some(object)) = (&parts.extra, error.as_object_mut()) {
            object.insert((*name).to_owned(), value.clone());
        }
        json!({"error": error})
    }

    /// As it stands in the line of a batch.
    pub(crate) fn into_line(self) -> Value {
        json!({"status": self.0.status, "body": self.body()})
    }

    pub(crate) fn into_answer(self) -> Answer {
        let mut answer = Answer::json(self.0.status, &self.body());
        let parts = *self.0;
        for (name, value) in parts.headers {
            answer = answer.header(name, value);
        }
        answer
    }
}
