//! One lane: a thread reads the list and feeds the client, a task takes the results. What is handed over in remote batches
//! is had in a second part, batch by batch as they come to their end.

use std::sync::{Arc, Mutex};

use media_core::{Client, Delivery, Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::book::{Book, Told};
use crate::feed::{ORDERS_AHEAD, feed, still_in_batch};
use crate::handed::{Handed, HandedOver};
use crate::line::Line;
use crate::resume::since;
use crate::run::{Share, Shared};
use media_core::sync::lock;

/// What a lane goes through.
pub(crate) enum Part {
    /// The list. What goes into a remote batch, or is in one, is only noted.
    List(Arc<HandedOver>),
    /// What was handed over in a batch that is over by now.
    Batch(Vec<Handed>),
}

/// Sees to one share of the list.
pub(crate) async fn lane(shared: Arc<Shared>, share: Share, client: Client) {
    let handed = Arc::new(HandedOver::default());
    go_through(&shared, &share, &client, Part::List(Arc::clone(&handed))).await;
    if !handed.is_empty()
        && let Err(error) = collect(&shared, &share, &client, &handed).await
    {
        shared.give_up(error);
    }
}

/// Has what was handed over, one batch after the other in the order in which they end.
async fn collect(shared: &Arc<Shared>, share: &Share, client: &Client, handed: &HandedOver) -> Result<()> {
    let ledger = shared.folder.ledger();
    ledger.flush()?;
    let mut ends = JoinSet::new();
    let mut open = Vec::new();
    {
        let reader = ledger.reader()?;
        for batch in reader.remote_batches()? {
            // Another list may have batches of its own.
            if batch.provider != share.provider || !handed.has_any(&reader, &batch.key, &batch.provider)? {
                continue;
            }
            open.push(batch.key.clone());
            let provider = Arc::clone(client.provider());
            ends.spawn(async move {
                provider.wait_for_batch(&batch.key, since(batch.sent_ms)).await;
                batch.key
            });
        }
    }
    while let Some(ended) = ends.join_next().await {
        let Ok(key) = ended else { continue };
        if shared.stop.is_asked() {
            break;
        }
        let rows = handed.take(&ledger.reader()?, &key, &share.provider)?;
        shared.stats.batch_over(&share.provider, rows.len());
        go_through(shared, share, client, Part::Batch(rows)).await;
    }
    let reader = ledger.reader()?;
    for key in open {
        for row in handed.take(&reader, &key, &share.provider)? {
            still_in_batch(shared, &reader, &row, share)?;
        }
    }
    Ok(())
}

/// Goes through one part.
async fn go_through(shared: &Arc<Shared>, share: &Share, client: &Client, part: Part) {
    let book = Arc::new(Mutex::new(Book::default()));
    let (orders, lane_orders) = mpsc::channel(ORDERS_AHEAD);
    let handed = match &part {
        Part::List(handed) => Some(Arc::clone(handed)),
        Part::Batch(_) => None,
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
        let Some(mut pending) = lock(&book).take(tag) else {
            continue;
        };
        // Where the ledger was lost, another take may have been found than was asked for.
        pending.wish.planned.take = result.take;
        let is_in_batch = client.info().capabilities.remote_batch_seconds.is_some()
            && matches!(&result.outcome, Err(error) if error.kind() == ErrorKind::Pending);
        if let Some(handed) = handed.as_ref().filter(|_| is_in_batch) {
            let id = &pending.wish.subject.id;
            shared.folder.ledger().handed_over(id);
            handed.note(id, pending.equal, false);
            shared.stats.hand_over(&share.provider);
            handed.wait_for(id, lock(&book).pass_on(&pending));
            continue;
        }
        let told = Told {
            line: shared.delivered(&pending, &result),
            provenance: result.provenance,
        };
        let waiting = lock(&book).made(&pending, &told);
        if !waiting.is_empty() {
            let sharing = Arc::clone(shared);
            // Copies of files are work for another thread.
            let shared_out = tokio::task::spawn_blocking(move || {
                // The rows are noted since they wait; before they have files that has to be on disk.
                if let Err(error) = sharing.folder.ledger().flush() {
                    return sharing.give_up(error);
                }
                for wish in waiting {
                    sharing.share(&told, &wish);
                }
            });
            if shared_out.await.is_err() {
                shared.give_up(broken_down("copied a file for equal rows"));
            }
        }
    }
    if feeder.await.is_err() {
        // What it had begun is told below.
        shared.give_up(broken_down("read the list"));
    }
    // Every order is answered, so what is left here was lost by a panic, perhaps after it was paid for.
    let rest = std::mem::take(&mut *lock(&book));
    let (lost, waiting) = rest.left();
    for pending in lost {
        let line = Line::lost(&pending.wish.subject);
        shared.report(&line, &pending.wish.output, None);
    }
    for wish in waiting {
        let line = Line::not_begun(&wish.subject);
        shared.report(&line, &wish.output, None);
    }
}

/// What a panic, which the log has, ends a run with.
fn broken_down(doing: &str) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        format!("the program failed while it {doing}"),
    )
}

/// Does work on a thread of its own that can wait for the runtime; the receiver hears when it has ended, or broken down. Feeders wait for as
/// long as a lane goes on, so they take none of the few threads that everything else takes turns on.
fn on_a_thread(work: impl FnOnce() + Send + 'static) -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, hear) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("feeder".to_owned());
    thread.spawn(move || {
        let _within = runtime.enter();
        work();
        // A panic drops it, which is heard too. Nobody may be listening any more.
        let _ = ended.send(());
    })?;
    Ok(hear)
}
