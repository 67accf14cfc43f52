//! NATS.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::account::command;
use crate::process::Process;
use crate::sweeper::Sweeper;
use crate::{free_port, programs};

/// What the log says once clients are let in.
const READY: &str = "Server is ready";

/// Attempts to find a port that nobody takes between our look and the server's start.
const PORTS_TRIED: u32 = 5;

/// What a test can choose.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// With streams and key-value stores, kept in the server's folder.
    pub jetstream: bool,
}

/// A server without authentication. Dropping it kills it.
#[derive(Debug)]
pub struct Nats {
    // First, so that it has ended when its folder goes.
    running: Mutex<Option<Process>>,
    folder: TempDir,
    _sweeper: Sweeper,
    options: NatsOptions,
    port: u16,
}

impl Nats {
    /// # Panics
    /// When it cannot be started, as [`Nats::start_again`].
    pub fn start(options: NatsOptions) -> Nats {
        let folder = tempfile::Builder::new().prefix("nats-").tempdir().expect("a temporary folder");
        let sweeper = Sweeper::of(folder.path());
        let mut server = Nats { running: Mutex::new(None), folder, _sweeper: sweeper, options, port: 0 };
        for attempt in 1.. {
            server.port = free_port();
            match server.launch() {
                Ok(process) => {
                    server.running = Mutex::new(Some(process));
                    break;
                }
                Err(reason) => assert!(attempt < PORTS_TRIED, "NATS: {reason}"),
            }
        }
        server
    }

    /// Ends it in order.
    pub fn stop(&self) {
        if let Some(process) = self.running().take() {
            process.end(Signal::TERM);
        }
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        if let Some(process) = self.running().take() {
            process.end(Signal::KILL);
        }
    }

    /// Starts it again on the same port and data.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_again(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "it is stopped first");
        *running = Some(self.launch().unwrap_or_else(|reason| panic!("NATS: {reason}")));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn launch(&self) -> Result<Process, String> {
        let mut server = command(&programs::nats(), None, "KILL");
        server.args(["--addr", "127.0.0.1", "--port", &self.port.to_string()]);
        if self.options.jetstream {
            server.arg("--jetstream").arg("--store_dir").arg(self.folder.path());
        }
        Process::start(server, READY, Signal::KILL)
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
