//! What is sent without TLS: by the client that reqwest is built on, with a bound on what it reads ahead.
//!
//! By itself that client reads whatever the peer has ready, up to 400 KiB at once and three such pieces deep, keeps
//! buffers of that size for the life of a connection, and reqwest gives no way to bound it. Over TLS that is harmless,
//! because what is ready is a record of 16 KiB. Over plain HTTP, which servers on this machine or nearby speak, a large
//! body is always ready as a whole, and 64 of them at once would take 80 MiB.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::{BodyDataStream, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::transport::{Body, Sent, TransportError};

/// About the most that is read at once, in bytes (its buffers grow to twice of it), and the longest head of an answer.
/// It allows no less.
const READ_AHEAD: usize = 8 << 10;

/// It asks no proxy: plain HTTP is for this machine and private networks, where a proxy of the environment has no
/// business, and it would read the key. (Through TLS it sees host names only.)
pub(super) type Plain = Client<HttpConnector, Full<Bytes>>;

/// A client that waits at most `connect` for a connection and keeps one for at most `idle` without use.
pub(super) fn client(connect: Duration, idle: Duration) -> Plain {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect));
    connector.set_nodelay(true);
    // A long generation is a long silence: routers forget such connections.
    connector.set_keepalive(Some(Duration::from_secs(15)));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle)
        .http1_max_buf_size(READ_AHEAD)
        .build(connector)
}

/// Sends a request to an address without TLS.
pub(super) async fn send(
    client: &Plain,
    request: http::Request<Bytes>,
) -> Result<http::Response<Body>, TransportError> {
    let answer = client.request(request.map(Full::new)).await.map_err(translate)?;
    Ok(answer.map(|body| Body::new(BodyDataStream::new(body).map_err(cut))))
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
        assert!(largest <= 2 * READ_AHEAD, "{largest}");
    }
}
