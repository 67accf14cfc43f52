//! Logs: to stderr, for people on a terminal, as JSON lines otherwise.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging at `level`; `PATCHBAY_LOG` wins over it. Only the first call has an effect.
pub fn start(level: &str) {
    let wanted = std::env::var("PATCHBAY_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = filter(&wanted);
    let (filter, handle) = reload::Layer::new(filter);
    if LEVEL.set(handle).is_err() {
        return;
    }
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry.with(lines.with_target(false)).init();
    } else {
        registry.with(lines.json().flatten_event(true).with_current_span(true).with_span_list(false)).init();
    }
}

/// Changes what is logged from now on.
pub fn set_level(level: &str) {
    if std::env::var_os("PATCHBAY_LOG").is_some() {
        return;
    }
    if let Some(handle) = LEVEL.get()
        && let Err(error) = handle.reload(filter(level))
    {
        tracing::warn!(%error, "the log level could not be changed");
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}
