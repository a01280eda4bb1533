//! What is sent without TLS: by the client that reqwest is built on, with a bound on what it reads ahead.
//!
//! By itself that client reads whatever the peer has ready, up to 400 KiB at once and three such pieces deep, keeps
//! buffers of that size for the life of a connection, and reqwest gives no way to bound it. Over TLS that is harmless,
//! because what is ready is a record of 16 KiB. Over plain HTTP, which servers on this machine or nearby speak, a large
//! body is always ready as a whole, and 64 of them at once would take 80 MiB.

use std::error::Error as _;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use http::Uri;
use http_body_util::{BodyDataStream, Full};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::transport::{Body, Sent, TransportError};

/// The most bytes that are read at once. One less than hyper begins with: what fills its buffer doubles it.
const READ_AT_ONCE: usize = (8 << 10) - 1;

/// It asks no proxy: plain HTTP is for this machine and private networks, where a proxy of the environment has no
/// business, and it would read the key. (Through TLS it sees host names only.)
pub(super) type Plain = Client<Connector, Full<Bytes>>;

/// A client that waits at most `connect` for a connection and keeps one for at most `idle` without use.
pub(super) fn client(connect: Duration, idle: Duration) -> Plain {
    let mut tcp = HttpConnector::new();
    // Shared out among the addresses of a name: one that is dead must not use up all of it.
    tcp.set_connect_timeout(Some(connect));
    tcp.set_nodelay(true);
    // A long generation is a long silence: routers forget such connections.
    tcp.set_keepalive(Some(Duration::from_secs(15)));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle)
        .build(Connector { tcp, within: connect })
}

/// Sends a request to an address without TLS.
pub(super) async fn send(
    client: &Plain,
    request: http::Request<Bytes>,
) -> Result<http::Response<Body>, TransportError> {
    let answer = client.request(request.map(Full::new)).await.map_err(translate)?;
    Ok(answer.map(|body| Body::new(BodyDataStream::new(body).map_err(cut))))
}

/// Looks names up and connects, both within one time limit.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    within: Duration,
}

impl Service<Uri> for Connector {
    type Response = Sipped;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Sipped, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = timeout(self.within, self.tcp.call(address));
        async move {
            let connected = connecting
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            Ok(Sipped(connected?))
        }
        .boxed()
    }
}

/// A connection that is read little by little.
#[derive(Debug)]
pub(super) struct Sipped(TokioIo<TcpStream>);

impl Read for Sipped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [const { MaybeUninit::uninit() }; READ_AT_ONCE];
        let room = into.remaining().min(READ_AT_ONCE);
        let mut read = ReadBuf::uninit(bytes.get_mut(..room).unwrap_or_default());
        let came = Pin::new(&mut self.0).poll_read(cx, read.unfilled());
        into.put_slice(read.filled());
        came
    }
}

impl Write for Sipped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bytes)
    }
}

impl Connection for Sipped {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

fn translate(error: Error) -> TransportError {
    if !error.is_connect() {
        return cut(error);
    }
    let mut cause = error.source();
    while let Some(inner) = cause.filter(|cause| !cause.is::<io::Error>()) {
        cause = inner.source();
    }
    let is_timeout = cause
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut);
    if is_timeout {
        TransportError::new(Sent::No, "no connection within the time limit")
            .because(error)
            .timed_out()
    } else {
        TransportError::new(Sent::No, "cannot connect").because(error)
    }
}

fn cut(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TransportError {
    TransportError::new(Sent::Maybe, "the connection broke").because(error)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;

    use super::*;

    /// A server that does this with one connection after the other, each time with the whole head of a request read.
    fn server(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                answer(stream);
            }
        });
        address
    }

    fn own_client() -> Plain {
        client(Duration::from_secs(5), Duration::from_secs(60))
    }

    async fn ask(client: &Plain, address: SocketAddr) -> Result<http::Response<Body>, TransportError> {
        let request = http::Request::get(format!("http://{address}/pictures?key=secret"));
        send(client, request.body(Bytes::new()).unwrap()).await
    }

    #[tokio::test]
    async fn what_never_left_is_told_from_what_may_have_and_no_address_is() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = ask(&own_client(), nobody).await.unwrap_err();
        assert_eq!((refused.sent, refused.timeout), (Sent::No, false));
        let silent = ask(&own_client(), server(drop)).await.unwrap_err();
        assert_eq!(silent.sent, Sent::Maybe);
        for error in [refused, silent] {
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_cut() {
        let short = server(|mut stream| {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                .unwrap();
        });
        let mut body = ask(&own_client(), short).await.unwrap().into_body();
        assert_eq!(body.piece().await.unwrap().unwrap(), "half");
        assert_eq!(body.piece().await.unwrap().unwrap_err().sent, Sent::Maybe);
    }

    #[tokio::test]
    async fn the_head_of_an_answer_may_be_long() {
        let wordy = server(|mut stream| {
            let policy = "x".repeat(40_000);
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nx-policy: {policy}\r\ncontent-length: 2\r\n\r\nok"
            )
            .unwrap();
        });
        let mut body = ask(&own_client(), wordy).await.unwrap().into_body();
        assert_eq!(body.piece().await.unwrap().unwrap(), "ok");
    }

    #[tokio::test]
    async fn a_large_body_comes_in_small_pieces() {
        const LENGTH: usize = 8 << 20;
        let large = server(|mut stream| {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").unwrap();
            stream.write_all(&vec![7; LENGTH]).unwrap();
        });
        let mut body = ask(&own_client(), large).await.unwrap().into_body();
        let (mut came, mut largest) = (0, 0);
        while let Some(piece) = body.piece().await {
            let length = piece.unwrap().len();
            (came, largest) = (came + length, largest.max(length));
        }
        assert_eq!(came, LENGTH);
        assert!(largest <= 2 * READ_AT_ONCE, "{largest}");
    }
}
