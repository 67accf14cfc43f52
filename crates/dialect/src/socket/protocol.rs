//! How a dialect talks over a socket.

use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use events::{Delivery, Subscription};
use futures_util::future::BoxFuture;
use services::Ending;
use services::runs::{FollowItem, RunFollower};
use tokio::sync::broadcast;
use tokio::time::Instant;

/// Frames to write, in order, and how the connection goes on.
#[derive(Default)]
pub struct Outbox {
    pub(super) frames: Vec<Message>,
    pub(super) close: Option<(u16, String)>,
    pub(super) then: Vec<Box<dyn FnOnce() + Send>>,
}

impl Outbox {
    pub fn text(&mut self, json: impl Into<Bytes>) {
        let text = Utf8Bytes::try_from(json.into()).expect("frames are made of JSON text");
        self.frames.push(Message::Text(text));
    }

    /// Runs after the frames queued so far are written.
    pub fn then(&mut self, then: Option<Box<dyn FnOnce() + Send>>) {
        self.then.extend(then);
    }

    /// Closes once the frames are written. The reason is cut to what the protocol allows.
    pub fn close(&mut self, code: u16, reason: &str) {
        let mut end = reason.len().min(120);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.close.get_or_insert((code, reason[..end].to_owned()));
    }

    /// Ends the connection without a close frame of our own choosing.
    pub fn is_closing(&self) -> bool {
        self.close.is_some()
    }
}

/// What a received frame asks for.
pub enum Received<D> {
    /// Everything to say is in the outbox.
    Done,
    /// A call; what it comes to is handed to [`Protocol::completed`].
    Call(BoxFuture<'static, D>),
    /// Like `Call`, and no further frame is read before it is done.
    CallInOrder(BoxFuture<'static, D>),
}

/// How a dialect talks over a socket.
pub trait Protocol: Send {
    /// What a call comes to.
    type Done: Send + 'static;

    /// Calls in flight beyond which reading stops.
    fn calls_max(&self) -> usize;

    /// Largest frame in bytes; larger ones close the connection with 1009.
    fn frame_bytes_max(&self) -> usize;

    /// How often a WebSocket ping is sent, and how long the peer may stay silent; `None` = never.
    fn ping(&self) -> Option<(Duration, Duration)>;

    /// How often [`Protocol::tick`] is called; `None` = never.
    fn tick_interval(&self) -> Option<Duration> {
        None
    }

    /// By when the peer must have introduced itself; asked anew after each frame. `None` = no limit.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn opened(&mut self, _out: &mut Outbox) {}

    fn received(&mut self, text: Utf8Bytes, out: &mut Outbox) -> Received<Self::Done>;

    fn received_binary(&mut self, data: Bytes, out: &mut Outbox) -> Received<Self::Done>;

    fn completed(&mut self, done: Self::Done, out: &mut Outbox);

    /// The subscription to follow from now on, when it changed since the last question.
    fn take_subscription(&mut self) -> Option<Option<Subscription>> {
        None
    }

    /// Runs to follow besides, since the last question.
    fn take_followers(&mut self) -> Vec<RunFollower> {
        Vec::new()
    }

    /// Frames that all connections of the dialect get; asked once, before the first frame is read.
    /// A connection that is too far behind loses the oldest ones.
    fn notices(&self) -> Option<broadcast::Receiver<Utf8Bytes>> {
        None
    }

    /// Whether events have to wait: the answer that names their run is not written yet.
    fn holds_events(&self) -> bool {
        false
    }

    fn delivered(&mut self, delivery: Delivery, out: &mut Outbox);

    /// An event of a followed run.
    fn followed(&mut self, _item: FollowItem, _out: &mut Outbox) {}

    fn tick(&mut self, _out: &mut Outbox) {}

    /// The deadline has passed.
    fn late(&mut self, out: &mut Outbox) {
        out.close(1008, "");
    }

    /// Some credential was revoked: close if it was this connection's.
    fn check_credentials(&mut self, _out: &mut Outbox) {}

    /// The gateway ends: say so and close. With [`Ending::Restart`] the code is 1012, by which every
    /// client knows to connect again at once.
    fn stopping(&mut self, ending: Ending, out: &mut Outbox);
}
