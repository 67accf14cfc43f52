//! What a connection attends to besides frames and events: all of it is rare.

use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::protocol::Protocol;

pub(super) enum Aside {
    Stopping,
    /// Some credential was revoked.
    Credentials,
    Ping,
    Tick,
    Notice(Utf8Bytes),
}

/// Where asides come from.
pub(super) struct Watch {
    stopping: CancellationToken,
    revocations: watch::Receiver<u64>,
    ping: Option<Interval>,
    ticks: Option<Interval>,
    notices: Option<broadcast::Receiver<Utf8Bytes>>,
}

impl Watch {
    pub fn new<P: Protocol>(protocol: &P, stopping: CancellationToken, revocations: watch::Receiver<u64>) -> Self {
        let interval = |period: Duration| {
            let mut interval = tokio::time::interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        Self {
            stopping,
            revocations,
            ping: protocol.ping().map(|(period, _)| interval(period)),
            ticks: protocol.tick_interval().map(interval),
            notices: protocol.notices(),
        }
    }

    async fn next(&mut self) -> Aside {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Aside::Stopping,
            changed = self.revocations.changed() => if changed.is_ok() { Aside::Credentials } else { Aside::Stopping },
            () = tick(&mut self.ping) => Aside::Ping,
            () = tick(&mut self.ticks) => Aside::Tick,
            frame = notice(&mut self.notices) => Aside::Notice(frame),
        }
    }
}

/// The next aside, in a set of its own so that it is looked at when it wakes the connection and not
/// with every frame.
pub(super) struct Asides(FuturesUnordered<BoxFuture<'static, (Watch, Aside)>>);

impl Asides {
    pub fn new(watch: Watch) -> Self {
        let mut asides = Self(FuturesUnordered::new());
        asides.wait(watch);
        asides
    }

    fn wait(&mut self, mut watch: Watch) {
        self.0.push(Box::pin(async move {
            let aside = watch.next().await;
            (watch, aside)
        }));
    }

    pub async fn next(&mut self) -> Aside {
        let Some((watch, aside)) = self.0.next().await else { return std::future::pending().await };
        self.wait(watch);
        aside
    }
}

/// The next notice; never where there are none.
async fn notice(notices: &mut Option<broadcast::Receiver<Utf8Bytes>>) -> Utf8Bytes {
    loop {
        let Some(receiver) = notices else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(frame) => return frame,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => *notices = None,
        }
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
