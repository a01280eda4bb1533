//! A transport without a network, for tests: every request goes to a function.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;

use super::transport::{Body, Sent, Transport, TransportError};
use crate::sync::lock;

type Handler = dyn Fn(&http::Request<Bytes>) -> Scripted + Send + Sync;

/// Answers requests from a function and remembers them. Runs on tokio's clock, so it works under paused time.
#[derive(Clone)]
pub struct MemoryTransport {
    handler: Arc<Handler>,
    log: Arc<Mutex<Vec<Recorded>>>,
}

/// A request as it was sent.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When, on tokio's clock.
    pub at: Instant,
    /// Method, address and headers.
    pub head: http::Request<()>,
    /// The body.
    pub body: Bytes,
}

/// What the function answers.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// How long it takes.
    pub delay: Duration,
    /// The answer, or why there is none.
    pub answer: Result<(http::StatusCode, http::HeaderMap, Vec<Bytes>), Sent>,
    /// The body breaks off after its pieces.
    pub cut: bool,
}

impl Scripted {
    /// An answer with this status and body, at once.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Bytes>) -> Scripted {
        let status = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::IM_A_TEAPOT);
        Scripted {
            delay: Duration::ZERO,
            answer: Ok((status, http::HeaderMap::new(), vec![body.into()])),
            cut: false,
        }
    }

    /// No answer: the connection failed before or after the request was sent.
    #[must_use]
    pub fn fails(sent: Sent) -> Scripted {
        Scripted {
            delay: Duration::ZERO,
            answer: Err(sent),
            cut: false,
        }
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Scripted {
        if let (Ok((_, headers, _)), Ok(value)) = (&mut self.answer, http::HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
        self
    }

    /// After this long.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Scripted {
        self.delay = delay;
        self
    }

    /// Breaks off after the body's bytes.
    #[must_use]
    pub fn cut(mut self) -> Scripted {
        self.cut = true;
        self
    }
}

impl MemoryTransport {
    /// Answers every request by `handler`.
    pub fn new(
        handler: impl Fn(&http::Request<Bytes>) -> Scripted + Send + Sync + 'static,
    ) -> MemoryTransport {
        MemoryTransport {
            handler: Arc::new(handler),
            log: Arc::default(),
        }
    }

    /// Answers with these, one after the other. A request too many fails: it would otherwise pass unnoticed.
    #[must_use]
    pub fn script(answers: Vec<Scripted>) -> MemoryTransport {
        let answers = Mutex::new(answers.into_iter());
        MemoryTransport::new(move |_| {
            let next = lock(&answers).next();
            next.unwrap_or_else(|| Scripted::new(599, "the script has no answer left"))
        })
    }

    /// Everything sent so far, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Recorded> {
        lock(&self.log).clone()
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryTransport")
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        let mut head = http::Request::new(());
        request.method().clone_into(head.method_mut());
        request.uri().clone_into(head.uri_mut());
        request.headers().clone_into(head.headers_mut());
        let scripted = (self.handler)(&request);
        let recorded = Recorded {
            at: Instant::now(),
            head,
            body: request.into_body(),
        };
        lock(&self.log).push(recorded);
        if !scripted.delay.is_zero() {
            tokio::time::sleep(scripted.delay).await;
        }
        let (status, headers, pieces) = scripted
            .answer
            .map_err(|sent| TransportError::new(sent, "the scripted connection failed"))?;
        let cut = scripted.cut.then(|| {
            Err(TransportError::new(
                Sent::Maybe,
                "the scripted connection was cut",
            ))
        });
        let body = Body::new(stream::iter(pieces.into_iter().map(Ok).chain(cut)));
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}
