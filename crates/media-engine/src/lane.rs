//! One lane: a thread reads the list and feeds the client, a task takes the results. What is handed over in remote batches
//! is had in a second part, batch by batch as they come to their end.

use std::sync::{Arc, Mutex};

use media_core::{Client, Delivery, Error, ErrorKind};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::book::Book;
use crate::feed::{ORDERS_AHEAD, feed, tell_of_the_rest};
use crate::handed::{Awaited, HandedOver};
use crate::line::Line;
use crate::resume::since;
use crate::run::{Share, Shared};
use crate::sync::lock;

/// Which rows of its share a lane goes through.
#[derive(Clone)]
pub(crate) enum Part {
    /// All of them, each to its end.
    Whole,
    /// All of them; what goes into a remote batch, or is in one, is only noted.
    HandingOver(Arc<HandedOver>),
    /// Those that wait for the batch of this number.
    OfBatch(Arc<Awaited>, usize),
}

/// Sees to one share of the list.
pub(crate) async fn lane(shared: Arc<Shared>, share: Share, client: Client) {
    if !client.provider().info().capabilities.remote_batch {
        return go_through(&shared, &share, &client, Part::Whole).await;
    }
    let handed = Arc::new(HandedOver::default());
    let part = Part::HandingOver(Arc::clone(&handed));
    go_through(&shared, &share, &client, part).await;
    let awaited = || {
        shared.folder.ledger().flush()?;
        handed.by_batch(&shared.folder.ledger().reader()?, &share.provider)
    };
    match awaited() {
        Ok(awaited) => collect(&shared, &share, &client, Arc::new(awaited)).await,
        Err(error) => shared.give_up(error),
    }
}

/// Has what was handed over, one batch after the other in the order in which they end.
async fn collect(shared: &Arc<Shared>, share: &Share, client: &Client, awaited: Arc<Awaited>) {
    let mut ends = JoinSet::new();
    for (number, batch) in awaited.batches.iter().cloned().enumerate() {
        let provider = Arc::clone(client.provider());
        ends.spawn(async move {
            provider.wait_for_batch(&batch.key, since(batch.sent_ms)).await;
            number
        });
    }
    while let Some(ended) = ends.join_next().await {
        if let Ok(number) = ended
            && !shared.stop.is_asked()
        {
            go_through(shared, share, client, Part::OfBatch(Arc::clone(&awaited), number)).await;
        }
    }
    let rest = awaited.batches.len();
    if !awaited.is_empty() && !shared.stop.is_asked() {
        go_through(shared, share, client, Part::OfBatch(Arc::clone(&awaited), rest)).await;
    }
    if !awaited.is_empty() {
        let (shared, share) = (Arc::clone(shared), share.clone());
        let told = tokio::task::spawn_blocking(move || {
            if let Err(error) = tell_of_the_rest(&shared, &share, &awaited) {
                shared.give_up(error);
            }
        });
        let _ = told.await;
    }
}

/// Goes through the list once.
async fn go_through(shared: &Arc<Shared>, share: &Share, client: &Client, part: Part) {
    let book = Arc::new(Mutex::new(Book::default()));
    let (orders, lane_orders) = mpsc::channel(ORDERS_AHEAD);
    let handed = match &part {
        Part::HandingOver(handed) => Some(Arc::clone(handed)),
        Part::Whole | Part::OfBatch(..) => None,
    };
    let mut deliveries = match &handed {
        Some(_) => client.hand_over(lane_orders),
        None => client.run(lane_orders),
    };
    let feeder = {
        let (shared, share, client) = (Arc::clone(shared), share.clone(), client.clone());
        let book = Arc::clone(&book);
        on_a_thread(move || {
            if let Err(error) = feed(&shared, &share, &client, &part, &book, orders) {
                shared.give_up(error);
            }
        })
    };
    let feeder = match feeder {
        Ok(feeder) => feeder,
        Err(error) => {
            let failure = Error::new(ErrorKind::Storage, "the program's threads cannot be started");
            return shared.give_up(failure.because(error));
        }
    };
    while let Some(Delivery { tag, result }) = deliveries.recv().await {
        let Some(pending) = lock(&book).take(tag) else {
            continue;
        };
        if let Some(handed) = &handed
            && matches!(&result.outcome, Err(error) if error.kind() == ErrorKind::Pending)
        {
            let id = &pending.wish.subject.id;
            shared.folder.ledger().handed_over(id);
            handed.note(id);
            for wish in lock(&book).handed_over(&pending) {
                handed.note_equal(&wish.subject.id, id);
            }
            continue;
        }
        let line = shared.delivered(&pending, &result);
        let waiting = lock(&book).made(&pending, &line);
        if !waiting.is_empty() {
            let shared = Arc::clone(shared);
            // Copies of files are work for another thread.
            let told = tokio::task::spawn_blocking(move || {
                for wish in waiting {
                    shared.share(&line, &wish);
                }
            });
            let _ = told.await;
        }
    }
    // A feeder that broke down has dropped its sender, and what it had begun is told below.
    let _ = feeder.await;
    // Every order is answered, so what is left here was lost by a panic, perhaps after it was paid for.
    let rest = std::mem::take(&mut *lock(&book));
    let (lost, waiting) = rest.left();
    for pending in lost {
        let line = Line::lost(&pending.wish.subject, shared.folder.is_simulated());
        shared.report(&line, &pending.wish.output, None);
    }
    for wish in waiting {
        let line = Line::not_begun(&wish.subject, shared.folder.is_simulated());
        shared.report(&line, &wish.output, None);
    }
}

/// Does work on a thread of its own that can wait for the runtime; the receiver hears when it has ended. Feeders wait for as
/// long as a lane goes on, so they take none of the few threads that everything else takes turns on.
fn on_a_thread(work: impl FnOnce() + Send + 'static) -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, hear) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("feeder".to_owned());
    thread.spawn(move || {
        let _within = runtime.enter();
        // Dropped by a panic too.
        let _ended = ended;
        work();
    })?;
    Ok(hear)
}
