//! The shipped transport: reqwest over rustls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use super::transport::{Body, Sent, Transport, TransportError};
use super::turns::Turns;
use crate::error::{Error, ErrorKind, Result};

/// Sends by reqwest.
///
/// HTTP/1.1 on purpose: one call per connection, so that a cut connection puts one paid call in doubt and not all that
/// were multiplexed on it. Its own retries and redirects are off: a repeat would be a second purchase that nobody
/// counted, and a redirect could carry a key to another host.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    plain: Arc<Turns>,
}

impl ReqwestTransport {
    /// A transport that waits at most `connect` for a connection.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the machine has no usable TLS roots.
    pub fn new(connect: Duration) -> Result<ReqwestTransport> {
        let failed = |error| Error::new(ErrorKind::Config, "the HTTP client cannot be set up").because(error);
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(connect)
                // Servers close idle connections without a word; a paid call must not be the one to find out.
                .pool_idle_timeout(Duration::from_secs(15))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .http1_only()
        };
        // Plain HTTP is for this machine and private networks: a proxy of the environment has no business there, and
        // would read the key. (Through TLS it sees host names only.) Without roots: these speak no TLS.
        let plain = || builder().no_proxy().tls_certs_only([]);
        let closing = plain().pool_max_idle_per_host(0);
        Ok(ReqwestTransport {
            client: builder().build().map_err(failed)?,
            plain: Turns::new(plain().build().map_err(failed)?, closing.build().map_err(failed)?),
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
        let request = reqwest::Request::try_from(request).map_err(translate)?;
        let is_plain = request.url().scheme() == "http";
        let client = if is_plain {
            self.plain.client()
        } else {
            self.client.clone()
        };
        let response = client.execute(request).await.map_err(translate)?;
        let mut parts = http::Response::builder().status(response.status());
        if let Some(headers) = parts.headers_mut() {
            headers.clone_from(response.headers());
        }
        let length = response.content_length();
        let pieces = response.bytes_stream().map_err(translate).boxed();
        let body = if is_plain {
            Body::new(self.plain.take(pieces, length))
        } else {
            Body::new(pieces)
        };
        parts
            .body(body)
            .map_err(|error| TransportError::new(Sent::Maybe, "the answer's head is unusable").because(error))
    }
}
