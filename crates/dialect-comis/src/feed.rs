//! One connection to `/api/events`: what was missed, what happens, and a ping now and then.
//!
//! Reads from the event bus at the client's own pace: durable events are never lost, those that are
//! not kept are dropped for a reader that lags, which a comment tells.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use dialect::http::Caller;
use events::{Delivery, LogError, Subscription};
use model::{AgentId, Cursor, TokenId};
use serde_json::json;
use services::presence::ConnectionCount;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::events::{View, block};
use crate::{Comis, sse};

const PING: Duration = Duration::from_secs(15);

/// Events that go out in one write when they are there already.
const TOGETHER_MAX: usize = 64;

pub(crate) struct Feed {
    comis: Arc<Comis>,
    subscription: Subscription,
    /// The id that the client resumes from.
    resumed_from: Option<u64>,
    /// Goes out before anything else.
    opening: Option<Bytes>,
    ping: Interval,
    token: Option<TokenId>,
    revocations: watch::Receiver<u64>,
    default_agent: AgentId,
    _count: ConnectionCount,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.comis.feed_closed();
    }
}

enum Step {
    Delivery(Result<Delivery, LogError>),
    Ping,
    Credentials,
    Stopping,
}

impl Feed {
    pub(crate) fn open(comis: Arc<Comis>, caller: &Caller, last: Option<u64>) -> Self {
        let services = Arc::clone(comis.services());
        let settings = comis.settings();
        let newest = services.bus.newest().0;
        let replays = settings.events.buffer_size > 0;
        let subscription = services.bus.subscribe(last.filter(|_| replays).map(Cursor));
        let mut opening = sse::retry_frame(last.filter(|last| replays && *last <= newest).unwrap_or(newest));
        if let Some(last) = last.filter(|last| !replays && *last != newest) {
            resync(&mut opening, last, newest, newest);
        }
        let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        comis.feed_opened();
        Self {
            subscription,
            resumed_from: last,
            opening: Some(opening.into()),
            ping,
            token: caller.principal.token_id.clone(),
            revocations: services.tokens.revocations(),
            default_agent: services.agents.default_agent().id.clone(),
            _count: services.presence.count_connection(),
            comis,
        }
    }

    /// The next frames; `None` ends the stream.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        // It has no end of its own, so it does not wait for the gateway's last moment.
        let leaving = self.comis.services().lifecycle.leaving().clone();
        loop {
            let step = tokio::select! {
                biased;
                () = leaving.cancelled() => Step::Stopping,
                changed = self.revocations.changed() => if changed.is_ok() { Step::Credentials } else { Step::Stopping },
                delivery = self.subscription.next() => Step::Delivery(delivery),
                _ = self.ping.tick() => Step::Ping,
            };
            let mut out = Vec::new();
            match step {
                Step::Stopping | Step::Delivery(Ok(Delivery::Closed)) => return None,
                Step::Credentials if self.is_revoked() => return None,
                Step::Credentials => {}
                Step::Delivery(Err(error)) => {
                    tracing::warn!(%error, cause = ?std::error::Error::source(&error), "an event stream lost its place in the log");
                    return None;
                }
                Step::Delivery(Ok(delivery)) => {
                    if let Some(alone) = self.tell_all(delivery, &mut out) {
                        return Some(alone);
                    }
                }
                Step::Ping => sse::bare_frame(&mut out, "ping", self.subscription.cursor().0),
            }
            if !out.is_empty() {
                return Some(out.into());
            }
        }
    }

    /// Writes a delivery and those that wait behind it. A single event goes out as the very bytes
    /// that all connections share.
    fn tell_all(&mut self, first: Delivery, out: &mut Vec<u8>) -> Option<Bytes> {
        let first = self.tell(first);
        let mut next = self.subscription.try_next();
        if next.is_none() {
            return Some(first).filter(|bytes| !bytes.is_empty());
        }
        out.extend_from_slice(&first);
        for _ in 0..TOGETHER_MAX {
            match next.take() {
                // The stream ends when it is asked for again.
                None | Some(Delivery::Closed) => break,
                Some(delivery) => out.extend_from_slice(&self.tell(delivery)),
            }
            next = self.subscription.try_next();
        }
        if let Some(delivery) = next {
            out.extend_from_slice(&self.tell(delivery));
        }
        None
    }

    fn tell(&self, delivery: Delivery) -> Bytes {
        match delivery {
            Delivery::Event(envelope) => {
                let view = View {
                    streaming: &self.comis.streaming,
                    default_agent: &self.default_agent,
                    content: self.comis.settings().events.content,
                };
                block(&envelope, &view)
            }
            Delivery::Dropped(count) => format!(": {count} events that are not kept were dropped\n\n").into(),
            Delivery::Resync { oldest, newest } => {
                let mut out = Vec::new();
                resync(&mut out, self.resumed_from.unwrap_or_default(), oldest.0, newest.0);
                out.into()
            }
            Delivery::Closed => Bytes::new(),
        }
    }

    fn is_revoked(&self) -> bool {
        self.token.as_ref().is_some_and(|token| !self.comis.services().tokens.is_valid(token))
    }
}

/// Tells that what was missed cannot be had: the client must load its state anew.
fn resync(out: &mut Vec<u8>, last: u64, oldest: u64, newest: u64) {
    let reason = if last > newest { "restart" } else { "gap" };
    let payload = json!({ "reason": reason, "lastEventId": last.to_string(), "oldestId": oldest.to_string() });
    sse::frame(out, "resync", &payload, newest);
}
