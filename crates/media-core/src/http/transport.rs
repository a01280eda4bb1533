//! How requests reach the wire: a trait, so that tests need no network and users may bring their own client.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

/// Sends one request and gives back the answer's head and a body that is still arriving.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends. Must follow no redirect and repeat nothing: both are decided above.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError>;
}

/// Whether a request that failed can have reached the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Proven: no byte of it left (name lookup, connection, TLS handshake failed).
    No,
    /// Some or all of it may have arrived.
    Maybe,
}

/// The wire failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    /// Whether the service can have seen the request.
    pub sent: Sent,
    /// Whether it was a time limit that ended it.
    pub timeout: bool,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// A failure; `message` must hold no address: addresses can hold keys.
    pub fn new(sent: Sent, message: impl Into<String>) -> TransportError {
        TransportError {
            sent,
            timeout: false,
            message: message.into(),
            source: None,
        }
    }

    /// The time limit ended it.
    #[must_use]
    pub fn timed_out(mut self) -> TransportError {
        self.timeout = true;
        self
    }

    /// What caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TransportError {
        self.source = Some(source.into());
        self
    }
}

/// A body that is still arriving.
pub struct Body(Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>);

impl Body {
    /// From pieces as they arrive. An error means that the body was cut.
    pub fn new(pieces: impl Stream<Item = Result<Bytes, TransportError>> + Send + 'static) -> Body {
        Body(Box::pin(pieces))
    }

    /// A body that is all there.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body::new(stream::once(async move { Ok(bytes) }))
    }

    /// The next piece; `None` at its clean end.
    pub(crate) async fn piece(&mut self) -> Option<Result<Bytes, TransportError>> {
        self.0.next().await
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}
