//! The body of a relayed stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use providers::ProviderError;
use tokio::time::Sleep;

use super::course::Course;

/// Bytes that are gathered from what the network has at hand before they go on as one piece.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// How long to wait after the last event for the end of the upstream's body, so that the connection
/// can be used again.
const DRAIN_LIMIT: Duration = Duration::from_millis(20);

/// Dropping it drops the upstream's connection.
pub(super) struct Flow {
    provider: Arc<str>,
    /// `None` once it has ended.
    upstream: Option<BoxStream<'static, Result<Bytes, ProviderError>>>,
    course: Course,
    /// Set once the client has been told everything.
    drain: Option<Pin<Box<Sleep>>>,
}

impl Flow {
    pub fn new(provider: &str, upstream: BoxStream<'static, Result<Bytes, ProviderError>>, course: Course) -> Self {
        Self { provider: Arc::from(provider), upstream: Some(upstream), course, drain: None }
    }

    /// Takes what is at hand. Pending when nothing is and nothing waits.
    fn gather(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(upstream) = &mut self.upstream {
            match upstream.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(bytes))) => self.course.feed(&bytes),
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!(provider = %self.provider, %error, "a provider's stream broke off");
                    self.upstream = None;
                    self.course.end();
                }
                Poll::Ready(None) => {
                    self.upstream = None;
                    self.course.end();
                }
                Poll::Pending if self.course.waiting() > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
            if self.course.waiting() >= GATHERED_BYTES_MAX {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Reads to the end of the upstream's body, but not for long.
    fn drained(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(()) };
        while let Poll::Ready(piece) = upstream.poll_next_unpin(context) {
            if !matches!(piece, Some(Ok(_))) {
                return Poll::Ready(());
            }
        }
        let limit = self.drain.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRAIN_LIMIT)));
        limit.as_mut().poll(context)
    }
}

impl Stream for Flow {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if !this.course.is_over() {
            ready!(this.gather(context));
        }
        if this.course.waiting() > 0 {
            return Poll::Ready(Some(Bytes::from(this.course.take())));
        }
        ready!(this.drained(context));
        this.upstream = None;
        Poll::Ready(None)
    }
}
