//! Answers as they come.

use axum::body::Bytes;
use futures_util::{Stream, StreamExt};

use super::draft::Draft;
use super::keeping::Keeping;
use super::writer::Writer;
use crate::chat::pieces::Pieces;
use crate::sse::DONE;

/// Pieces at hand that go on in one write.
const GATHERED_MAX: usize = 64;

/// All events of an answer. The first are told before the source is asked for its first piece.
pub(super) fn stream(mut draft: Draft, pieces: Pieces, keeping: Keeping) -> impl Stream<Item = Bytes> + Send {
    async_stream::stream! {
        yield written(&mut draft);
        let mut pieces = pieces.ready_chunks(GATHERED_MAX);
        let mut is_over = false;
        while !is_over && let Some(at_hand) = pieces.next().await {
            for piece in at_hand {
                match piece {
                    Ok(piece) => {
                        if let Some(ended) = draft.take(piece) {
                            draft.end(&ended);
                            is_over = true;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error.message, "a streamed answer failed");
                        draft.fail();
                        is_over = true;
                    }
                }
            }
            if !is_over {
                let bytes = written(&mut draft);
                if !bytes.is_empty() {
                    yield bytes;
                }
            }
        }
        if !is_over {
            tracing::error!("a streamed answer ended without saying so");
            draft.fail();
        }
        // Kept before its end is told: whoever hears of it may ask for it at once.
        keeping.keep(draft.object()).await;
        let mut last = written(&mut draft).to_vec();
        last.extend_from_slice(DONE);
        yield last.into();
    }
}

fn written(draft: &mut Draft) -> Bytes {
    draft.writer.as_mut().map(Writer::take).unwrap_or_default()
}
