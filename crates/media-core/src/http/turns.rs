//! Large bodies over plain HTTP take turns, so that many of them in flight need no more memory than two.
//!
//! The HTTP library reads whatever the peer has ready, up to 400 KiB at once and three such pieces deep, keeps buffers
//! of that size for the life of a connection, and reqwest offers no bound. Over TLS that is harmless, because what is
//! ready is a record of 16 KiB. Over plain HTTP, which servers on this machine or nearby speak, a large body is always
//! ready as a whole, and 64 of them at once would take 80 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::transport::TransportError;

type Piece = Result<Bytes, TransportError>;

/// Large bodies that are read at the same time: enough to keep a disk busy.
const AT_ONCE: usize = 2;
/// A body is fast while its pieces are this large.
const FAST: usize = 16 << 10;
/// How long a fast body keeps its turn without a piece. Long, because a busy machine lets it wait too.
const PATIENCE: Duration = Duration::from_secs(1);
/// And any other. What is made while it is sent, such as speech, is found out by this and needs no turn.
const PATIENCE_UNTIL_FAST: Duration = Duration::from_millis(20);
/// How long a body waits for its turn before it reads a piece without one. Well under the time that an answer may be
/// silent: a body that waits for all before it would be given up by us or by the peer, and what was paid for with it.
const MOST_WAITING: Duration = Duration::from_secs(20);
/// After a piece of this size a connection's buffers are too large to be kept.
const LARGE: usize = 64 << 10;

/// Shared by all connections of a transport.
#[derive(Debug)]
pub(super) struct Turns {
    turns: Arc<Semaphore>,
    /// A large body came: connections and their grown buffers are no longer kept. Beside such a body, opening another
    /// connection costs nothing.
    large: AtomicBool,
}

impl Turns {
    pub(super) fn new() -> Arc<Turns> {
        Arc::new(Turns {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            large: AtomicBool::new(false),
        })
    }

    /// Asks the peer not to keep the connection when large bodies are about.
    pub(super) fn prepare(&self, headers: &mut HeaderMap) {
        if self.large.load(Ordering::Relaxed) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The same pieces, read only when it is this body's turn, which lasts while they are worked on. `length` is what the
    /// answer's head says of it, in bytes.
    pub(super) fn take(
        self: &Arc<Self>,
        pieces: BoxStream<'static, Piece>,
        length: Option<u64>,
    ) -> impl Stream<Item = Piece> + Send + 'static {
        let start = Taking {
            shared: Arc::clone(self),
            pieces,
            pace: match length {
                Some(length) if length <= LARGE as u64 => Pace::Free,
                Some(_) => Pace::Fast,
                None => Pace::Unknown,
            },
            turn: None,
        };
        stream::unfold(
            start,
            |mut taking| async move { Some((taking.next().await?, taking)) },
        )
    }
}

/// A body that is being read.
struct Taking {
    shared: Arc<Turns>,
    pieces: BoxStream<'static, Piece>,
    pace: Pace,
    turn: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Unknown,
    Fast,
    /// Nothing is ready most of the time. It may become fast.
    Slow,
    /// It is small.
    Free,
}

impl Taking {
    async fn next(&mut self) -> Option<Piece> {
        if self.turn.is_none() && [Pace::Unknown, Pace::Fast].contains(&self.pace) {
            match timeout(MOST_WAITING, Arc::clone(&self.shared.turns).acquire_owned()).await {
                Ok(turn) => self.turn = turn.ok(),
                // One piece is a sign of life to both ends, and too little for the library's buffers to grow.
                Err(_) => return self.pieces.next().await,
            }
        }
        let patience = match self.pace {
            Pace::Fast => Some(PATIENCE),
            Pace::Unknown => Some(PATIENCE_UNTIL_FAST),
            Pace::Slow | Pace::Free => None,
        };
        let piece = match patience {
            None => self.pieces.next().await?,
            Some(patience) => match timeout(patience, self.pieces.next()).await {
                Ok(piece) => piece?,
                Err(_) => {
                    self.turn = None;
                    self.pace = Pace::Slow;
                    self.pieces.next().await?
                }
            },
        };
        let length = piece.as_ref().map_or(0, Bytes::len);
        if length >= FAST && self.pace != Pace::Free {
            self.pace = Pace::Fast;
        }
        if length >= LARGE {
            self.shared.large.store(true, Ordering::Relaxed);
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A body of `count` pieces, with a note of each that was read.
    fn body(name: usize, count: usize, read: &Arc<Mutex<Vec<usize>>>) -> BoxStream<'static, Piece> {
        let read = Arc::clone(read);
        stream::iter(0..count)
            .map(move |_| {
                read.lock().unwrap().push(name);
                Ok(Bytes::from(vec![0; LARGE]))
            })
            .boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn only_two_bodies_are_read_at_once_and_each_comes_to_its_turn() {
        let turns = Turns::new();
        let read = Arc::default();
        let mut bodies: Vec<_> = (0..4)
            .map(|name| Box::pin(turns.take(body(name, 2, &read), None)))
            .collect();
        for body in &mut bodies {
            let _ = timeout(Duration::from_millis(1), body.next()).await;
        }
        assert_eq!(*read.lock().unwrap(), [0, 1], "the others wait");
        for body in &mut bodies {
            while body.next().await.is_some() {}
        }
        assert_eq!(*read.lock().unwrap(), [0, 1, 0, 1, 2, 2, 3, 3]);
        drop(bodies);
        assert_eq!(turns.turns.available_permits(), AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_gives_its_turn_away_and_a_slow_one_needs_none() {
        let turns = Turns::new();
        let stalling = |first: usize| {
            let first = stream::iter([Ok(Bytes::from(vec![0; first]))]);
            Box::pin(turns.take(first.chain(stream::pending()).boxed(), None))
        };
        let mut fast = [stalling(FAST), stalling(FAST)];
        for body in &mut fast {
            let _ = body.next().await;
            assert!(timeout(PATIENCE / 2, body.next()).await.is_err());
        }
        assert_eq!(turns.turns.available_permits(), 0);
        for body in &mut fast {
            assert!(timeout(PATIENCE * 2, body.next()).await.is_err());
        }
        assert_eq!(turns.turns.available_permits(), AT_ONCE);

        let mut slow = stalling(100);
        let _ = slow.next().await;
        assert!(timeout(PATIENCE_UNTIL_FAST * 2, slow.next()).await.is_err());
        assert_eq!(turns.turns.available_permits(), AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_body_needs_no_turn_and_a_large_one_shows_life_while_it_waits() {
        let turns = Turns::new();
        let read = Arc::default();
        let taken: Vec<_> = (0..AT_ONCE)
            .map(|_| Arc::clone(&turns.turns).try_acquire_owned().unwrap())
            .collect();
        let mut small = Box::pin(turns.take(body(0, 1, &read), Some(LARGE as u64)));
        assert!(timeout(Duration::from_millis(1), small.next()).await.is_ok());
        let mut large = Box::pin(turns.take(body(1, 3, &read), Some(LARGE as u64 + 1)));
        assert!(timeout(MOST_WAITING / 2, large.next()).await.is_err());
        assert_eq!(*read.lock().unwrap(), [0]);
        assert!(timeout(MOST_WAITING, large.next()).await.is_ok());
        assert!(
            timeout(MOST_WAITING / 2, large.next()).await.is_err(),
            "one piece, not the rest"
        );
        drop(taken);
        assert!(timeout(Duration::from_millis(1), large.next()).await.is_ok());
        assert_eq!(*read.lock().unwrap(), [0, 1, 1]);
    }

    #[tokio::test]
    async fn connections_are_kept_until_a_large_body_comes() {
        let turns = Turns::new();
        let is_closed = || {
            let mut headers = HeaderMap::new();
            turns.prepare(&mut headers);
            headers.contains_key(CONNECTION)
        };
        let small = stream::iter([Ok(Bytes::from_static(b"small"))]).boxed();
        assert!(Box::pin(turns.take(small, None)).next().await.is_some());
        assert!(!is_closed());
        let mut large = Box::pin(turns.take(body(0, 1, &Arc::default()), None));
        let _ = large.next().await;
        assert!(is_closed());
    }
}
