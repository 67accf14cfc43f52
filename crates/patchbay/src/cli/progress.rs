//! Work on this machine that takes a while: a bar on a terminal, and Ctrl-C.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Exit, Failure};
use crate::backup::Progress;

/// A bar on a terminal; elsewhere nothing.
#[derive(Default)]
pub struct Bar {
    shown: Mutex<Option<ProgressBar>>,
    is_stopped: Arc<AtomicBool>,
}

/// Does `work`, which blocks. SIGINT and SIGTERM ask it to stop and to leave nothing behind; a second one
/// ends the process as it is.
pub async fn watched<T: Send + 'static>(
    work: impl FnOnce(&Bar) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let bar = Bar::default();
    let is_stopped = Arc::clone(&bar.is_stopped);
    let mut done = tokio::task::spawn_blocking(move || work(&bar));
    loop {
        tokio::select! {
            done = &mut done => return Ok(done.context("the work panicked")??),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if is_stopped.swap(true, Ordering::Relaxed) {
            std::process::exit(Exit::Failure as i32);
        }
    }
}

impl Bar {
    fn replace(&self, bar: Option<ProgressBar>) {
        if let Some(former) = std::mem::replace(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner), bar) {
            former.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, bytes: Option<u64>) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let (bar, template) = match bytes {
            Some(bytes) => (ProgressBar::new(bytes), "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {eta}"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.replace(Some(bar));
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.shown.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(bytes);
        }
    }

    fn finish(&self) {
        self.replace(None);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}
