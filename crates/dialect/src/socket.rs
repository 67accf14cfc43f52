//! The loop of one WebSocket connection, the same for every dialect.
//!
//! One task owns the socket. It reads frames, runs calls concurrently inside itself, writes
//! answers before events, follows the event bus when the protocol asks for it, and ends when the
//! peer, the protocol or the gateway says so. A call that can answer at once costs no task switch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use events::{Delivery, Subscription};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use services::runs::{FollowItem, RunFollower};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Read buffer of a connection, kept while it is idle: the most of what an idle connection takes. With the
/// library's own default that would be 128 KiB, and calls would be slower. Longer frames are read piece by piece.
pub const READ_BUFFER_BYTES: usize = 2048;

/// Bytes written at once. Grows to this only when there is so much to write.
pub const WRITE_BUFFER_BYTES: usize = 4096;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Connections of this process that are served at the moment.
pub fn open() -> usize {
    OPEN.load(Ordering::Relaxed)
}

/// Counts a connection while it is served.
struct Counted;

impl Counted {
    fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A peer that takes nothing for this long is gone.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// Runs that one connection follows by itself at a time; beyond it the oldest are let go.
const FOLLOWED_MAX: usize = 64;
/// Events that go out with one write.
const BATCH_MAX: usize = 64;
/// Frames that still go out when the gateway stops.
const LAST_FRAMES_MAX: usize = 1024;
/// How long a closed connection waits for the other end's close frame.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// Frames to write, in order, and how the connection goes on.
#[derive(Default)]
pub struct Outbox {
    frames: Vec<Message>,
    close: Option<(u16, String)>,
    then: Vec<Box<dyn FnOnce() + Send>>,
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

    /// The gateway is stopping: say so and close.
    fn stopping(&mut self, out: &mut Outbox);
}

/// Serves a connection to its end.
pub async fn serve<P: Protocol>(
    mut socket: WebSocket,
    mut protocol: P,
    stopping: CancellationToken,
    mut revocations: tokio::sync::watch::Receiver<u64>,
) {
    let _counted = Counted::new();
    let mut state = State::new(&protocol);
    let mut out = Outbox::default();
    let mut notices = protocol.notices();
    protocol.opened(&mut out);
    if write(&mut socket, &mut out).await.is_err() {
        return;
    }
    loop {
        state.take_over(&mut protocol);
        let next = tokio::select! {
            biased;
            () = stopping.cancelled() => Step::Stopping,
            Some(done) = state.calls.next(), if !state.calls.is_empty() => Step::Completed(done),
            frame = socket.recv(), if state.calls.len() < protocol.calls_max() => Step::Frame(frame),
            delivery = state.subscription.next(), if !protocol.holds_events() => Step::Delivery(delivery),
            () = state.followers.ready() => Step::Followed,
            _ = tick(&mut state.ping) => Step::Ping,
            _ = tick(&mut state.ticks) => Step::Tick,
            () = until(protocol.deadline()) => Step::Late,
            changed = revocations.changed() => if changed.is_ok() { Step::Credentials } else { Step::Stopping },
            frame = notice(&mut notices) => Step::Notice(frame),
        };
        match next {
            Step::Frame(frame) => match receive(&mut protocol, &mut state, frame, &mut out).await {
                Flow::Go => {}
                Flow::Goodbye => return finish(&mut socket).await,
                Flow::End => return,
            },
            Step::Completed(done) => protocol.completed(done, &mut out),
            Step::Delivery(Some(delivery)) => {
                protocol.delivered(delivery, &mut out);
                // Whatever is there already goes out with the same write.
                while let Some(delivery) = state.subscription.try_next() {
                    protocol.delivered(delivery, &mut out);
                    if out.frames.len() >= BATCH_MAX || out.is_closing() {
                        break;
                    }
                }
            }
            Step::Delivery(None) => out.close(1011, "the event log cannot be read"),
            Step::Followed => state.followers.take(|item| protocol.followed(item, &mut out)),
            Step::Ping => {
                if state.last_heard.elapsed() > state.silence_max {
                    out.close(1001, "no answer to pings");
                } else {
                    out.frames.push(Message::Ping(Bytes::new()));
                }
            }
            Step::Tick => protocol.tick(&mut out),
            Step::Late => protocol.late(&mut out),
            Step::Credentials => protocol.check_credentials(&mut out),
            Step::Notice(frame) => out.frames.push(Message::Text(frame)),
            Step::Stopping => {
                // What was told before the end is told: that the gateway stops, for one.
                while let Some(delivery) = state.subscription.try_next() {
                    protocol.delivered(delivery, &mut out);
                    if out.frames.len() >= LAST_FRAMES_MAX || out.is_closing() {
                        break;
                    }
                }
                protocol.stopping(&mut out);
            }
        }
        if write(&mut socket, &mut out).await.is_err() {
            return;
        }
        if let Some((code, reason)) = out.close.take() {
            close(&mut socket, code, reason).await;
            return;
        }
    }
}

enum Step<D> {
    Frame(Option<Result<Message, axum::Error>>),
    Completed(D),
    Delivery(Option<Delivery>),
    Followed,
    Ping,
    Tick,
    Late,
    Credentials,
    Stopping,
    Notice(Utf8Bytes),
}

enum Flow {
    Go,
    /// The client closes, and waits for our answer.
    Goodbye,
    End,
}

struct State<D> {
    calls: FuturesUnordered<BoxFuture<'static, D>>,
    subscription: Following,
    followers: Followed,
    ping: Option<tokio::time::Interval>,
    ticks: Option<tokio::time::Interval>,
    last_heard: Instant,
    silence_max: Duration,
}

impl<D> State<D> {
    fn new<P: Protocol<Done = D>>(protocol: &P) -> Self {
        let interval = |period: Duration| {
            let mut interval = tokio::time::interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        Self {
            calls: FuturesUnordered::new(),
            subscription: Following(None),
            followers: Followed::default(),
            ping: protocol.ping().map(|(period, _)| interval(period)),
            ticks: protocol.tick_interval().map(interval),
            last_heard: Instant::now(),
            silence_max: protocol.ping().map_or(Duration::MAX, |(_, silence)| silence),
        }
    }

    fn take_over<P: Protocol<Done = D>>(&mut self, protocol: &mut P) {
        if let Some(subscription) = protocol.take_subscription() {
            self.subscription = Following(subscription.map(Box::new));
        }
        for follower in protocol.take_followers() {
            // The bound on calls in flight bounds this list in practice; a client that starts more
            // runs than it lets finish follows the newest ones.
            if self.followers.waiting.len() < FOLLOWED_MAX {
                self.followers.add(follower);
            }
        }
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

/// The subscription, if there is one; without one nothing is ever delivered.
struct Following(Option<Box<Subscription>>);

impl Following {
    /// `None` when the log cannot be read.
    async fn next(&mut self) -> Option<Delivery> {
        match &mut self.0 {
            Some(subscription) => match subscription.next().await {
                Ok(delivery) => Some(delivery),
                Err(error) => {
                    tracing::warn!(%error, cause = ?std::error::Error::source(&error), "a connection lost its place in the event log");
                    None
                }
            },
            None => std::future::pending().await,
        }
    }

    fn try_next(&mut self) -> Option<Delivery> {
        self.0.as_mut()?.try_next()
    }
}

/// Runs that are followed, each until it is over.
#[derive(Default)]
struct Followed {
    waiting: FuturesUnordered<BoxFuture<'static, (RunFollower, FollowItem)>>,
    /// What one of them had to tell, at most [`BATCH_MAX`]; empty between two looks.
    batch: Vec<FollowItem>,
}

impl Followed {
    fn add(&mut self, mut follower: RunFollower) {
        self.waiting.push(Box::pin(async move {
            let item = follower.next().await;
            (follower, item)
        }));
    }

    /// Waits until a run has something to tell; never when none is followed.
    async fn ready(&mut self) {
        let Some((mut follower, first)) = self.waiting.next().await else { return std::future::pending().await };
        let mut is_over = matches!(first, FollowItem::Over);
        self.batch.push(first);
        // Whatever is there already goes out with the same write.
        while !is_over
            && self.batch.len() < BATCH_MAX
            && let Some(item) = follower.try_next()
        {
            is_over = matches!(item, FollowItem::Over);
            self.batch.push(item);
        }
        if !is_over {
            self.add(follower);
        }
    }

    fn take(&mut self, tell: impl FnMut(FollowItem)) {
        self.batch.drain(..).for_each(tell);
    }
}

async fn receive<P: Protocol>(
    protocol: &mut P,
    state: &mut State<P::Done>,
    frame: Option<Result<Message, axum::Error>>,
    out: &mut Outbox,
) -> Flow {
    state.last_heard = Instant::now();
    let received = match frame {
        Some(Ok(Message::Text(text))) => {
            if text.len() > protocol.frame_bytes_max() {
                out.close(1009, "message too big");
                return Flow::Go;
            }
            metrics::counter!("patchbay_frames_received_total").increment(1);
            protocol.received(text, out)
        }
        Some(Ok(Message::Binary(data))) => {
            if data.len() > protocol.frame_bytes_max() {
                out.close(1009, "message too big");
                return Flow::Go;
            }
            protocol.received_binary(data, out)
        }
        // The library answers pings by itself.
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Received::Done,
        Some(Ok(Message::Close(_))) => return Flow::Goodbye,
        None => return Flow::End,
        Some(Err(error)) => {
            if is_too_big(&error) {
                out.close(1009, "message too big");
                return Flow::Go;
            }
            return Flow::End;
        }
    };
    match received {
        Received::Done => {}
        Received::Call(mut call) => match call.as_mut().now_or_never() {
            Some(done) => protocol.completed(done, out),
            None => state.calls.push(call),
        },
        Received::CallInOrder(call) => {
            let done = call.await;
            protocol.completed(done, out);
        }
    }
    Flow::Go
}

fn is_too_big(error: &axum::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        let text = error.to_string();
        if text.contains("too long") || text.contains("too big") {
            return true;
        }
        source = error.source();
    }
    false
}

async fn write(socket: &mut WebSocket, out: &mut Outbox) -> Result<(), ()> {
    if out.frames.is_empty() {
        run_then(out);
        return Ok(());
    }
    let frames = std::mem::take(&mut out.frames);
    let writing = async {
        for frame in frames {
            socket.feed(frame).await?;
        }
        socket.flush().await
    };
    let written = tokio::time::timeout(WRITE_STALL_MAX, writing).await;
    run_then(out);
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

fn run_then(out: &mut Outbox) {
    for then in out.then.drain(..) {
        then();
    }
}

/// Sends the close frame and gives the peer a moment to answer it.
async fn close(socket: &mut WebSocket, code: u16, reason: String) {
    let frame = CloseFrame { code, reason: reason.into() };
    if socket.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    finish(socket).await;
}

/// Lets the two close frames reach their ends: the library answers the client's when it is asked for the next frame.
async fn finish(socket: &mut WebSocket) {
    let finished = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = tokio::time::timeout(CLOSE_MAX, finished).await;
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
