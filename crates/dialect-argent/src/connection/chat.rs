//! Chat text as one connection sees it: whole so far and what is new, at most every 150 ms a run.

use std::collections::HashMap;
use std::time::Duration;

use model::{RunId, RunRef, Scope, TextSoFar, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::events::{Audience, Frame, message};
use crate::outcome::SILENT_REPLY;

/// The first delta of a run goes out at once, further ones not before this time has passed.
const THROTTLE: Duration = Duration::from_millis(150);

/// Runs with text on this connection; each goes when its run is over.
#[derive(Default)]
pub struct ChatViews {
    runs: HashMap<RunId, View>,
}

#[derive(Default)]
struct View {
    sent_at: Option<Instant>,
    /// Bytes of the run's text that were sent, and where the message began that they end in.
    sent: usize,
    message_start: usize,
    /// What was sent last is not the beginning of what follows.
    must_replace: bool,
    /// Text that waits for its time.
    held: Option<Held>,
    seq: u64,
}

struct Held {
    so_far: TextSoFar,
    at: Timestamp,
}

impl ChatViews {
    /// More text came; gives a frame when it is time for one. `is_first` = nothing came before it.
    pub fn delta(
        &mut self,
        run: &RunRef,
        seq: u64,
        so_far: &TextSoFar,
        is_first: bool,
        at: Timestamp,
        now: Instant,
    ) -> Option<Frame> {
        let view =
            self.runs.entry(run.run_id.clone()).or_insert_with(|| View { must_replace: !is_first, ..View::default() });
        view.seq = seq;
        view.held = Some(Held { so_far: so_far.clone(), at });
        if view.sent_at.is_some_and(|sent| now.duration_since(sent) < THROTTLE) {
            return None;
        }
        self.flush(run, now)
    }

    /// What is held goes out now.
    pub fn flush(&mut self, run: &RunRef, now: Instant) -> Option<Frame> {
        let view = self.runs.get_mut(&run.run_id)?;
        let Held { so_far, at } = view.held.take()?;
        let payload = so_far.with_current(|current| view.payload(run, &so_far, current, at));
        match payload {
            Some(payload) => {
                (view.sent_at, view.sent, view.message_start) = (Some(now), so_far.len(), so_far.message_start());
                view.must_replace = false;
                Some(frame(run, &payload))
            }
            None => {
                view.held = Some(Held { so_far, at });
                None
            }
        }
    }

    /// The run asks its user something: shown as text, which the next text replaces.
    pub fn question(
        &mut self,
        run: &RunRef,
        current: &str,
        prompt: &str,
        options: &[String],
        at: Timestamp,
        now: Instant,
    ) -> Frame {
        let view = self.runs.entry(run.run_id.clone()).or_default();
        view.held = None;
        view.sent_at = Some(now);
        view.must_replace = true;
        let mut text = [current, prompt].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
        for option in options {
            text.push_str("\n- ");
            text.push_str(option);
        }
        let mut payload = base(run, view.seq, &text, at);
        payload["deltaText"] = json!(text);
        payload["replace"] = json!(true);
        frame(run, &payload)
    }

    pub fn over(&mut self, run: &RunId) {
        self.runs.remove(run);
    }
}

impl View {
    /// `None` while the text may still turn out to be the silent reply.
    fn payload(&self, run: &RunRef, so_far: &TextSoFar, current: &str, at: Timestamp) -> Option<Value> {
        if current.is_empty() || SILENT_REPLY.starts_with(current.trim()) {
            return None;
        }
        let mut payload = base(run, self.seq, current, at);
        let grew = !self.must_replace && self.message_start == so_far.message_start();
        match self.sent.checked_sub(so_far.message_start()).filter(|_| grew) {
            Some(sent) => payload["deltaText"] = json!(&current[sent..]),
            None => {
                payload["deltaText"] = json!(current);
                payload["replace"] = json!(true);
            }
        }
        Some(payload)
    }
}

fn base(run: &RunRef, seq: u64, text: &str, at: Timestamp) -> Value {
    json!({
        "runId": run.run_id, "seq": seq + 1, "state": "delta", "message": message(text, at.as_ms()), "agentId": run.agent_id,
    })
}

fn frame(run: &RunRef, payload: &Value) -> Frame {
    Frame::new(Audience::Scope(Scope::Read), "chat", payload).of(&run.session_key)
}

#[cfg(test)]
mod tests;
