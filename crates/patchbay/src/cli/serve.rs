//! `patchbay serve`

use std::io::Write;

use anyhow::Context;
use serde_json::json;
use server::settings::{DialectName, ListenSettings};
use tokio::signal::unix::{SignalKind, signal};

use super::common::Common;
use super::failure::Failure;
use crate::gateway::{Gateway, Options};
use services::GatewayConfig;

/// Run the gateway in the foreground.
///
/// SIGINT and SIGTERM drain and stop it, SIGHUP reloads the configuration.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  patchbay serve\n  patchbay serve --listen aleph=127.0.0.1:0 --listen comis=127.0.0.1:4766"
)]
pub struct Serve {
    /// Listen here instead of at the configured addresses; port 0 picks one
    #[arg(long, value_name = "DIALECT=HOST:PORT", value_parser = listener)]
    listen: Vec<ListenSettings>,
}

fn listener(text: &str) -> Result<ListenSettings, String> {
    let (dialect, address) =
        text.split_once('=').ok_or("must be DIALECT=HOST:PORT, for instance aleph=127.0.0.1:18790")?;
    let dialect = DialectName::parse(dialect).ok_or_else(|| format!("`{dialect}` is none of aleph, comis, argent"))?;
    let address = address.replacen("localhost:", "127.0.0.1:", 1);
    let address = address.parse().map_err(|_| format!("`{address}` is not an address and a port"))?;
    Ok(ListenSettings { dialect, address, tls: None })
}

impl Serve {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let home = common.home()?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let gateway = Gateway::start(Options { home, config: common.config.clone(), log: common.log_level() }).await?;
        let listeners = (!self.listen.is_empty()).then_some(self.listen);
        let running = gateway.serve(listeners).await?;
        let dashboard = running
            .comis
            .as_ref()
            .or(running.aleph.as_ref())
            .map(|url| format!("{}/app/", url.replacen("wss://", "https://", 1).replacen("ws://", "http://", 1)));
        let ready = json!({
            "aleph": running.aleph, "comis": running.comis, "argent": running.argent,
            "dashboard": dashboard, "pid": running.pid,
        });
        // The one line on stdout: programs wait for it.
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "ready {ready}").and_then(|()| stdout.flush()).context("stdout is closed")?;
        drop(stdout);
        let reason = loop {
            tokio::select! {
                _ = interrupt.recv() => break "gateway stopping",
                _ = terminate.recv() => break "gateway stopping",
                _ = hangup.recv() => match gateway.configuration.reload().await {
                    Ok(done) => tracing::info!(changed = ?done.changed_keys, "the configuration was reloaded"),
                    Err(error) => tracing::error!(%error, "the configuration was not reloaded"),
                },
            }
        };
        tracing::info!("stopping: no new work is accepted, what runs may finish");
        tokio::select! {
            () = gateway.stop(reason) => {}
            _ = interrupt.recv() => tracing::warn!("stopped at once; unfinished runs go on after the next start"),
        }
        Ok(())
    }
}
