//! Accepting connections, reading requests and handing them to the API they belong to.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::answer::{Answer, Conn};
use crate::calls::Call;
use crate::fault::{FaultKind, Provider, Stage, Target};
use crate::state::Shared;
use crate::{control, forvo, openai, runware};

/// Larger request bodies are refused: none of the simulated calls needs more (images as input are not simulated).
const MAX_REQUEST: usize = 32 * 1024 * 1024;
/// An upload may hold a file of 200 MB, and what a form puts around it.
const MAX_UPLOAD: usize = 201 * 1000 * 1000;

/// A request, read completely.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) method: Method,
    /// The path as sent, still percent-encoded.
    pub(crate) path: String,
    /// The query as sent, without its question mark.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Incoming {
    /// The key in the header that Azure has for it.
    pub(crate) fn api_key(&self) -> Option<&str> {
        self.headers.get("api-key")?.to_str().ok()
    }

    /// The token of `Authorization: Bearer TOKEN`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let value = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
    }

    /// A host of media links must never see a key. 400 tells a client that leaked one.
    pub(crate) fn leaked_key(&self) -> Option<Answer> {
        let leaked = [header::AUTHORIZATION, header::COOKIE]
            .iter()
            .any(|name| self.headers.contains_key(name))
            || self.headers.contains_key("api-key")
            || self.headers.contains_key("x-api-key");
        leaked.then(|| Answer::html(400, "<html><body>Only one auth mechanism allowed: links to media take no credentials.</body></html>"))
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_sim/bill", get(control::bill))
        .route("/_sim/calls", get(control::calls))
        .route(
            "/_sim/faults",
            get(control::faults).post(control::arm).delete(control::disarm),
        )
        .route("/_sim/reset", post(control::reset))
        .route("/_sim/clock", get(control::clock).post(control::advance))
        .route("/_sim/overlay/{provider_type}", get(control::overlay))
        .route("/_sim/scenario", get(control::scenario))
        .fallback(any(dispatch))
        .with_state(shared)
}

/// Serves until told to stop.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let router = router(shared);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        // A failed accept (out of descriptors, a client gone at once) must not spin.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            continue;
        };
        tokio::spawn(connection(stream, router.clone(), stop.clone()));
    }
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Without this, small answers wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let conn = Conn::default();
    let service = TowerToHyperService::new(router.layer(Extension(conn.clone())));
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // An error here is the client's going away.
        _ = serving => {}
        () = conn.0.notified() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn dispatch(
    State(shared): State<Arc<Shared>>,
    Extension(conn): Extension<Conn>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let under = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let provider = if under("/openai/v1") {
        Provider::Openai
    } else if under("/openai-compat/v1") || under("/openai-compat-media") {
        Provider::OpenaiCompat
    } else if under("/runware/v1") || under("/runware-media") {
        Provider::Runware
    } else if under("/forvo") {
        Provider::Forvo
    } else {
        return (
            StatusCode::NOT_FOUND,
            "The simulator serves /openai/v1, /openai-compat/v1, /runware/v1, /forvo and /_sim.\n",
        )
            .into_response();
    };
    let call = shared.calls.arrived(Call {
        provider: provider.name().to_owned(),
        method: request.method().to_string(),
        path: if provider == Provider::Forvo {
            forvo::redacted(&path)
        } else {
            path.clone()
        },
        status: 0,
        at_ms: shared.clock.since_start_ms(),
    });
    let (parts, body) = request.into_parts();
    let most = if path.ends_with("/files") {
        MAX_UPLOAD
    } else {
        MAX_REQUEST
    };
    let answer = match axum::body::to_bytes(Body::new(body), most).await {
        Err(_) => Answer::html(413, "<html><body>413 Request Entity Too Large</body></html>"),
        Ok(body) => {
            let incoming = Incoming {
                method: parts.method,
                path,
                query: parts.uri.query().unwrap_or_default().to_owned(),
                headers: parts.headers,
                body,
            };
            match provider {
                Provider::Openai => openai::answer(&shared, &incoming).await,
                Provider::OpenaiCompat => openai::compat::answer(&shared, &incoming).await,
                Provider::Runware => runware::answer(&shared, &incoming).await,
                Provider::Forvo => forvo::answer(&shared, &incoming).await,
            }
        }
    };
    if !answer.hold.is_zero() {
        tokio::time::sleep(answer.hold).await;
    }
    if answer.cut {
        match conn.cut().await {}
    }
    shared.calls.answered(call, answer.status.as_u16());
    answer.into_response(conn)
}

/// Lets the faults that strike before any work do so. `Err` is the answer.
pub(crate) async fn before(
    shared: &Shared,
    target: &Target<'_>,
    default_error: impl Fn(u16) -> Answer,
) -> Result<(), Answer> {
    while let Some(fault) = shared.faults.take(Stage::Before, target) {
        match fault {
            FaultKind::Delay { ms } => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
            FaultKind::CutBefore => return Err(Answer::cut()),
            FaultKind::QuotaBody => return Err(forvo::quota_answer(&shared.scenario.forvo)),
            other => return Err(Answer::of_status_fault(&other, default_error)),
        }
    }
    Ok(())
}

/// Lets the faults that strike a finished answer do so.
pub(crate) fn after(
    shared: &Shared,
    target: &Target<'_>,
    answer: Answer,
    default_error: impl Fn(u16) -> Answer,
) -> Answer {
    match shared.faults.take(Stage::Answer, target) {
        Some(fault) => answer.struck(&fault, default_error),
        None => answer,
    }
}
