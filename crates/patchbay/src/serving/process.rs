//! One process: its sockets, and the gateway that is behind them at the moment.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::json;
use server::settings::ListenSettings;
use server::{Bound, Connections, Inherited};
use services::{GatewayConfig, Models};
use store::Store;

use super::activation;
use super::notify::Notify;
use super::replacement::Replacement;
use super::signals::{Asked, Signals};
use super::store::{Patience, Waiting, is_away, may_begin_again};
use crate::compose;
use crate::gateway::{Gateway, Left};
use crate::handover::{Candidate, Desk, Offer, Outcome};
use crate::home::{Home, Running};
use crate::prepared::Prepared;

/// Wait after the database went away in the middle of a start.
const BEGIN_AGAIN: Duration = Duration::from_millis(250);

/// A gateway and the connections to it.
pub struct Active {
    gateway: Gateway,
    connections: Connections,
}

/// What a start came to.
pub enum Started {
    Serving(Active),
    /// Told to stop before there was a gateway.
    Stopped,
    /// Another process serves.
    Replaced,
}

/// How serving ended.
enum End {
    Over,
    /// Another gateway is to be started in this process.
    Again,
}

pub struct Process {
    pub(super) prepared: Prepared,
    pub(super) bound: Vec<Bound>,
    /// The listeners come from the command line.
    pub(super) from_flags: bool,
    signals: Signals,
    notify: Notify,
    replacement: Replacement,
    desk: Option<Desk>,
    /// The `ready` line was printed: programs that wait for it expect one.
    is_announced: bool,
}

impl Process {
    pub fn new(prepared: Prepared, signals: Signals, notify: Notify, replacement: Replacement) -> Process {
        Process {
            prepared,
            bound: Vec::new(),
            from_flags: false,
            signals,
            notify,
            replacement,
            desk: None,
            is_announced: false,
        }
    }

    /// Takes all addresses before there is a gateway: from here on clients wait instead of being refused.
    pub fn bind(&mut self, listen: Vec<ListenSettings>, passed: Vec<Inherited>) -> anyhow::Result<()> {
        let settings = self.prepared.live.current();
        self.from_flags = !listen.is_empty();
        let listeners = if self.from_flags { listen } else { settings.listen.clone() };
        let adopted = server::adopt(&listeners, passed, settings.auth.required);
        let (bound, unused) = adopted.map_err(|error| match self.prepared.home.running() {
            Some(_) if error.is_taken() => second(&self.prepared).context(error),
            _ => error.into(),
        })?;
        activation::refuse_unused(&unused)?;
        self.bound = bound;
        Ok(())
    }

    pub async fn serve(mut self, mut started: Started) -> anyhow::Result<()> {
        loop {
            started = match started {
                Started::Serving(active) => match self.attend(active).await {
                    End::Over => break,
                    End::Again => self.start(Patience::ForAnyone).await?,
                },
                Started::Stopped | Started::Replaced => break,
            };
        }
        if let Some(desk) = self.desk.take() {
            desk.close().await;
        }
        Ok(())
    }

    /// Makes a gateway on the store, and waits for the store if need be.
    pub async fn start(&mut self, patience: Patience) -> anyhow::Result<Started> {
        // A file has a lock of its own; a database elsewhere may have to be waited for.
        let is_file = compose::store_is_file(&self.prepared.live.current());
        if !is_file {
            self.open_desk();
        }
        loop {
            let store = match self.obtain(patience).await? {
                Ok(store) => store,
                Err(ended) => return Ok(ended),
            };
            match self.begin(self.prepared.models()?, store).await {
                Ok(gateway) => {
                    self.open_desk();
                    return Ok(Started::Serving(self.accept(gateway)?));
                }
                Err(error) if !is_file && may_begin_again(&error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the database went away while the gateway was starting"
                    );
                    tokio::time::sleep(BEGIN_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The store, once it is there; or what came in between.
    async fn obtain(&mut self, patience: Patience) -> anyhow::Result<Result<Arc<dyn Store>, Started>> {
        let opened = loop {
            let Self { prepared, bound, notify, signals, desk, .. } = self;
            let waiting = Waiting { prepared, bound, notify, patience };
            let mut candidate = tokio::select! {
                opened = waiting.open() => break opened,
                () = signals.stop() => return Ok(Err(Started::Stopped)),
                candidate = candidate(desk) => candidate,
            };
            match self.release(&mut candidate).await {
                Some(Outcome::Replaced) => return Ok(Err(Started::Replaced)),
                Some(Outcome::GivenUp(reason)) => tracing::error!(reason, "the replacement failed"),
                None => return Ok(Err(Started::Stopped)),
            }
        };
        opened.map(Ok).map_err(|error| match self.prepared.home.running() {
            // A file that cannot be had is one that another process has.
            Some(running) if running.pid != std::process::id() && is_away(&error) => {
                error.context(second(&self.prepared))
            }
            _ => error,
        })
    }

    /// A gateway on an open store that has taken up what was left, and that nobody is served by yet.
    pub(super) async fn begin(&self, models: Models, store: Arc<dyn Store>) -> anyhow::Result<Gateway> {
        let gateway = Gateway::open(&self.prepared, models, store).await?;
        if let Err(error) = gateway.recover().await {
            gateway.withdraw().await;
            return Err(error);
        }
        Ok(gateway)
    }

    /// Accepts, and says so to whoever waits for it.
    pub(super) fn accept(&mut self, gateway: Gateway) -> anyhow::Result<Active> {
        let (running, connections) = gateway.serve(&self.bound)?;
        if !self.is_announced {
            announce(&running)?;
            self.is_announced = true;
        }
        self.notify.ready();
        Ok(Active { gateway, connections })
    }

    /// Opens the place where a successor comes to. Without it the gateway serves all the same.
    pub(super) fn open_desk(&mut self) {
        if self.desk.is_some() {
            return;
        }
        let opened = Offer::of(&self.bound, self.from_flags, compose::schema_version())
            .and_then(|offer| Desk::open(&self.prepared.home, offer));
        match opened {
            Ok(desk) => self.desk = Some(desk),
            Err(error) => {
                tracing::warn!(%error, "this gateway cannot be replaced while it serves; a stop and a start can")
            }
        }
    }

    /// From the first call to the last of one gateway.
    async fn attend(&mut self, active: Active) -> End {
        let lifecycle = active.gateway.services.lifecycle.clone();
        loop {
            tokio::select! {
                asked = self.signals.next() => match asked {
                    Asked::Stop => {
                        self.stop(active).await;
                        return End::Over;
                    }
                    Asked::Reload => self.reload(&active.gateway).await,
                    Asked::Replace => self.replacement.start(),
                },
                () = self.replacement.ended() => {}
                reason = lifecycle.restart_asked() => {
                    tracing::warn!(reason, "the gateway is started anew in this process");
                    let drain = active.gateway.drain();
                    active.gateway.leave(&active.connections, drain).await;
                    return End::Again;
                }
                candidate = candidate(&mut self.desk) => return self.hand_over(active, candidate).await,
            }
        }
    }

    async fn reload(&self, gateway: &Gateway) {
        self.notify.reloading();
        match gateway.configuration.reload().await {
            Ok(done) => tracing::info!(changed = ?done.changed_keys, "the configuration was reloaded"),
            Err(error) => tracing::error!(%error, "the configuration was not reloaded"),
        }
        self.notify.ready();
    }

    async fn stop(&mut self, active: Active) {
        self.notify.stopping();
        let Active { gateway, connections } = active;
        if gateway.services.cluster.has_peers() {
            tracing::info!("stopping: the other nodes of the cluster go on with what runs here");
            let (drain, home) = (gateway.drain(), self.prepared.home.clone());
            tokio::select! {
                left = gateway.hand_on(&connections, drain) => farewell(left, &home).await,
                () = self.signals.interrupt() => tracing::warn!("stopped at once; the other nodes find out by themselves"),
            }
            return;
        }
        tracing::info!("stopping: no new work is accepted, what runs may finish");
        tokio::select! {
            () = gateway.stop("gateway stopping") => {}
            () = self.signals.interrupt() => tracing::warn!("stopped at once; unfinished runs go on after the next start"),
        }
    }

    /// Makes way for a process that is prepared, or goes on when that does not come to serve.
    async fn hand_over(&mut self, active: Active, mut candidate: Candidate) -> End {
        let (pid, began) = (candidate.pid, std::time::Instant::now());
        tracing::info!(pid, version = candidate.version, "another process takes the place of this one");
        let drain = candidate.drain.unwrap_or_else(|| active.gateway.drain());
        let home = self.prepared.home.clone();
        let left = {
            let leaving = active.gateway.leave(&active.connections, drain);
            tokio::pin!(leaving);
            tokio::select! {
                left = &mut leaving => left,
                () = self.signals.stop() => {
                    candidate.withdraw("the gateway is stopping").await;
                    farewell(leaving.await, &home).await;
                    return End::Over;
                }
            }
        };
        match self.release(&mut candidate).await {
            Some(Outcome::Replaced) => {
                tracing::info!(pid, took = ?began.elapsed(), "the other process serves");
                left.farewell().await;
                End::Over
            }
            Some(Outcome::GivenUp(reason)) => {
                tracing::error!(pid, reason, "the replacement failed; this process serves again");
                End::Again
            }
            None => {
                farewell(left, &home).await;
                End::Over
            }
        }
    }

    /// Waits for what becomes of a successor that may have the store; `None` when told to stop.
    async fn release(&mut self, candidate: &mut Candidate) -> Option<Outcome> {
        let Self { notify, signals, .. } = self;
        let outcome = tokio::select! {
            outcome = candidate.release(|pid| notify.main_process(pid)) => Some(outcome),
            () = signals.stop() => None,
        };
        match outcome {
            // It was told that the other one is the service; it is not.
            Some(Outcome::GivenUp(_)) => notify.main_process(std::process::id()),
            Some(Outcome::Replaced) => {}
            None => candidate.withdraw("the gateway is stopping").await,
        }
        outcome
    }
}

/// The next successor; never where there is no place for one to come to.
async fn candidate(desk: &mut Option<Desk>) -> Candidate {
    match desk {
        Some(desk) => desk.next().await,
        None => std::future::pending().await,
    }
}

async fn farewell(left: Left, home: &Home) {
    home.clear_running(std::process::id());
    left.farewell().await;
}

/// The one line on stdout: programs wait for it.
fn announce(running: &Running) -> anyhow::Result<()> {
    let dashboard = running
        .comis
        .as_ref()
        .or(running.aleph.as_ref())
        .map(|url| format!("{}/app/", url.replacen("wss://", "https://", 1).replacen("ws://", "http://", 1)));
    let ready = json!({
        "aleph": running.aleph, "comis": running.comis, "argent": running.argent,
        "dashboard": dashboard, "pid": running.pid,
    });
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "ready {ready}").and_then(|()| stdout.flush()).context("stdout is closed")
}

/// What a gateway is told that finds another one on its home.
pub fn second(prepared: &Prepared) -> anyhow::Error {
    let who = prepared.home.running().map_or_else(String::new, |running| format!(" (process {})", running.pid));
    anyhow!(
        "another gateway{who} uses {}; stop it, or let this one take its place: patchbay serve --replace",
        prepared.home.path().display()
    )
}
