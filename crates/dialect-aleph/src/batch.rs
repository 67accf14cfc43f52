//! Batches: an array of messages in, one array of answers out, in request order.

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use serde_json::value::RawValue;

/// Messages of one batch.
pub const BATCH_MAX: usize = 100;

/// The elements of a batch; `None` when `text` is no array or has none or too many.
pub fn elements(text: &str) -> Option<Vec<&RawValue>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    (1..=BATCH_MAX).contains(&elements.len()).then_some(elements)
}

/// What a message, or a whole batch, comes to.
#[derive(Default)]
pub struct Answered {
    /// Absent for a notification.
    pub frame: Option<Bytes>,
    /// What may start once the frame is on its way.
    pub then: Option<Box<dyn FnOnce() + Send>>,
    /// The frame is the first to name a run.
    pub reveals_run: bool,
}

impl From<Option<Bytes>> for Answered {
    fn from(frame: Option<Bytes>) -> Self {
        Self { frame, ..Self::default() }
    }
}

/// Runs all elements concurrently and joins their answers; no frame at all when none has one.
pub async fn run(elements: Vec<BoxFuture<'static, Answered>>) -> Answered {
    let all = join_all(elements).await;
    let reveals_run = all.iter().any(|answered| answered.reveals_run);
    let (answers, thens): (Vec<Option<Bytes>>, Vec<_>) =
        all.into_iter().map(|answered| (answered.frame, answered.then)).unzip();
    let thens: Vec<Box<dyn FnOnce() + Send>> = thens.into_iter().flatten().collect();
    let answers: Vec<Bytes> = answers.into_iter().flatten().collect();
    let frame = (!answers.is_empty()).then(|| {
        let mut frame = Vec::with_capacity(answers.iter().map(|answer| answer.len() + 1).sum::<usize>() + 1);
        for (index, answer) in answers.iter().enumerate() {
            frame.push(if index == 0 { b'[' } else { b',' });
            frame.extend_from_slice(answer);
        }
        frame.push(b']');
        Bytes::from(frame)
    });
    let then: Option<Box<dyn FnOnce() + Send>> = (!thens.is_empty()).then(|| -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            for then in thens {
                then();
            }
        })
    });
    Answered { frame, then, reveals_run }
}
