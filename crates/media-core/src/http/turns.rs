//! Large bodies over plain HTTP take turns, so that many of them in flight need no more memory than two.
//!
//! The HTTP library reads whatever the peer has ready, up to 400 KiB at once and three such pieces deep, keeps buffers
//! of that size for the life of a connection, and reqwest offers no bound. Over TLS that is harmless, because what is
//! ready is a record of 16 KiB. Over plain HTTP, which servers on this machine or nearby speak, a large body is always
//! ready as a whole, and 64 of them at once would take 80 MiB.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::transport::TransportError;
use crate::sync::lock;

type Piece = Result<Bytes, TransportError>;

/// Large bodies that are read at the same time: enough to keep a disk busy.
const AT_ONCE: usize = 2;
/// A body is fast once its pieces are this large.
const FAST: usize = 16 << 10;
/// How long a fast body may let us wait in all for each [`STRETCH`] of it. Long, because a busy machine lets it wait too.
const PATIENCE: Duration = Duration::from_secs(1);
const STRETCH: usize = 1 << 20;
/// How long any other may, for each piece. What is made while it is sent, such as speech, is found out by this and needs
/// no turn.
const PATIENCE_UNTIL_FAST: Duration = Duration::from_millis(20);
/// How long a body waits for its turn before it is read without one. What was paid for goes before memory: servers
/// commonly give up a client that takes nothing for a minute.
const MOST_WAITING: Duration = Duration::from_secs(45);
/// How often a body that waits says so, by an empty piece: our own limit for a silent answer is not for it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// After a piece of this size a connection's buffers are too large to be kept.
const LARGE: usize = 64 << 10;

/// Shared by all connections of a transport.
#[derive(Debug)]
pub(super) struct Turns {
    turns: Arc<Semaphore>,
    /// It keeps connections. Let go when a large body comes, and with it those that it kept and their grown buffers.
    keeping: Mutex<Option<reqwest::Client>>,
    /// It keeps none: beside a large body, opening another connection costs nothing.
    closing: reqwest::Client,
}

impl Turns {
    /// Of bodies that two clients bring, of which one keeps connections and one does not.
    pub(super) fn new(keeping: reqwest::Client, closing: reqwest::Client) -> Arc<Turns> {
        Arc::new(Turns {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            keeping: Mutex::new(Some(keeping)),
            closing,
        })
    }

    /// What to send by.
    pub(super) fn client(&self) -> reqwest::Client {
        lock(&self.keeping).as_ref().unwrap_or(&self.closing).clone()
    }

    /// The same pieces, read only when it is this body's turn, which lasts while they are worked on; empty ones before
    /// that. `length` is what the answer's head says of it, in bytes.
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
            patience: PATIENCE,
            stretch: 0,
            queued: None,
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
    /// What is left of [`PATIENCE`] for this stretch, and how much of the stretch came.
    patience: Duration,
    stretch: usize,
    queued: Option<Queued>,
    turn: Option<OwnedSemaphorePermit>,
}

/// A body's place in the queue for a turn.
struct Queued {
    turn: BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>,
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Unknown,
    Fast,
    /// Nothing is ready most of the time. It may become fast.
    Slow,
    /// Read without a turn to its end: it is small, or it waited long enough, or it stalled in its turn. To let that one
    /// wait again would keep the buffers that grew in its turn.
    Free,
}

impl Taking {
    async fn next(&mut self) -> Option<Piece> {
        if self.turn.is_none() && [Pace::Unknown, Pace::Fast].contains(&self.pace) && !self.may_read().await {
            return Some(Ok(Bytes::new()));
        }
        let piece = self.piece().await?;
        let length = piece.as_ref().map_or(0, Bytes::len);
        self.stretch += length;
        if self.stretch >= STRETCH {
            (self.stretch, self.patience) = (0, PATIENCE);
        }
        if length >= FAST && self.pace != Pace::Free {
            self.pace = Pace::Fast;
        }
        if length >= LARGE {
            *lock(&self.shared.keeping) = None;
        }
        Some(piece)
    }

    /// Waits in the queue, keeping its place there from call to call.
    async fn may_read(&mut self) -> bool {
        let turns = &self.shared.turns;
        let queued = self.queued.get_or_insert_with(|| Queued {
            turn: Arc::clone(turns).acquire_owned().boxed(),
            since: Instant::now(),
        });
        match timeout(SIGN_OF_LIFE, &mut queued.turn).await {
            Ok(turn) => self.turn = turn.ok(),
            Err(_) if queued.since.elapsed() < MOST_WAITING => return false,
            Err(_) => self.pace = Pace::Free,
        }
        self.queued = None;
        true
    }

    /// The next piece. A turn is given up when it is too long in coming.
    async fn piece(&mut self) -> Option<Piece> {
        let (patience, slower) = match self.pace {
            Pace::Unknown => (PATIENCE_UNTIL_FAST, Pace::Slow),
            Pace::Fast => (self.patience, Pace::Free),
            Pace::Slow | Pace::Free => return self.pieces.next().await,
        };
        let asked = Instant::now();
        if let Ok(piece) = timeout(patience, self.pieces.next()).await {
            self.patience = self.patience.saturating_sub(asked.elapsed());
            return piece;
        }
        self.turn = None;
        self.pace = slower;
        self.pieces.next().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn turns() -> Arc<Turns> {
        Turns::new(reqwest::Client::new(), reqwest::Client::new())
    }

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
        let turns = turns();
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
        let turns = turns();
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
        let turns = turns();
        let read = Arc::default();
        let taken: Vec<_> = (0..AT_ONCE)
            .map(|_| Arc::clone(&turns.turns).try_acquire_owned().unwrap())
            .collect();
        let mut small = Box::pin(turns.take(body(0, 1, &read), Some(LARGE as u64)));
        assert!(timeout(Duration::from_millis(1), small.next()).await.is_ok());
        let mut large = Box::pin(turns.take(body(1, 3, &read), Some(LARGE as u64 + 1)));
        let start = Instant::now();
        for _ in 0..3 {
            assert!(large.next().await.unwrap().unwrap().is_empty());
        }
        assert_eq!(start.elapsed(), SIGN_OF_LIFE * 3);
        assert_eq!(*read.lock().unwrap(), [0]);
        drop(taken);
        assert_eq!(large.next().await.unwrap().unwrap().len(), LARGE);
        assert_eq!(turns.turns.available_permits(), AT_ONCE - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_keeps_its_place_in_the_queue_and_is_read_without_a_turn_before_its_server_gives_up() {
        let turns = turns();
        let read = Arc::default();
        let mut taken: Vec<_> = (0..AT_ONCE)
            .map(|_| Arc::clone(&turns.turns).try_acquire_owned().unwrap())
            .collect();
        let mut first = Box::pin(turns.take(body(1, 3, &read), Some(LARGE as u64 + 1)));
        let mut second = Box::pin(turns.take(body(2, 3, &read), Some(LARGE as u64 + 1)));
        for _ in 0..3 {
            assert!(first.next().await.unwrap().unwrap().is_empty());
            assert!(second.next().await.unwrap().unwrap().is_empty());
        }
        taken.pop();
        assert!(second.next().await.unwrap().unwrap().is_empty());
        assert!(
            !first.next().await.unwrap().unwrap().is_empty(),
            "the first in the queue"
        );
        let start = Instant::now();
        while second.next().await.unwrap().unwrap().is_empty() {}
        assert_eq!(start.elapsed(), MOST_WAITING - SIGN_OF_LIFE * 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_in_its_turn_lets_others_read_and_goes_on_beside_them() {
        let turns = turns();
        let trickle = stream::repeat(())
            .then(async |()| {
                tokio::time::sleep(PATIENCE / 3).await;
                Ok(Bytes::from(vec![0; FAST]))
            })
            .boxed();
        let mut body = Box::pin(turns.take(trickle, Some(1 << 30)));
        for _ in 0..2 {
            let _ = body.next().await;
        }
        assert_eq!(turns.turns.available_permits(), AT_ONCE - 1);
        for _ in 0..2 {
            let _ = body.next().await;
        }
        let _all = Arc::clone(&turns.turns)
            .try_acquire_many_owned(AT_ONCE as u32)
            .unwrap();
        assert!(
            !body.next().await.unwrap().unwrap().is_empty(),
            "it waits for no other turn"
        );
    }

    #[tokio::test]
    async fn connections_are_kept_until_a_large_body_comes() {
        let turns = turns();
        let is_kept = || lock(&turns.keeping).is_some();
        let small = stream::iter([Ok(Bytes::from_static(b"small"))]).boxed();
        assert!(Box::pin(turns.take(small, None)).next().await.is_some());
        assert!(is_kept());
        let mut large = Box::pin(turns.take(body(0, 1, &Arc::default()), None));
        let _ = large.next().await;
        assert!(!is_kept());
    }
}
