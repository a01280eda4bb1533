//! The simulator's own endpoints under `/_sim`; they ask for no key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bill::Bill;
use crate::calls::Call;
use crate::fault::Fault;
use crate::scenario::Scenario;
use crate::state::Shared;

pub(crate) async fn bill(State(shared): State<Arc<Shared>>) -> Json<Bill> {
    crate::openai::batches::settle(&shared);
    Json(shared.bill())
}

pub(crate) async fn calls(State(shared): State<Arc<Shared>>) -> Json<Vec<Call>> {
    Json(shared.calls.all())
}

pub(crate) async fn faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(shared.faults.armed())
}

/// Takes one fault or a list; the content type does not matter, so that plain `curl -d` works.
pub(crate) async fn arm(State(shared): State<Arc<Shared>>, body: String) -> Response {
    // A single fault is read on its own for its clearer message.
    let parsed = if body.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<Fault>>(&body)
    } else {
        serde_json::from_str::<Fault>(&body).map(|fault| vec![fault])
    };
    match parsed {
        Ok(faults) => faults.into_iter().for_each(|fault| shared.faults.arm(fault)),
        Err(error) => {
            return (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response();
        }
    }
    Json(json!({"armed": shared.faults.armed().len()})).into_response()
}

pub(crate) async fn disarm(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.faults.clear();
    Json(json!({"armed": 0}))
}

pub(crate) async fn reset(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.reset();
    Json(json!({"reset": true}))
}

pub(crate) async fn scenario(State(shared): State<Arc<Shared>>) -> Json<Scenario> {
    Json(shared.scenario.clone())
}

pub(crate) async fn overlay(
    State(shared): State<Arc<Shared>>,
    Path(provider_type): Path<String>,
) -> Response {
    match shared.overlay(&provider_type) {
        Some(overlay) => Json(overlay).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(crate) async fn clock(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"now_unix_ms": shared.clock.now_ms()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_ms: u64,
}

pub(crate) async fn advance(State(shared): State<Arc<Shared>>, body: String) -> Response {
    match serde_json::from_str::<Advance>(&body) {
        Ok(Advance { advance_ms }) => {
            shared.clock.advance_ms(advance_ms);
            clock(State(shared)).await.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    }
}
