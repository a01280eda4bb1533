//! An answer before it becomes bytes on a socket: body pieces, pauses, cuts, and who is told when it is out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::sync::Notify;

use crate::bill::{ChargeId, Ledger};
use crate::fault::FaultKind;

/// Large pieces go out in slices of this size, so that "handed out" follows what the client really reads.
const SLICE: usize = 64 * 1024;

/// How long a cut waits for the bytes before it to reach the socket.
const FLUSH: Duration = Duration::from_millis(40);

/// A handle on the connection that a request came over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conn(pub(crate) Arc<Notify>);

impl Conn {
    /// Closes the connection; never returns, because the task that polls it is dropped with the connection.
    pub(crate) async fn cut(&self) -> std::convert::Infallible {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// A piece of a body.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Bytes(Bytes),
    Pause(Duration),
    /// So many times this byte, made as it is read.
    Fill(u64, u8),
    Cut,
}

/// What to tell the ledger when the last byte is out.
#[derive(Debug, Clone)]
struct Receipt {
    ledger: Ledger,
    charges: Vec<(ChargeId, Option<usize>)>,
}

impl Receipt {
    fn sign(self) {
        for (charge, result) in self.charges {
            self.ledger.delivered(charge, result);
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) pieces: Vec<Piece>,
    /// Chunked transfer without a length.
    pub(crate) chunked: bool,
    receipt: Option<Receipt>,
    /// Waited before the first byte.
    pub(crate) hold: Duration,
    /// The connection closes instead.
    pub(crate) cut: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::of_pieces(status, content_type, vec![Piece::Bytes(body.into())])
    }

    pub(crate) fn of_pieces(status: u16, content_type: &'static str, pieces: Vec<Piece>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self {
            status,
            headers,
            pieces,
            chunked: false,
            receipt: None,
            hold: Duration::ZERO,
            cut: false,
        }
    }

    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(crate) fn html(status: u16, page: &str) -> Self {
        Self::new(status, "text/html; charset=utf-8", page.to_owned())
    }

    /// The connection closes before any byte of an answer.
    pub(crate) fn cut() -> Self {
        let mut answer = Self::new(500, "text/plain", Bytes::new());
        answer.cut = true;
        answer
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.set(HeaderName::from_static(name), value.as_ref());
        self
    }

    /// Adds a header; one that cannot be written in HTTP is left out.
    pub(crate) fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.retain(|(known, _)| *known != name);
            self.headers.push((name, value));
        }
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// When the last byte is out, these charges count as delivered (`None`: each of their results).
    pub(crate) fn delivering(mut self, ledger: &Ledger, charges: Vec<(ChargeId, Option<usize>)>) -> Self {
        if !charges.is_empty() {
            self.receipt = Some(Receipt {
                ledger: ledger.clone(),
                charges,
            });
        }
        self
    }

    fn length(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.len() as u64,
                Piece::Fill(count, _) => *count,
                Piece::Pause(_) | Piece::Cut => 0,
            })
            .sum()
    }

    fn is_json(&self) -> bool {
        let json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
        self.headers
            .iter()
            .any(|(name, value)| *name == header::CONTENT_TYPE && json(value))
    }

    /// Lets a fault strike the finished answer.
    pub(crate) fn struck(mut self, fault: &FaultKind, default_error: impl Fn(u16) -> Answer) -> Answer {
        match fault {
            FaultKind::CutAfterBilling => Answer::cut(),
            FaultKind::DelayAfterBilling { ms } => {
                self.hold = Duration::from_millis(*ms);
                self
            }
            FaultKind::CutMiddle { after_bytes } => {
                let length = self.length();
                let keep = after_bytes.unwrap_or(length / 2).min(length.saturating_sub(1));
                let mut pieces = Vec::new();
                let mut left = keep;
                for piece in self.pieces {
                    match piece {
                        Piece::Bytes(bytes) => {
                            let part = (bytes.len() as u64).min(left);
                            left -= part;
                            pieces.push(Piece::Bytes(bytes.slice(..part as usize)));
                        }
                        Piece::Fill(count, byte) => {
                            let part = count.min(left);
                            left -= part;
                            pieces.push(Piece::Fill(part, byte));
                        }
                        other => pieces.push(other),
                    }
                    if left == 0 {
                        break;
                    }
                }
                pieces.push(Piece::Cut);
                // The promised length stays that of the whole answer, or the client could not notice.
                if !self.chunked {
                    self.headers
                        .push((header::CONTENT_LENGTH, HeaderValue::from(length)));
                }
                self.pieces = pieces;
                self.receipt = None;
                self
            }
            FaultKind::Drip { bytes, every_ms } => {
                let size = (*bytes).max(1);
                let mut pieces = Vec::new();
                for piece in self.pieces {
                    match piece {
                        Piece::Bytes(mut rest) => {
                            while !rest.is_empty() {
                                let part = rest.split_to(size.min(rest.len()));
                                pieces.push(Piece::Bytes(part));
                                pieces.push(Piece::Pause(Duration::from_millis(*every_ms)));
                            }
                        }
                        other => pieces.push(other),
                    }
                }
                self.pieces = pieces;
                self
            }
            FaultKind::Oversized { bytes } => {
                let byte = if self.is_json() { b' ' } else { 0 };
                self.pieces.push(Piece::Fill(*bytes, byte));
                self.receipt = None;
                self
            }
            FaultKind::Status { .. } => Answer::of_status_fault(fault, default_error),
            _ => self,
        }
    }

    /// The answer of a status, redirect or error-body fault.
    pub(crate) fn of_status_fault(fault: &FaultKind, default_error: impl Fn(u16) -> Answer) -> Answer {
        match fault {
            FaultKind::Status {
                status,
                retry_after,
                retry_after_ms,
                headers,
                body,
                ..
            } => {
                let mut answer = match body {
                    None => default_error(*status),
                    Some(Value::String(page)) => Answer::html(*status, page),
                    Some(value) => Answer::json(*status, value),
                };
                if let Some(value) = retry_after {
                    answer.set(header::RETRY_AFTER, value);
                }
                if let Some(value) = retry_after_ms {
                    answer.set(HeaderName::from_static("retry-after-ms"), value);
                }
                for (name, value) in headers {
                    if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                        answer.set(name, value);
                    }
                }
                answer
            }
            FaultKind::ErrorBody { body } => match body {
                None => {
                    let mut answer = default_error(500);
                    answer.status = StatusCode::OK;
                    answer
                }
                Some(Value::String(page)) => Answer::html(200, page),
                Some(value) => Answer::json(200, value),
            },
            FaultKind::Redirect { location, status } => {
                let mut answer = Answer::html(*status, "<html><body>Moved.</body></html>");
                answer.set(header::LOCATION, location);
                answer
            }
            _ => default_error(500),
        }
    }

    /// The HTTP response.
    pub(crate) fn into_response(mut self, conn: Conn) -> Response {
        let length = self.length();
        let plain = self.receipt.is_none()
            && !self.chunked
            && self.pieces.len() == 1
            && matches!(self.pieces.first(), Some(Piece::Bytes(_)));
        let body = match (plain, self.pieces.pop()) {
            (true, Some(Piece::Bytes(bytes))) => Body::from(bytes),
            (_, last) => {
                self.pieces.extend(last);
                if !self.chunked
                    && !self
                        .headers
                        .iter()
                        .any(|(name, _)| *name == header::CONTENT_LENGTH)
                {
                    self.headers
                        .push((header::CONTENT_LENGTH, HeaderValue::from(length)));
                }
                let outlet = Outlet {
                    pieces: self.pieces.into(),
                    left: length,
                    receipt: self.receipt,
                    conn,
                };
                Body::from_stream(futures_util::stream::unfold(outlet, Outlet::next))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// The rest of a body.
struct Outlet {
    pieces: VecDeque<Piece>,
    left: u64,
    receipt: Option<Receipt>,
    conn: Conn,
}

impl Outlet {
    /// Yields the next bytes. hyper stops asking once the promised length is reached, so the receipt is signed
    /// together with the last byte and not at the end of the stream.
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        loop {
            let bytes = match self.pieces.pop_front()? {
                Piece::Bytes(mut bytes) => {
                    if bytes.len() > SLICE {
                        let head = bytes.split_to(SLICE);
                        self.pieces.push_front(Piece::Bytes(bytes));
                        head
                    } else {
                        bytes
                    }
                }
                Piece::Fill(count, byte) => {
                    let part = count.min(SLICE as u64);
                    if count > part {
                        self.pieces.push_front(Piece::Fill(count - part, byte));
                    }
                    Bytes::from(vec![byte; part as usize])
                }
                Piece::Pause(pause) => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Piece::Cut => {
                    tokio::time::sleep(FLUSH).await;
                    match self.conn.cut().await {}
                }
            };
            if bytes.is_empty() {
                continue;
            }
            self.left = self.left.saturating_sub(bytes.len() as u64);
            if self.left == 0
                && let Some(receipt) = self.receipt.take()
            {
                receipt.sign();
            }
            return Some((Ok(bytes), self));
        }
    }
}
