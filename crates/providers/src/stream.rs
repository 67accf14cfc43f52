//! From the bytes of an answer to [`Chunk`]s: framing, then a vendor's [`Decoder`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::CONTENT_TYPE;

use crate::chat::{ChatStream, Chunk};
use crate::error::ProviderErrorKind;
use crate::fault::Fault;
use crate::framing::{EVENT_BYTES_MAX, LineParser, SseParser};
use crate::http::{Response, Upstream, timed_body};

/// How long to wait after the last chunk for the end of the body, so that the connection can be used again.
const DRAIN_LIMIT: Duration = Duration::from_millis(20);

/// What a vendor's events mean. One value for each answer.
pub(crate) trait Decoder: Send + 'static {
    /// Takes one event and appends what it says. After a `Finish` nothing more is fed.
    fn event(&mut self, payload: &[u8], out: &mut Vec<Chunk>) -> Result<(), Fault>;

    /// The body has ended without a `Finish`: appends the rest of the answer, or says why it is not whole.
    fn end(&mut self, out: &mut Vec<Chunk>) -> Result<(), Fault>;
}

/// How events are told apart in the body.
#[derive(Debug)]
pub(crate) enum Framing {
    Sse(SseParser),
    Lines(LineParser),
    /// One JSON document: some servers answer so although a stream was asked for. Others send a
    /// stream under this name, so that the first byte decides.
    Whole(Vec<u8>),
}

impl Framing {
    /// The framing of this answer when `usual` is what the vendor documents.
    fn of(response: &Response, usual: Framing) -> Result<Self, Fault> {
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.starts_with("text/html") {
            return Err(Fault::malformed("answered with a web page; is `base_url` right?"));
        }
        let is_document = content_type.starts_with("application/json") && matches!(usual, Framing::Sse(_));
        Ok(if is_document { Framing::Whole(Vec::new()) } else { usual })
    }

    fn feed(&mut self, bytes: &[u8], on_event: impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        if let Framing::Whole(buffer) = self
            && buffer.trim_ascii_start().is_empty()
            && bytes.trim_ascii_start().first().is_some_and(|first| !matches!(first, b'{' | b'['))
        {
            *self = Framing::Sse(SseParser::default());
        }
        match self {
            Framing::Sse(parser) => parser.feed(bytes, on_event),
            Framing::Lines(parser) => parser.feed(bytes, on_event),
            Framing::Whole(buffer) if buffer.len() + bytes.len() > EVENT_BYTES_MAX => {
                Err(Fault::malformed(format!("the answer is longer than {EVENT_BYTES_MAX} bytes")))
            }
            Framing::Whole(buffer) => {
                buffer.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn finish(&mut self, mut on_event: impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        match self {
            Framing::Sse(parser) => parser.finish(on_event),
            Framing::Lines(parser) => parser.finish(on_event),
            Framing::Whole(buffer) => on_event(buffer),
        }
    }
}

/// Feeds what `framing` finds to a decoder until it has finished.
struct Reading<D> {
    framing: Framing,
    decoder: D,
    out: Vec<Chunk>,
    has_finished: bool,
}

impl<D: Decoder> Reading<D> {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Self { framing, decoder, out, has_finished } = self;
        framing.feed(bytes, |payload| step(decoder, payload, out, has_finished))
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Self { framing, decoder, out, has_finished } = self;
        framing.finish(|payload| step(decoder, payload, out, has_finished))?;
        if *has_finished { Ok(()) } else { decoder.end(out) }
    }
}

fn step<D: Decoder>(
    decoder: &mut D,
    payload: &[u8],
    out: &mut Vec<Chunk>,
    has_finished: &mut bool,
) -> Result<(), Fault> {
    if *has_finished {
        return Ok(());
    }
    let result = decoder.event(payload, out);
    *has_finished = matches!(out.last(), Some(Chunk::Finish(_)));
    result
}

/// The answer as a stream that keeps the promise of [`Chunk`]: one `Finish`, last, or one error.
pub(crate) fn decode<D: Decoder>(
    upstream: Arc<Upstream>,
    response: Response,
    usual: Framing,
    decoder: D,
) -> ChatStream {
    async_stream::stream! {
        let framing = match Framing::of(&response, usual) {
            Ok(framing) => framing,
            Err(fault) => {
                yield Err(upstream.fault(fault));
                return;
            }
        };
        let mut reading = Reading { framing, decoder, out: Vec::new(), has_finished: false };
        let mut body = timed_body(Arc::clone(&upstream), response);
        loop {
            let (result, is_at_end) = match body.next().await {
                Some(Ok(bytes)) => (reading.feed(&bytes), false),
                Some(Err(error)) => {
                    yield Err(error);
                    return;
                }
                None => (reading.end(), true),
            };
            for chunk in std::mem::take(&mut reading.out) {
                let is_last = matches!(chunk, Chunk::Finish(_));
                yield Ok(chunk);
                if is_last {
                    // Best effort: a vendor that keeps talking loses its connection.
                    let _ = tokio::time::timeout(DRAIN_LIMIT, async { while body.next().await.is_some() {} }).await;
                    return;
                }
            }
            if let Err(fault) = result {
                yield Err(upstream.fault(fault));
                return;
            }
            if is_at_end {
                yield Err(upstream.error(ProviderErrorKind::Cut, "the answer ended before it was whole"));
                return;
            }
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests;
