//! Runware's error objects.

use serde_json::{Value, json};

use super::Object;

/// An error of a task, or of a whole request.
#[derive(Debug, Clone)]
pub(crate) struct TaskError {
    /// The HTTP status when nothing else is in the body.
    pub(crate) status: u16,
    code: String,
    message: String,
    fields: Object,
}

impl TaskError {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            fields: Object::new(),
        }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// The parameter that is wrong.
    pub(crate) fn about(self, parameter: &str) -> Self {
        let link = format!(
            "https://runware.ai/docs/image-inference/api-reference#request-{}",
            parameter.to_lowercase()
        );
        self.with("parameter", json!(parameter))
            .with("documentation", json!(link))
    }

    /// Several parameters at once.
    pub(crate) fn about_all(self, parameters: &[&str]) -> Self {
        self.with("parameter", json!(parameters))
    }

    /// The type that was expected.
    pub(crate) fn expecting(self, kind: &str) -> Self {
        self.with("type", json!(kind))
    }

    pub(crate) fn allowing(self, values: &[&str]) -> Self {
        self.with("allowedValues", json!(values))
    }

    /// The task it belongs to.
    pub(crate) fn of(mut self, task: &Object) -> Self {
        for name in ["taskUUID", "taskType"] {
            if let Some(value) = task.get(name).filter(|value| value.is_string())
                && !self.fields.contains_key(name)
            {
                self.fields.insert(name.to_owned(), value.clone());
            }
        }
        self
    }

    /// As it stands in an answer to `getResponse`.
    pub(crate) fn with_status(self) -> Self {
        self.with("status", json!("error"))
    }

    pub(crate) fn show(&self) -> Value {
        let mut object = self.fields.clone();
        object.insert("code".to_owned(), json!(self.code));
        object.insert("message".to_owned(), json!(self.message));
        Value::Object(object)
    }
}

/// The HTTP status that goes with a code of a failed generation.
pub(crate) fn status_of(code: &str) -> u16 {
    match code {
        code if code.contains("RateLimit") => 429,
        code if code.contains("Timeout") || code.contains("timeout") => 504,
        code if code.contains("Credits") => 402,
        code if code.starts_with("invalid")
            || code.starts_with("missing")
            || code.starts_with("unsupported") =>
        {
            400
        }
        code if code.to_lowercase().contains("content") || code.contains("Policy") => 400,
        "serviceUnavailable" | "noAvailableServer" | "modelUnavailable" | "providerUnavailable" => 503,
        _ => 500,
    }
}
