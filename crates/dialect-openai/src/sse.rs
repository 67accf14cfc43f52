//! The response around a stream, and what keeps it alive while its answer thinks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

pub(crate) const CONTENT: &str = "text/event-stream";

pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

/// How long a stream may be silent before a comment is sent.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Keeps proxies from closing a silent stream; clients do not see it.
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// The answer that streams `frames`, each piece whole frames, until they end.
pub(crate) fn response(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(KeptAlive::new(Box::pin(frames)));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    // Reverse proxies that buffer would hold tokens back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Puts a comment into every silence.
struct KeptAlive<S> {
    frames: Pin<Box<S>>,
    last_at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<S> KeptAlive<S> {
    fn new(frames: Pin<Box<S>>) -> Self {
        let now = Instant::now();
        Self { frames, last_at: now, timer: Box::pin(tokio::time::sleep_until(now + SILENCE_MAX)) }
    }
}

impl<S: Stream<Item = Bytes>> Stream for KeptAlive<S> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.frames.as_mut().poll_next(context) {
            Poll::Ready(Some(frame)) => {
                // Only the time is noted: arming the timer anew for each piece would cost more.
                this.last_at = Instant::now();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                while this.timer.as_mut().poll(context).is_ready() {
                    let due = this.last_at + SILENCE_MAX;
                    if Instant::now() < due {
                        this.timer.as_mut().reset(due);
                        continue;
                    }
                    this.last_at = Instant::now();
                    this.timer.as_mut().reset(this.last_at + SILENCE_MAX);
                    return Poll::Ready(Some(Ok(KEEP_ALIVE)));
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_comment_is_sent_after_each_silence_and_never_else() {
        let frames = async_stream::stream! {
            yield Bytes::from_static(b"a");
            tokio::time::sleep(Duration::from_secs(14)).await;
            yield Bytes::from_static(b"b");
            tokio::time::sleep(Duration::from_secs(31)).await;
            yield Bytes::from_static(b"c");
        };
        let began = Instant::now();
        let kept = KeptAlive::new(Box::pin(frames));
        let seen: Vec<(u64, String)> = kept
            .map(|piece| {
                let text = String::from_utf8(piece.unwrap().to_vec()).unwrap();
                (began.elapsed().as_secs(), text)
            })
            .collect()
            .await;
        let comment = || String::from(": keep-alive\n\n");
        let expected = [(0, "a".into()), (14, "b".into()), (29, comment()), (44, comment()), (45, "c".into())];
        assert_eq!(seen, expected);
    }
}
