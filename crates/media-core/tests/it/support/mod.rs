//! A small provider with a recording journal and small media: what all tests of the seam are made with.

mod fake;
mod media;
mod recorder;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use media_core::http::{Auth, Http, HttpOptions, MemoryTransport, Recorded, Resend, Scripted, Wiring};
use media_core::limit::Units;
use media_core::{
    ApiKey, Capabilities, Client, ErrorKind, Format, Journal, MediaKind, MediaRequest, MediaResult,
    ProviderInfo, ServiceSettings, Span, Staging, Stop,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::fake::{Fake, Words};
pub(crate) use self::media::{large_png, png, wav};
pub(crate) use self::recorder::{Recorder, name_of};

pub(crate) const KEY: &str = "sk-test-0123456789abcdef";
pub(crate) const BASE: &str = "https://api.acme.test/v1";
pub(crate) const FILE: &str = "https://files.cdn.test/one.png";

/// How the provider gets its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A paid call answers with the bytes.
    Media,
    /// A paid call answers with base64 in JSON.
    Base64,
    /// A paid call answers with a link, or with an error of the one task.
    Link,
    /// A paid call answers with an id; a free one, perhaps counted, with the link.
    Poll { serving: bool, counted: bool },
    /// Free counted calls, first for the link, then for the file.
    Word,
}

/// Everything a test may want to change before it makes its client.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) transport: MemoryTransport,
    pub(crate) journal: Arc<Recorder>,
    pub(crate) wiring: Wiring,
    pub(crate) mode: Mode,
    pub(crate) resend: Resend,
    pub(crate) capabilities: Capabilities,
    pub(crate) settings: ServiceSettings,
    pub(crate) units: Units,
    pub(crate) calls: u32,
    pub(crate) checks: Arc<AtomicUsize>,
}

impl Lab {
    pub(crate) fn new(
        mode: Mode,
        handler: impl Fn(&http::Request<Bytes>) -> Scripted + Send + Sync + 'static,
    ) -> Lab {
        Lab::with(mode, Arc::default(), handler)
    }

    pub(crate) fn with(
        mode: Mode,
        journal: Arc<Recorder>,
        handler: impl Fn(&http::Request<Bytes>) -> Scripted + Send + Sync + 'static,
    ) -> Lab {
        let transport = MemoryTransport::new(handler);
        let mut wiring = Wiring::over(Arc::new(transport.clone()));
        wiring.journal = Arc::clone(&journal) as Arc<dyn Journal>;
        let free = mode == Mode::Word;
        let mut settings = ServiceSettings::default();
        settings.retry.first_delay = Span(Duration::from_millis(100));
        Lab {
            dir: tempfile::tempdir().unwrap(),
            transport,
            journal,
            wiring,
            mode,
            resend: Resend::Never,
            capabilities: Capabilities {
                batch_supported: false,
                max_batch: 1,
                recoverable: false,
                resend_seconds: None,
                free,
                candidates: false,
                remote_batch_seconds: None,
            },
            settings,
            units: Units::default(),
            calls: if free { 2 } else { 1 },
            checks: Arc::default(),
        }
    }

    pub(crate) fn script(mode: Mode, answers: Vec<Scripted>) -> Lab {
        let answers = Mutex::new(answers.into_iter());
        Lab::new(mode, move |_| {
            answers
                .lock()
                .unwrap()
                .next()
                .unwrap_or_else(|| Scripted::new(599, "nothing more was expected"))
        })
    }

    pub(crate) fn same_key(mut self, window: Duration) -> Lab {
        self.resend = Resend::SameKey { window };
        self
    }

    pub(crate) fn concurrency(mut self, count: usize) -> Lab {
        self.settings.limits.concurrency = NonZeroUsize::new(count).unwrap();
        self
    }

    pub(crate) fn batches(mut self, most: usize) -> Lab {
        self.capabilities.batch_supported = true;
        self.capabilities.max_batch = most;
        self
    }

    pub(crate) fn staging_folder(&mut self) -> PathBuf {
        let folder = self.dir.path().join(".media");
        self.wiring.staging = Staging::Folder(folder.as_path().into());
        folder
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.wiring.stop
    }

    pub(crate) fn client(&self) -> Client {
        let formats = BTreeMap::from([
            (MediaKind::Image, vec![Format::Png, Format::Jpeg]),
            (MediaKind::Audio, vec![Format::Wav]),
        ]);
        let http = Http::new(HttpOptions {
            name: "acme".into(),
            base_url: BASE.parse().unwrap(),
            key: Some(ApiKey::new(KEY)),
            auth: Auth::Bearer,
            headers: HeaderMap::new(),
            settings: self.settings.clone(),
            judge: Arc::new(Words),
            wiring: self.wiring.clone(),
        });
        Client::new(Fake {
            info: ProviderInfo {
                name: "acme".into(),
                provider: "acme".into(),
                formats,
                capabilities: self.capabilities,
            },
            http,
            mode: self.mode,
            resend: self.resend,
            units: self.units.clone(),
            calls: self.calls,
            checks: Arc::clone(&self.checks),
        })
        .in_project("test")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn image(&self, name: &str) -> MediaRequest {
        MediaRequest::image(format!("a picture of {name}"), self.path(name))
    }

    pub(crate) fn images(&self, count: usize) -> Vec<MediaRequest> {
        (0..count).map(|i| self.image(&format!("{i:05}.png"))).collect()
    }

    pub(crate) async fn generate(&self, request: MediaRequest) -> MediaResult {
        self.client().generate(request).await
    }

    pub(crate) fn sent(&self) -> Vec<Recorded> {
        self.transport.sent()
    }

    /// The paths that were asked for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.sent()
            .iter()
            .map(|sent| sent.head.uri().path().to_owned())
            .collect()
    }

    /// The attempt keys that were sent, in order, calls without one left out.
    pub(crate) fn keys(&self) -> Vec<String> {
        let key = |sent: &Recorded| Some(sent.head.headers().get("x-key")?.to_str().unwrap().to_owned());
        self.sent().iter().filter_map(key).collect()
    }

    /// Every file below the folder, hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        files_below(self.dir.path())
    }
}

pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    names
}

/// The number of tasks in the body of a call.
pub(crate) fn tasks_in(body: &Bytes) -> usize {
    serde_json::from_slice::<Vec<Value>>(body).map_or(0, |tasks| tasks.len())
}

/// An answer to a batch call: a link for each task.
pub(crate) fn links_for(request: &http::Request<Bytes>) -> Scripted {
    let tasks = vec![json!({"url": FILE}); tasks_in(request.body())];
    Scripted::new(200, json!({"tasks": tasks}).to_string())
}

pub(crate) fn link() -> Scripted {
    Scripted::new(200, json!({"url": FILE}).to_string())
}

/// Kind and charge of a failure.
pub(crate) fn failure(result: &MediaResult) -> (ErrorKind, media_core::Charge) {
    let error = result.outcome.as_ref().expect_err("it should have failed");
    (
        error.kind(),
        error
            .charge()
            .expect("a result always says what it may have cost"),
    )
}

/// The times between sends.
pub(crate) fn gaps(sent: &[Recorded]) -> Vec<Duration> {
    sent.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}
