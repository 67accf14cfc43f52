//! Flat stream notifications, as the stock Aleph 0.2 clients read them: `stream.<type>` with the
//! fields beside `type` and `run_id`, instead of enveloped `stream.*` and `agent.*` events.

use bytes::Bytes;
use model::{Envelope, Event, RunOutcome};
use serde_json::{Value, json};

use crate::errors;
use crate::events::arguments_of;

/// The flat frames of an event with their method names; `None` when the event keeps its envelope.
pub fn frames(envelope: &Envelope) -> Option<Vec<(&'static str, Bytes)>> {
    let at = envelope.at;
    let list = match &envelope.event {
        Event::RunStarted { run, seq, .. } => {
            vec![(
                "run_accepted",
                json!({ "run_id": run.run_id, "seq": seq, "session_key": run.session_key, "accepted_at": at.to_iso() }),
            )]
        }
        Event::RunThinking { run, seq, text, .. } => {
            vec![("reasoning", json!({ "run_id": run.run_id, "seq": seq, "content": text, "is_complete": false }))]
        }
        Event::ToolStarted { run, seq, call_id, name, arguments } => vec![(
            "tool_start",
            json!({ "run_id": run.run_id, "seq": seq, "tool_name": name, "tool_id": call_id, "params": arguments_of(arguments) }),
        )],
        Event::ToolEnded { run, seq, call_id, result, is_error, duration_ms, .. } => vec![(
            "tool_end",
            json!({
                "run_id": run.run_id, "seq": seq, "tool_id": call_id, "duration_ms": duration_ms,
                "result": { "success": !is_error, "output": result, "error": is_error.then_some(result) },
            }),
        )],
        Event::RunDelta { run, seq, index, text, .. } => vec![(
            "response_chunk",
            json!({ "run_id": run.run_id, "seq": seq, "content": text, "chunk_index": index, "is_final": false }),
        )],
        Event::InputRequested { run, prompt, options, input_id, .. } => vec![(
            "ask_user",
            json!({ "run_id": run.run_id, "question": prompt, "options": options, "request_id": input_id }),
        )],
        Event::RunEnded { .. } => ended(&envelope.event),
        Event::RunAccepted { .. } => Vec::new(),
        Event::SessionCreated { .. }
        | Event::SessionDeleted { .. }
        | Event::SessionReset { .. }
        | Event::SessionCompacted { .. }
        | Event::MessageStored { .. }
        | Event::InputAccepted { .. }
        | Event::StopAsked { .. }
        | Event::RunTakenOver { .. }
        | Event::NodeJoined { .. }
        | Event::NodeLeft { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. }
        | Event::ConfigChanged { .. }
        | Event::ConfigReloaded { .. }
        | Event::PresenceChanged { .. }
        | Event::PairingChanged { .. }
        | Event::HealthChanged { .. }
        | Event::Tick { .. }
        | Event::ShuttingDown { .. } => return None,
    };
    Some(list.into_iter().map(|(kind, params)| encode(kind, params)).collect())
}

fn ended(event: &Event) -> Vec<(&'static str, Value)> {
    let Event::RunEnded { run, seq, outcome, response, usage, iterations, tool_calls, duration_ms, .. } = event else {
        return Vec::new();
    };
    let last = json!({ "run_id": run.run_id, "seq": seq, "content": "", "chunk_index": 0, "is_final": true });
    let end = match outcome {
        RunOutcome::Completed { .. } => (
            "run_complete",
            json!({
                "run_id": run.run_id, "seq": seq, "total_duration_ms": duration_ms,
                "summary": { "total_tokens": usage.total(), "tool_calls": tool_calls, "loops": iterations, "final_response": response },
            }),
        ),
        RunOutcome::Cancelled { .. } => {
            ("run_error", json!({ "run_id": run.run_id, "seq": seq, "error": "cancelled", "error_code": "CANCELLED" }))
        }
        RunOutcome::Failed { kind, message } => (
            "run_error",
            json!({
                "run_id": run.run_id, "seq": seq, "error": message,
                "error_code": errors::code(model::ErrorKind::from_word(kind)).to_string(),
            }),
        ),
    };
    vec![("response_chunk", last), end]
}

fn encode(kind: &'static str, mut params: Value) -> (&'static str, Bytes) {
    params["type"] = json!(kind);
    (kind, Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"stream.{kind}","params":{params}}}"#)))
}
