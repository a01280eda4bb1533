//! Runware's JSON as serde types: lenient, because a field of an unexpected type must not cost the tasks beside it.

use media_core::http::Payload;
use media_core::lenient;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The fields that hold media in place of a link.
pub(crate) const MEDIA_FIELDS: [&str; 4] = [
    "imageBase64Data",
    "imageDataURI",
    "audioBase64Data",
    "audioDataURI",
];

/// One answer. One body may hold results and errors of different tasks.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Envelope {
    #[serde(default, deserialize_with = "lenient::list")]
    pub(crate) data: Vec<Item>,
    #[serde(default, deserialize_with = "complaints")]
    errors: Vec<TaskError>,
    /// The older name, an object or an array.
    #[serde(default, deserialize_with = "complaints")]
    error: Vec<TaskError>,
    /// The oldest form: `{"error": true, "errorMessage": ...}`.
    #[serde(default, rename = "errorMessage", deserialize_with = "lenient::optional")]
    error_message: Option<String>,
}

impl Envelope {
    /// Reads a body, if it is an envelope at all.
    pub(crate) fn read(body: &[u8]) -> Option<Envelope> {
        let value: Value = lenient::json(body).ok()?;
        let object = value.as_object()?;
        if !["data", "errors", "error", "errorMessage"]
            .iter()
            .any(|key| object.contains_key(*key))
        {
            return None;
        }
        serde_json::from_value(value).ok()
    }

    /// All errors, whatever they are called; takes them out.
    pub(crate) fn take_errors(&mut self) -> Vec<TaskError> {
        let mut errors = std::mem::take(&mut self.errors);
        errors.append(&mut self.error);
        if let Some(message) = self.error_message.take() {
            errors.push(TaskError {
                message: Some(message),
                ..TaskError::default()
            });
        }
        errors
    }
}

/// An entry of `data`: an acknowledgement, a state, a result, or the answer to another kind of task.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Item {
    #[serde(default, rename = "taskUUID", deserialize_with = "lenient::optional")]
    pub(crate) task_uuid: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) status: Option<String>,
    /// In the schemas of 2026 a failed generation may stand in `data`.
    #[serde(default, deserialize_with = "complaints")]
    pub(crate) error: Vec<TaskError>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) code: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) message: Option<String>,
    #[serde(default, rename = "imageUUID", deserialize_with = "lenient::optional")]
    pub(crate) image_uuid: Option<String>,
    #[serde(default, rename = "audioUUID", deserialize_with = "lenient::optional")]
    pub(crate) audio_uuid: Option<String>,
    #[serde(default, rename = "imageURL", deserialize_with = "lenient::optional")]
    pub(crate) image_url: Option<String>,
    #[serde(default, rename = "audioURL", deserialize_with = "lenient::optional")]
    pub(crate) audio_url: Option<String>,
    #[serde(default, rename = "imageBase64Data", deserialize_with = "lenient::optional")]
    pub(crate) image_base64: Option<Payload>,
    #[serde(default, rename = "imageDataURI", deserialize_with = "lenient::optional")]
    pub(crate) image_data_uri: Option<Payload>,
    #[serde(default, rename = "audioBase64Data", deserialize_with = "lenient::optional")]
    pub(crate) audio_base64: Option<Payload>,
    #[serde(default, rename = "audioDataURI", deserialize_with = "lenient::optional")]
    pub(crate) audio_data_uri: Option<Payload>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) seed: Option<u64>,
    #[serde(default, rename = "NSFWContent", deserialize_with = "lenient::flag")]
    pub(crate) nsfw: Option<bool>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) cost: Option<f64>,
    /// `getTaskDetails`: the answer as it was given.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) response: Option<Box<Envelope>>,
    /// `accountManagement`.
    #[serde(default, rename = "organizationName", deserialize_with = "lenient::optional")]
    pub(crate) organization: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) balance: Option<Balance>,
    /// `ping`.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) pong: Option<bool>,
}

/// A number until mid-2026, an object since.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Balance {
    Number(f64),
    Object { amount: f64 },
}

impl Balance {
    pub(crate) fn dollars(self) -> f64 {
        let (Balance::Number(amount) | Balance::Object { amount }) = self;
        amount
    }
}

/// Why a task, or a whole request, failed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct TaskError {
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) code: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) message: Option<String>,
    /// One name or several.
    #[serde(default, deserialize_with = "lenient::list")]
    pub(crate) parameter: Vec<String>,
    #[serde(default, rename = "allowedValues", deserialize_with = "lenient::list")]
    pub(crate) allowed: Vec<Value>,
    #[serde(default, rename = "taskUUID", deserialize_with = "lenient::optional")]
    pub(crate) task_uuid: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) status: Option<String>,
    /// US dollars. Errors are free as far as anybody has seen; one that says otherwise is believed.
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) cost: Option<f64>,
}

/// Errors as objects or as plain texts, one or several. One that says nothing is none: some servers put an empty `error` beside
/// every answer.
fn complaints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TaskError>, D::Error> {
    let entries = match Value::deserialize(deserializer)? {
        Value::Array(entries) => entries,
        single => vec![single],
    };
    let read = |entry| match entry {
        Value::String(message) => Some(TaskError {
            message: Some(message),
            ..TaskError::default()
        }),
        entry => serde_json::from_value(entry).ok(),
    };
    let says_something = |error: &TaskError| {
        let is_text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
        let texts = [&error.code, &error.message, &error.status, &error.task_uuid];
        texts.into_iter().any(is_text)
            || error.cost.is_some_and(|cost| cost > 0.0)
            || !error.parameter.is_empty()
    };
    Ok(entries
        .into_iter()
        .filter_map(read)
        .filter(says_something)
        .collect())
}

/// A question about a task that was sent earlier, or about the account. Costs nothing.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "taskType", rename_all = "camelCase")]
pub(crate) enum Question {
    GetResponse {
        #[serde(rename = "taskUUID")]
        task_uuid: String,
    },
    GetTaskDetails {
        #[serde(rename = "taskUUID")]
        task_uuid: String,
    },
    AccountManagement {
        #[serde(rename = "taskUUID")]
        task_uuid: String,
        operation: &'static str,
    },
    /// The docs send `ping`, the command line program a taskUUID: both.
    Ping {
        #[serde(rename = "taskUUID")]
        task_uuid: String,
        ping: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Envelope {
        Envelope::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn errors_under_every_name_and_in_every_shape() {
        for text in [
            r#"{"data":[],"errors":[{"code":"x","parameter":["a","b"]}]}"#,
            r#"{"errors":{"code":"x","parameter":["a","b"]}}"#,
            r#"{"error":[{"code":"x","parameter":["a","b"]}]}"#,
            r#"{"data":null,"error":{"code":"x","parameter":["a","b",3]}}"#,
        ] {
            let errors = read(text).take_errors();
            assert_eq!(errors.len(), 1, "{text}");
            assert_eq!(errors[0].parameter, ["a", "b"], "{text}");
        }
        assert_eq!(
            read(r#"{"error":{"parameter":"a"}}"#).take_errors()[0].parameter,
            ["a"]
        );
        let legacy = read(r#"{"error":true,"errorId":19,"errorMessage":"no"}"#).take_errors();
        assert_eq!(legacy[0].message.as_deref(), Some("no"));
    }

    #[test]
    fn a_field_of_another_type_costs_only_itself() {
        let item =
            read(r#"{"data":[{"taskUUID":"U","seed":-1,"cost":"free","imageURL":"https://h/x.png"}]}"#);
        assert_eq!(item.data[0].seed, None);
        assert_eq!(item.data[0].cost, None);
        assert_eq!(item.data[0].image_url.as_deref(), Some("https://h/x.png"));
        let dressed = read(r#"{"data":[{"taskUUID":"U","cost":"0.0008"}]}"#);
        assert_eq!(dressed.data[0].cost, Some(0.0008));
    }

    #[test]
    fn an_empty_error_is_none_and_a_plain_text_is_one() {
        for nothing in [
            "null",
            "false",
            "\"\"",
            "[]",
            "{}",
            "[{}]",
            r#"{"code":null,"message":""}"#,
        ] {
            let text = format!(r#"{{"data":[{{"taskUUID":"U","error":{nothing}}}],"errors":{nothing}}}"#);
            let mut envelope = read(&text);
            assert!(envelope.data[0].error.is_empty(), "{nothing}");
            assert!(envelope.take_errors().is_empty(), "{nothing}");
        }
        let mut told = read(r#"{"data":[{"error":"boom"}],"errors":["bad"]}"#);
        assert_eq!(told.data[0].error[0].message.as_deref(), Some("boom"));
        assert_eq!(told.take_errors()[0].message.as_deref(), Some("bad"));
    }

    #[test]
    fn balances_old_and_new() {
        let new = r#"{"data":[{"balance":{"amount":2.5,"freeBalance":1,"currency":"USD"}}]}"#;
        for text in [r#"{"data":[{"balance":2.5}]}"#, new] {
            assert!((read(text).data[0].balance.unwrap().dollars() - 2.5).abs() < 1e-9);
        }
    }

    #[test]
    fn other_json_is_no_envelope() {
        assert!(Envelope::read(br#"{"message":"Forbidden"}"#).is_none());
        assert!(Envelope::read(b"[]").is_none());
        assert!(Envelope::read(b"<html>").is_none());
    }

    #[test]
    fn questions_as_documented() {
        let text = serde_json::to_string(&Question::GetResponse {
            task_uuid: "U".into(),
        })
        .unwrap();
        assert_eq!(text, r#"{"taskType":"getResponse","taskUUID":"U"}"#);
    }
}
