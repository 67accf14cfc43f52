//! What the outside asks of the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGINT, SIGTERM.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR2: start the program that is now at this program's path in place of this process.
    Replace,
}

impl Signals {
    pub fn new() -> io::Result<Signals> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
        })
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.user.recv() => Asked::Replace,
        }
    }

    /// Waits for SIGINT or SIGTERM; what else is asked meanwhile has no meaning then. Cancel safe.
    pub async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }

    /// Waits for SIGINT: somebody is impatient. Cancel safe.
    pub async fn interrupt(&mut self) {
        self.interrupt.recv().await;
    }
}
