//! The running simulator: starting, asking, arming, stopping.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::bill::Bill;
use crate::calls::Call;
use crate::fault::Fault;
use crate::scenario::Scenario;
use crate::server;
use crate::state::Shared;

/// A running simulator. It stops when dropped.
///
/// It lives on a thread with a runtime of its own: a test that blocks its own runtime (waiting for a child process)
/// or pauses its clock does not stop the server.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    stopped: Option<oneshot::Receiver<()>>,
}

impl Sim {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound or no thread started.
    pub async fn start(scenario: Scenario) -> io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), scenario).await
    }

    /// Starts on this address, which must be a loopback one: the simulator hands out media and takes faults unasked.
    ///
    /// # Errors
    /// When the address is not loopback or cannot be bound, or no thread can be started.
    pub async fn start_on(addr: SocketAddr, scenario: Scenario) -> io::Result<Self> {
        if !addr.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the simulator listens on loopback addresses only (127.0.0.1 or ::1), not on {addr}"),
            ));
        }
        let listener = std::net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(scenario, format!("http://{addr}")));
        let (stop, stopping) = watch::channel(false);
        let (report, started) = oneshot::channel();
        let (finish, stopped) = oneshot::channel();
        let state = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("media-sim".to_owned())
            .spawn(move || {
                run(listener, state, stopping, report);
                // Nobody may be waiting.
                let _ = finish.send(());
            })?;
        started
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the simulator's thread ended at once")))?;
        Ok(Self {
            addr,
            shared,
            stop,
            stopped: Some(stopped),
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// What was charged so far; the same as `GET /_sim/bill`.
    #[must_use]
    pub fn bill(&self) -> Bill {
        crate::openai::batches::settle(&self.shared);
        self.shared.bill()
    }

    /// Arms a fault; the same as `POST /_sim/faults`.
    pub fn arm(&self, fault: Fault) {
        self.shared.faults.arm(fault);
    }

    /// The faults that have not struck yet.
    #[must_use]
    pub fn armed(&self) -> Vec<Fault> {
        self.shared.faults.armed()
    }

    /// The API requests so far, oldest first; a bounded ring.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.all()
    }

    /// Moves the simulator's clock ahead: buckets refill, tasks finish, links and quotas expire.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance_ms(by.as_millis() as u64);
    }

    /// Back to the state after the start; the same as `POST /_sim/reset`.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// The JSON that a client lays over the configuration of an instance of this provider type
    /// ("openai", "runware" or "forvo"); `None` for another type.
    #[must_use]
    pub fn overlay(&self, provider_type: &str) -> Option<serde_json::Value> {
        self.shared.overlay(provider_type)
    }

    /// The first key that its scenario has for this provider type: `sim-openai`, `sim-runware` or `sim-forvo` where it names
    /// none. `None` for another type.
    #[must_use]
    pub fn key(&self, provider_type: &str) -> Option<&str> {
        let scenario = &self.shared.scenario;
        match provider_type {
            "openai" => scenario.openai.keys.first().map(|key| key.key.as_str()),
            "runware" => scenario.runware.keys.first().map(|key| key.key.as_str()),
            "forvo" => scenario.forvo.keys.first().map(|key| key.key.as_str()),
            _ => None,
        }
    }

    /// Stops and waits until the port is free; connections are closed.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(stopped) = self.stopped.take() {
            // An error means that the thread is gone already.
            let _ = stopped.await;
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn run(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    report: oneshot::Sender<io::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = report.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let _ = report.send(Ok(()));
                server::serve(listener, shared, stopping).await;
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
}
