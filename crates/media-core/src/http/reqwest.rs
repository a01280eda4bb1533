//! The shipped transport: reqwest over rustls, and `plain.rs` for what needs no TLS.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::plain;
use super::transport::{Body, Sent, Transport, TransportError};
use crate::error::{Error, ErrorKind, Result};

/// Servers close idle connections without a word; a paid call must not be the one to find out.
const IDLE: Duration = Duration::from_secs(15);

/// Sends by reqwest, and by the client below it where there is no TLS.
///
/// HTTP/1.1 on purpose: one call per connection, so that a cut connection puts one paid call in doubt and not all that
/// were multiplexed on it. Its own retries and redirects are off: a repeat would be a second purchase that nobody
/// counted, and a redirect could carry a key to another host.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    plain: plain::Plain,
}

impl ReqwestTransport {
    /// A transport that waits at most `connect` for a connection.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the machine has no usable TLS roots.
    pub fn new(connect: Duration) -> Result<ReqwestTransport> {
        let client = reqwest::Client::builder()
            .connect_timeout(connect)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Config, "the HTTP client cannot be set up").because(error)
            })?;
        Ok(ReqwestTransport {
            client,
            plain: plain::client(connect, IDLE),
        })
    }
}

fn translate(error: reqwest::Error) -> TransportError {
    // Only these are proven to have sent nothing. Anything later may have reached the service.
    let sent = if error.is_connect() || error.is_builder() {
        Sent::No
    } else {
        Sent::Maybe
    };
    let message = match (error.is_connect(), error.is_timeout()) {
        (true, true) => "no connection within the time limit",
        (true, false) => "cannot connect",
        (false, true) => "no answer within the time limit",
        (false, false) => "the connection broke",
    };
    let timeout = error.is_timeout();
    // The address can hold a key (Forvo's does).
    let translated = TransportError::new(sent, message).because(error.without_url());
    if timeout {
        translated.timed_out()
    } else {
        translated
    }
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        if request.uri().scheme() == Some(&http::uri::Scheme::HTTP) {
            return plain::send(&self.plain, request).await;
        }
        let request = reqwest::Request::try_from(request).map_err(translate)?;
        let response = self.client.execute(request).await.map_err(translate)?;
        let mut parts = http::Response::builder().status(response.status());
        if let Some(headers) = parts.headers_mut() {
            headers.clone_from(response.headers());
        }
        parts
            .body(Body::new(response.bytes_stream().map_err(translate)))
            .map_err(|error| TransportError::new(Sent::Maybe, "the answer's head is unusable").because(error))
    }
}
