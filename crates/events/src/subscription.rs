//! Reading: what was missed, then live.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{BoxFuture, FutureExt, MaybeDone, maybe_done};
use model::{Cursor, Envelope};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::log::{Log, LogError};
use crate::ring::{Live, Ring};

/// Events read from the log at a time.
const PAGE: u32 = 256;

/// What a listener gets.
#[derive(Debug, Clone)]
pub enum Delivery {
    Event(Arc<Envelope>),
    /// This many ephemeral events were dropped because the listener was too slow.
    Dropped(u64),
    /// The cursor asked for is no longer (or not yet) in the log; the listener must load its state
    /// anew. Delivery goes on behind `newest`.
    Resync {
        oldest: Cursor,
        newest: Cursor,
    },
    /// The bus is gone: the gateway is stopping.
    Closed,
}

/// A page that the log was asked for.
type Reading = Pin<Box<MaybeDone<BoxFuture<'static, Page>>>>;
type Page = Result<Vec<Arc<Envelope>>, LogError>;

/// One listener's place in the stream of events.
pub struct Subscription {
    log: Arc<dyn Log>,
    live: Live,
    /// The last durable event delivered.
    last: Cursor,
    /// Durable events to deliver before anything live.
    backlog: VecDeque<Arc<Envelope>>,
    /// The log must be read up to here before anything live.
    catch_up_to: Cursor,
    /// The page behind the backlog: it is on its way while the backlog is delivered.
    reading: Option<Reading>,
    /// A live event that waits until the log has been read up to its position.
    held: Option<Arc<Envelope>>,
    /// The place that was asked for has yet to be compared with the log's bounds.
    unchecked: bool,
    dropped: u64,
}

impl Subscription {
    pub(crate) fn new(log: Arc<dyn Log>, after: Option<Cursor>, newest: Cursor, recent: &Ring) -> Self {
        let live = recent.listen();
        let last = after.unwrap_or(newest);
        let backlog = if last < newest { recent.after(last).unwrap_or_default() } else { VecDeque::new() };
        let unchecked = last != newest && backlog.is_empty();
        Self { log, live, last, backlog, catch_up_to: newest, reading: None, held: None, unchecked, dropped: 0 }
    }

    /// The last durable event delivered, the place to resume from.
    pub fn cursor(&self) -> Cursor {
        self.last
    }

    /// The next thing to tell the listener. Cancel safe.
    pub async fn next(&mut self) -> Result<Delivery, LogError> {
        if self.unchecked
            && let Some(resync) = self.check_place().await?
        {
            return Ok(resync);
        }
        loop {
            if let Some(envelope) = self.backlog.pop_front() {
                self.last = envelope.position;
                return Ok(Delivery::Event(envelope));
            }
            if self.last < self.catch_up_to {
                self.read_page().await?;
                continue;
            }
            if let Some(delivery) = self.take_held() {
                return Ok(delivery);
            }
            match self.live.recv().await {
                Ok(envelope) => self.hold(envelope),
                Err(RecvError::Lagged(missed)) => self.dropped += missed,
                Err(RecvError::Closed) => return Ok(Delivery::Closed),
            }
        }
    }

    /// What can be told at once, without waiting and without reading the log.
    pub fn try_next(&mut self) -> Option<Delivery> {
        loop {
            if self.unchecked {
                return None;
            }
            if let Some(envelope) = self.backlog.pop_front() {
                self.last = envelope.position;
                return Some(Delivery::Event(envelope));
            }
            if self.last < self.catch_up_to {
                return None;
            }
            if let Some(delivery) = self.take_held() {
                return Some(delivery);
            }
            match self.live.try_recv() {
                Ok(envelope) => self.hold(envelope),
                Err(TryRecvError::Lagged(missed)) => self.dropped += missed,
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => return Some(Delivery::Closed),
            }
        }
    }

    /// Nothing older than the log's tail can be replayed, nor anything that never was.
    async fn check_place(&mut self) -> Result<Option<Delivery>, LogError> {
        let bounds = self.log.bounds().await?;
        self.unchecked = false;
        if self.last.next() >= bounds.oldest && self.last <= bounds.newest.max(self.catch_up_to) {
            return Ok(None);
        }
        self.last = self.catch_up_to;
        Ok(Some(Delivery::Resync { oldest: bounds.oldest, newest: self.catch_up_to }))
    }

    /// Keeps a live event until everything durable before it has been delivered.
    fn hold(&mut self, envelope: Arc<Envelope>) {
        let needs = match envelope.cursor {
            // Delivered already, from the log or the ring.
            Some(cursor) if cursor <= self.last => {
                self.dropped = self.dropped.saturating_sub(1);
                return;
            }
            Some(cursor) => Cursor(cursor.0 - 1),
            None => envelope.position,
        };
        self.catch_up_to = self.catch_up_to.max(needs);
        self.held = Some(envelope);
    }

    fn take_held(&mut self) -> Option<Delivery> {
        if self.held.is_some() && self.dropped > 0 {
            return Some(Delivery::Dropped(std::mem::take(&mut self.dropped)));
        }
        let envelope = self.held.take()?;
        if let Some(cursor) = envelope.cursor {
            self.last = cursor;
        }
        Some(Delivery::Event(envelope))
    }

    async fn read_page(&mut self) -> Result<(), LogError> {
        let page = self.page_behind_last().await?;
        if page.is_empty() {
            // Pruned while this listener was reading: what is gone is gone, go on from here.
            self.last = self.catch_up_to;
            return Ok(());
        }
        // Of what the live channel dropped, these are delivered after all.
        let caught_up = page.iter().filter(|envelope| envelope.position <= self.catch_up_to).count();
        self.dropped = self.dropped.saturating_sub(caught_up as u64);
        self.backlog.extend(page.into_iter().filter(|envelope| envelope.position <= self.catch_up_to));
        // Nothing live is listened to before the log is read so far, so this cannot be asked too early.
        let end = self.backlog.back().map_or(self.last, |envelope| envelope.position);
        if end < self.catch_up_to {
            let mut next = self.ask(end);
            // The first look sends the question.
            std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).map(drop).await;
            self.reading = Some(next);
        }
        Ok(())
    }

    /// The page that was asked for already, or is now. Whoever gives up waiting comes back to it.
    async fn page_behind_last(&mut self) -> Page {
        if self.reading.is_none() {
            self.reading = Some(self.ask(self.last));
        }
        let page = match &mut self.reading {
            Some(reading) => {
                reading.as_mut().await;
                reading.as_mut().take_output()
            }
            None => None,
        };
        self.reading = None;
        page.unwrap_or_else(|| Ok(Vec::new()))
    }

    fn ask(&self, behind: Cursor) -> Reading {
        let log = Arc::clone(&self.log);
        Box::pin(maybe_done(async move { log.page(behind, PAGE).await }.boxed()))
    }
}
