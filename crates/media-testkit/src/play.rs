//! One play: a provider between a scripted wire, a journal and an empty folder.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media_core::http::{MemoryTransport, Recorded, Scripted, Wiring};
use media_core::{AttemptKey, Client, Connection, Error, Journal, MediaProvider, MediaRequest, MediaResult};
use tempfile::TempDir;
use url::Url;

use crate::cases::Cases;
use crate::exchange::Exchange;
use crate::fault::{Fault, Trouble};
use crate::journal::Notes;
use crate::mangle::places;
use media_core::sync::lock;

pub(crate) type Make<'a> = &'a dyn Fn(Wiring) -> Arc<dyn MediaProvider>;

/// Longer than any retry; in paused time it costs nothing.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A call that reached the wire.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Method and address, without the key.
    pub(crate) shown: String,
    /// Which recorded call it is.
    pub(crate) exchange: Option<usize>,
    pub(crate) paid: bool,
    pub(crate) fault: Option<Fault>,
    /// Values in the JSON of the recorded answer.
    pub(crate) places: usize,
    /// The purchases that the journal knew of at that moment.
    pub(crate) announced: Vec<Vec<AttemptKey>>,
}

/// A provider ready to play.
pub(crate) struct Play {
    pub(crate) provider: Arc<dyn MediaProvider>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) results: Vec<MediaResult>,
    /// It came to an end.
    pub(crate) ended: bool,
    transport: MemoryTransport,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    folder: Option<TempDir>,
}

impl Play {
    pub(crate) fn new(
        make: Make<'_>,
        cases: &Cases,
        exchanges: &[Exchange],
        trouble: Option<Trouble>,
    ) -> Play {
        let arrivals = Arc::<Mutex<Vec<Arrival>>>::default();
        let notes = Arc::<Notes>::default();
        let (log, journal, exchanges) = (Arc::clone(&arrivals), Arc::clone(&notes), exchanges.to_vec());
        let (base, key) = (Url::parse(&cases.base_url), cases.key.clone());
        let transport = MemoryTransport::new(move |request| {
            let mut log = lock(&log);
            let fits = |exchange: &&Exchange| base.as_ref().is_ok_and(|base| exchange.fits(base, request));
            let exchange = exchanges.iter().find(fits);
            let fault = trouble
                .filter(|trouble| trouble.hits(log.len()))
                .map(|trouble| trouble.fault);
            let recorded =
                exchange.map_or_else(|| Scripted::new(404, "{}"), |exchange| exchange.answer(request));
            log.push(Arrival {
                shown: format!("{} {}", request.method(), request.uri()).replace(&key, "KEY"),
                exchange: exchanges.iter().position(|exchange| fits(&exchange)),
                paid: exchange.is_some_and(|exchange| exchange.paid),
                fault,
                places: match &recorded.answer {
                    Ok((_, _, pieces)) => places(&pieces.concat()),
                    Err(_) => 0,
                },
                announced: journal.purchases(),
            });
            fault.map_or(recorded.clone(), |fault| fault.instead_of(&recorded, &key))
        });
        let mut wiring = Wiring::over(Arc::new(transport.clone()));
        wiring.journal = Arc::clone(&notes) as Arc<dyn Journal>;
        let folder = tempfile::tempdir().ok();
        Play {
            provider: make(wiring),
            notes,
            results: Vec::new(),
            ended: true,
            transport,
            arrivals,
            folder,
        }
    }

    /// The requests with their outputs in the folder of the play.
    pub(crate) fn place(&self, request: &MediaRequest) -> MediaRequest {
        let mut placed = request.clone();
        if let Some(folder) = &self.folder {
            placed.output_path = folder.path().join(&request.output_path);
        }
        placed
    }

    pub(crate) async fn run(&mut self, requests: &[MediaRequest]) {
        let client = Client::of(Arc::clone(&self.provider));
        let requests: Vec<_> = requests.iter().map(|request| self.place(request)).collect();
        let mut results = client.generate_batch(requests);
        let ended = tokio::time::timeout(PATIENCE, async {
            while let Some(result) = results.next().await {
                self.results.push(result);
            }
        })
        .await;
        self.ended = ended.is_ok();
    }

    pub(crate) async fn connect(&mut self) -> Option<Result<Connection, Error>> {
        tokio::time::timeout(PATIENCE, self.provider.test_connection())
            .await
            .ok()
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.arrivals).clone()
    }

    pub(crate) fn sent(&self) -> Vec<Recorded> {
        self.transport.sent()
    }

    /// The files in the folder, hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names = self
            .folder
            .as_ref()
            .map(|folder| names_in(folder.path()))
            .unwrap_or_default();
        names.sort();
        names
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
