//! The body of an answer with a limit on silence.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyDataStream, BodyExt};
use tokio::time::{Instant, Sleep};

use super::upstream::{Response, Upstream};
use crate::error::ProviderError;

/// The pieces of `response` as they come. The first may take the time of a first byte, each further
/// one that of a silence; then, and when the connection breaks, one error ends the stream.
pub(crate) fn timed_body(upstream: Arc<Upstream>, response: Response) -> TimedBody {
    let limit = upstream.limits.first_byte;
    TimedBody {
        pieces: Some(response.into_body().into_data_stream()),
        timer: Box::pin(tokio::time::sleep(limit)),
        last_piece_at: Instant::now(),
        limit,
        upstream,
    }
}

pub(crate) struct TimedBody {
    /// `None` once ended; dropping it closes the connection.
    pieces: Option<BodyDataStream<reqwest::Body>>,
    timer: Pin<Box<Sleep>>,
    last_piece_at: Instant,
    limit: Duration,
    upstream: Arc<Upstream>,
}

impl Stream for TimedBody {
    type Item = Result<Bytes, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(pieces) = &mut this.pieces else { return Poll::Ready(None) };
        match pieces.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(piece))) => {
                // Only the time is noted: arming the timer anew for each piece would cost more.
                this.last_piece_at = Instant::now();
                this.limit = this.upstream.limits.silence;
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.pieces = None;
                Poll::Ready(Some(Err(this.upstream.transport_error(&error))))
            }
            Poll::Ready(None) => {
                this.pieces = None;
                Poll::Ready(None)
            }
            Poll::Pending => this.poll_timer(context),
        }
    }
}

impl TimedBody {
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProviderError>>> {
        let deadline = self.last_piece_at + self.limit;
        // The timer still stands where the wait before the last piece began, or at the limit of the
        // first byte, which may be the longer one.
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                self.pieces = None;
                return Poll::Ready(Some(Err(self.upstream.silent(self.limit))));
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
