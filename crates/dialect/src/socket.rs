//! The loop of one WebSocket connection, the same for every dialect.
//!
//! One task owns the socket. It reads frames, runs calls concurrently inside itself, writes
//! answers before events, follows the event bus when the protocol asks for it, and ends when the
//! peer, the protocol or the gateway says so. A call that can answer at once costs no task switch.

mod asides;
mod following;
mod protocol;

use std::pin::pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use events::Delivery;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use services::Lifecycle;
use tokio::sync::watch;
use tokio::time::Instant;

use self::asides::{Aside, Asides, Watch};
use self::following::{BATCH_MAX, Followed, Following};
pub use self::protocol::{Outbox, Protocol, Received};

/// Read buffer of a connection, kept while it is idle: the most of what an idle connection takes. With the
/// library's own default that would be 128 KiB, and calls would be slower. Longer frames are read piece by piece.
pub const READ_BUFFER_BYTES: usize = 2048;

/// Bytes written at once. Grows to this only when there is so much to write.
pub const WRITE_BUFFER_BYTES: usize = 4096;

/// Looked up once: that costs more than counting.
static FRAMES_RECEIVED: LazyLock<metrics::Counter> =
    LazyLock::new(|| metrics::counter!("patchbay_frames_received_total"));

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

/// Frames that still go out when the gateway stops.
const LAST_FRAMES_MAX: usize = 1024;
/// How long calls that were read get to be answered when the gateway stops. Longer than anything takes
/// but a call that waits for something.
const LAST_CALLS_MAX: Duration = Duration::from_secs(1);
/// How long a closed connection waits for the other end's close frame.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// Serves a connection to its end.
///
/// All of its state is in one box from the start: moved from future to future, an idle connection
/// would keep a place for it in each of them.
pub fn serve<P: Protocol>(
    socket: WebSocket,
    protocol: P,
    lifecycle: Lifecycle,
    revocations: watch::Receiver<u64>,
) -> impl Future<Output = ()> + Send + use<P> {
    let mut served = Box::new(Served {
        calls: FuturesUnordered::new(),
        subscription: Following::default(),
        followers: Followed::default(),
        asides: Asides::new(Watch::new(&protocol, lifecycle.stopping().clone(), revocations)),
        last_heard: Instant::now(),
        out: Outbox::default(),
        socket,
        protocol,
        lifecycle,
        _counted: Counted::new(),
    });
    async move {
        if matches!(served.run().await, Parting::Unanswered) {
            let Served { mut socket, lifecycle, .. } = *served;
            // All that matters is said: the gateway need not wait for the other end.
            lifecycle.spawn_farewell(async move { finish(&mut socket).await });
        }
    }
}

/// What is left to do when a connection is over.
enum Parting {
    Done,
    /// Our close frame is sent, and the peer has a moment to answer it.
    Unanswered,
}

struct Served<P: Protocol> {
    socket: WebSocket,
    protocol: P,
    out: Outbox,
    calls: FuturesUnordered<BoxFuture<'static, P::Done>>,
    subscription: Following,
    followers: Followed,
    asides: Asides,
    last_heard: Instant,
    lifecycle: Lifecycle,
    _counted: Counted,
}

impl<P: Protocol> Served<P> {
    async fn run(&mut self) -> Parting {
        self.protocol.opened(&mut self.out);
        if write(&mut self.socket, &mut self.out).await.is_err() {
            return Parting::Done;
        }
        loop {
            self.take_over();
            let next = tokio::select! {
                biased;
                aside = self.asides.next() => Step::Aside(aside),
                Some(done) = self.calls.next(), if !self.calls.is_empty() => Step::Completed(done),
                frame = self.socket.recv(), if self.calls.len() < self.protocol.calls_max() => Step::Frame(frame),
                delivery = self.subscription.next(), if !self.protocol.holds_events() => Step::Delivery(delivery),
                () = self.followers.ready() => Step::Followed,
                () = until(self.protocol.deadline()) => Step::Late,
            };
            match next {
                Step::Frame(frame) => match self.receive(frame).await {
                    Flow::Go => {}
                    Flow::Goodbye => {
                        finish(&mut self.socket).await;
                        return Parting::Done;
                    }
                    Flow::End => return Parting::Done,
                },
                Step::Aside(Aside::Stopping) => self.stop().await,
                next => self.attend(next),
            }
            if write(&mut self.socket, &mut self.out).await.is_err() {
                return Parting::Done;
            }
            if let Some((code, reason)) = self.out.close.take() {
                return close(&mut self.socket, code, reason).await;
            }
        }
    }

    /// The gateway ends: every call that was read is answered, no further one is read. A peer that
    /// sees the close frame so knows that whatever was not answered was not begun.
    async fn stop(&mut self) {
        if !self.out.is_closing() && tokio::time::timeout(LAST_CALLS_MAX, self.answer_all()).await.is_err() {
            tracing::debug!("a connection ends with calls that wait for something");
        }
        self.take_over();
        // What was told before the end is told: that the gateway stops, for one.
        self.deliver_what_is_there(LAST_FRAMES_MAX);
        self.protocol.stopping(self.lifecycle.ending(), &mut self.out);
    }

    async fn answer_all(&mut self) {
        while let Some(done) = self.calls.next().await {
            self.protocol.completed(done, &mut self.out);
            if write(&mut self.socket, &mut self.out).await.is_err() {
                return;
            }
        }
    }

    /// Everything but frames.
    fn attend(&mut self, next: Step<P::Done>) {
        let Self { protocol, out, .. } = self;
        match next {
            // These two wait for something, so the loop itself takes them.
            Step::Frame(_) | Step::Aside(Aside::Stopping) => {}
            Step::Completed(done) => protocol.completed(done, out),
            Step::Delivery(Some(delivery)) => {
                protocol.delivered(delivery, out);
                // Whatever is there already goes out with the same write.
                self.deliver_what_is_there(BATCH_MAX);
            }
            Step::Delivery(None) => out.close(1011, "the event log cannot be read"),
            Step::Followed => self.followers.take(|item| protocol.followed(item, out)),
            Step::Late => protocol.late(out),
            Step::Aside(Aside::Ping) => {
                let silence_max = protocol.ping().map_or(Duration::MAX, |(_, silence)| silence);
                if self.last_heard.elapsed() > silence_max {
                    out.close(1001, "no answer to pings");
                } else {
                    out.frames.push(Message::Ping(Bytes::new()));
                }
            }
            Step::Aside(Aside::Tick) => protocol.tick(out),
            Step::Aside(Aside::Credentials) => protocol.check_credentials(out),
            Step::Aside(Aside::Notice(frame)) => out.frames.push(Message::Text(frame)),
        }
    }

    fn deliver_what_is_there(&mut self, frames_max: usize) {
        while self.out.frames.len() < frames_max
            && !self.out.is_closing()
            && let Some(delivery) = self.subscription.try_next()
        {
            self.protocol.delivered(delivery, &mut self.out);
        }
    }

    fn take_over(&mut self) {
        if let Some(subscription) = self.protocol.take_subscription() {
            self.subscription = Following::new(subscription);
        }
        for follower in self.protocol.take_followers() {
            self.followers.add(follower);
        }
    }

    async fn receive(&mut self, frame: Option<Result<Message, axum::Error>>) -> Flow {
        self.last_heard = Instant::now();
        let Self { protocol, out, .. } = self;
        let received = match frame {
            Some(Ok(Message::Text(text))) => {
                if text.len() > protocol.frame_bytes_max() {
                    out.close(1009, "message too big");
                    return Flow::Go;
                }
                FRAMES_RECEIVED.increment(1);
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
                None => self.calls.push(call),
            },
            Received::CallInOrder(call) => {
                let done = call.await;
                protocol.completed(done, out);
            }
        }
        Flow::Go
    }
}

enum Step<D> {
    Frame(Option<Result<Message, axum::Error>>),
    Completed(D),
    Delivery(Option<Delivery>),
    Followed,
    Late,
    Aside(Aside),
}

enum Flow {
    Go,
    /// The client closes, and waits for our answer.
    Goodbye,
    End,
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
    let mut writing = pin!(async {
        for frame in frames {
            socket.feed(frame).await?;
        }
        socket.flush().await
    });
    // Nearly always the peer takes it at once, and no timer is needed.
    let written = match futures_util::poll!(&mut writing) {
        Poll::Ready(written) => Ok(written),
        Poll::Pending => tokio::time::timeout(WRITE_STALL_MAX, writing).await,
    };
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

/// Sends the close frame; the peer is to get a moment to answer it.
async fn close(socket: &mut WebSocket, code: u16, reason: String) -> Parting {
    let frame = CloseFrame { code, reason: reason.into() };
    match tokio::time::timeout(WRITE_STALL_MAX, socket.send(Message::Close(Some(frame)))).await {
        Ok(Ok(())) => Parting::Unanswered,
        Ok(Err(_)) | Err(_) => Parting::Done,
    }
}

/// Lets the two close frames reach their ends: the library answers the client's when it is asked for the next frame.
async fn finish(socket: &mut WebSocket) {
    let finished = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = tokio::time::timeout(CLOSE_MAX, finished).await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
