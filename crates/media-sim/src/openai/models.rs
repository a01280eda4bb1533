//! The list of models, and which of them still exist.

use std::time::Duration;

use serde_json::{Value, json};

use super::Call;
use super::auth::Key;
use super::error::ApiError;
use crate::answer::Answer;
use crate::scenario::OpenAiModel;
use crate::state::Shared;

/// Whether a model is gone on the simulated day.
fn retired(shared: &Shared, model: &OpenAiModel) -> bool {
    let Some(shutdown) = &model.shutdown_date else {
        return false;
    };
    match &shared.scenario.openai.as_of {
        Some(day) => shutdown <= day,
        None => {
            let now = jiff::Timestamp::from_millisecond(shared.clock.now_ms() as i64).unwrap_or_default();
            *shutdown <= now.strftime("%Y-%m-%d").to_string()
        }
    }
}

/// A model that exists today.
pub(crate) fn find<'a>(shared: &'a Shared, id: &str) -> Option<&'a OpenAiModel> {
    shared
        .scenario
        .openai
        .models
        .iter()
        .find(|model| model.id == id && !retired(shared, model))
}

fn show(model: &OpenAiModel) -> Value {
    // A fixed day: nothing should depend on it.
    json!({"id": model.id, "object": "model", "created": 1_793_750_400, "owned_by": "system",
           "shutdown_date": model.shutdown_date})
}

/// `GET /models` and `GET /models/{id}`: free, and no proof that the key may use what it sees.
pub(crate) async fn list(call: &Call<'_>, key: &Key<'_>, path: &str) -> Result<Answer, ApiError> {
    key.may_read_models()?;
    tokio::time::sleep(Duration::from_millis(
        call.shared.scenario.openai.latency_ms.models,
    ))
    .await;
    let Some(id) = path.strip_prefix("/models/") else {
        let models = call
            .shared
            .scenario
            .openai
            .models
            .iter()
            .filter(|model| !retired(call.shared, model));
        let models: Vec<Value> = models.map(show).collect();
        return Ok(Answer::json(200, &json!({"object": "list", "data": models})));
    };
    match find(call.shared, id) {
        Some(model) => Ok(Answer::json(200, &show(model))),
        None => Err(ApiError::new(
            404,
            "invalid_request_error",
            format!("The model '{id}' does not exist"),
        )
        .param("model")
        .code("model_not_found")),
    }
}
