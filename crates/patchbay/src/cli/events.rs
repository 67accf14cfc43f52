//! `patchbay events`

use model::Pattern;
use tokio::signal::unix::{SignalKind, signal};

use super::common::{Common, TargetArgs};
use super::failure::Failure;
use super::output;
use super::watch::{Patience, Watch};

/// Follow what happens in the gateway, one JSON a line.
///
/// A restart of the gateway does not end it: it goes on behind the last event that it printed. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay events\n  \
    patchbay events 'agent.*' 'session.*'\n  \
    patchbay events 'agent.*' --after 1200 | jq .data")]
pub struct Events {
    /// Topics, `*` for one segment or the rest
    #[arg(default_value = "*")]
    patterns: Vec<String>,
    /// Begin with the stored events behind this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<u64>,
    #[command(flatten)]
    target: TargetArgs,
}

impl Events {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        for pattern in &self.patterns {
            Pattern::parse(pattern).map_err(Failure::usage)?;
        }
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let target = common.target(&self.target)?;
        let mut watch = Watch::open(target, self.patterns, self.after, Patience::Endless).await?;
        loop {
            tokio::select! {
                event = watch.next() => output::line(event?.raw.get())?,
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        watch.close().await;
        Ok(())
    }
}
