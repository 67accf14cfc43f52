//! Our events under the topics of the published Aleph API.

use std::marker::PhantomData;

use bytes::Bytes;
use model::{Cursor, Envelope, Event, RunOutcome, RunRef, StopCause, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::errors;
use crate::payload::{
    AgentAccepted, AgentCancelled, AgentCompleted, AgentError, AgentInputRequired, AgentResumed, AgentStarted,
    ConfigChanged, ConfigReloaded, SessionCompacted, SessionCreated, SessionDeleted, SessionMessage, SessionReset,
    StreamChunk, StreamEnd, StreamStart, StreamThinking, StreamToken, StreamToolEnd, StreamToolStart, SystemShutdown,
    SystemTick, Topic,
};

/// A frame of an event: the topic, and the whole notification as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub topic: &'static str,
    /// One of the twins of a delta; those who chose one name do not get the other.
    pub is_alias: bool,
    pub json: Bytes,
    /// Sent instead when another frame of the same durable event follows: whoever is cut off between
    /// the two must not take the event for seen. Has `part_of` where `json` has `cursor`.
    pub part: Option<Bytes>,
}

/// All frames of an event, in the order in which they are sent.
pub fn frames(envelope: &Envelope) -> Vec<Frame> {
    let mut frames = Frames { at: envelope.at, cursor: envelope.cursor, list: Vec::new() };
    project(&envelope.event, &mut frames);
    frames.list
}

/// One frame outside of the log, for a single connection.
pub fn notice<T: Topic>(at: Timestamp, data: &T) -> Bytes {
    encode(at, None, data)
}

struct Frames {
    at: Timestamp,
    cursor: Option<Cursor>,
    list: Vec<Frame>,
}

impl Frames {
    fn add<T: Topic>(&mut self, data: &T) {
        let json = encode(self.at, self.cursor, data);
        // Only what another frame follows is ever sent as a part.
        if let (Some(former), Some(cursor)) = (self.list.last_mut(), self.cursor) {
            former.part = Some(part(&former.json, cursor));
        }
        self.list.push(Frame { topic: T::NAME, is_alias: false, json, part: None });
    }

    /// For topics that a run without streaming leaves out.
    fn add_stream<T: Topic>(&mut self, run: &RunRef, data: &T) {
        if !run.quiet {
            self.add(data);
        }
    }
}

#[derive(Serialize)]
struct Notification<'a, T> {
    jsonrpc: &'static str,
    method: &'static str,
    params: EventParams<'a, T>,
}

#[derive(Serialize)]
struct EventParams<'a, T> {
    topic: &'static str,
    data: &'a T,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
}

fn encode<T: Topic>(timestamp: Timestamp, cursor: Option<Cursor>, data: &T) -> Bytes {
    let params = EventParams { topic: T::NAME, data, timestamp, cursor };
    let notification = Notification { jsonrpc: "2.0", method: "event", params };
    Bytes::from(serde_json::to_vec(&notification).expect("payloads are plain strings, numbers and lists"))
}

/// The same frame, named as a part of its event. The cursor is the last field.
fn part(json: &[u8], cursor: Cursor) -> Bytes {
    let field = |name: &str| format!("\"{name}\":{}}}}}", cursor.0);
    let head = json.strip_suffix(field("cursor").as_bytes()).expect("a durable frame ends with its cursor");
    Bytes::from([head, field("part_of").as_bytes()].concat())
}

fn project(event: &Event, frames: &mut Frames) {
    let lifetime = PhantomData;
    match event {
        Event::SessionCreated { session_key, channel } => {
            frames.add(&SessionCreated { session_key, agent_id: session_key.agent(), channel, lifetime });
        }
        Event::SessionDeleted { session_key, messages_removed } => {
            frames.add(&SessionDeleted { session_key, messages_removed: *messages_removed, lifetime });
        }
        Event::SessionReset { session_key, reason, .. } => frames.add(&SessionReset { session_key, reason, lifetime }),
        Event::SessionCompacted { session_key, tokens_before, tokens_after, facts_extracted, automatic } => {
            frames.add(&SessionCompacted {
                session_key,
                tokens_before: *tokens_before,
                tokens_after: *tokens_after,
                facts_extracted: *facts_extracted,
                trigger: if *automatic { "auto" } else { "manual" },
                lifetime,
            });
        }
        Event::MessageStored { session_key, message_id, role, run_id, .. } => {
            frames.add(&SessionMessage { session_key, message_id, role: *role, run_id: run_id.as_ref(), lifetime });
        }
        Event::RunAccepted { run, pending, .. } => {
            let RunRef { run_id, session_key, agent_id, .. } = run;
            frames.add(&AgentAccepted { run_id, session_key, agent_id, pending: *pending, lifetime });
        }
        Event::RunStarted { run, seq, model } => {
            let RunRef { run_id, session_key, agent_id, .. } = run;
            frames.add(&AgentStarted { run_id, session_key, agent_id, model, lifetime });
            frames.add_stream(run, &StreamStart { run_id, session_key, model, seq: *seq, lifetime });
        }
        Event::RunTakenOver { run, node, .. } => {
            let RunRef { run_id, session_key, agent_id, .. } = run;
            frames.add(&AgentResumed { run_id, session_key, agent_id, node, lifetime });
        }
        Event::RunDelta { run, seq, index, text, .. } => delta(frames, run, *seq, *index, text),
        Event::RunThinking { run, seq, text, .. } => {
            let data = StreamThinking { run_id: &run.run_id, step_type: "general", content: text, seq: *seq, lifetime };
            frames.add_stream(run, &data);
        }
        Event::ToolStarted { run, seq, call_id, name, arguments } => {
            let args = arguments_of(arguments);
            let data =
                StreamToolStart { run_id: &run.run_id, tool_name: name, args, tool_id: call_id, seq: *seq, lifetime };
            frames.add_stream(run, &data);
        }
        Event::ToolEnded { run, seq, call_id, name, result, is_error, duration_ms } => {
            let data = StreamToolEnd {
                run_id: &run.run_id,
                tool_name: name,
                result,
                duration_ms: *duration_ms,
                tool_id: call_id,
                success: !is_error,
                error: is_error.then_some(result.as_str()),
                seq: *seq,
                lifetime,
            };
            frames.add_stream(run, &data);
        }
        Event::InputRequested { run, input_id, prompt, options } => {
            let RunRef { run_id, session_key, .. } = run;
            frames.add(&AgentInputRequired { run_id, session_key, prompt, options, input_id, lifetime });
        }
        Event::RunEnded { .. } => ended(event, frames),
        Event::ConfigChanged { changed_keys, source } => frames.add(&ConfigChanged { changed_keys, source, lifetime }),
        Event::ConfigReloaded { changed_keys, source } => {
            frames.add(&ConfigReloaded { source, changed_keys, lifetime })
        }
        Event::Tick { at, connections, uptime_ms } => {
            frames.add(&SystemTick { ts: at.as_ms(), connections: *connections, uptime_ms: *uptime_ms, lifetime });
        }
        Event::ShuttingDown { reason, grace_ms, .. } => {
            frames.add(&SystemShutdown { reason, grace_period_ms: *grace_ms, lifetime });
        }
        // Credentials, who is connected, and what goes on between nodes are not told of in this dialect.
        Event::InputAccepted { .. }
        | Event::StopAsked { .. }
        | Event::NodeJoined { .. }
        | Event::NodeLeft { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. }
        | Event::PairingChanged { .. }
        | Event::PresenceChanged { .. }
        | Event::HealthChanged { .. } => {}
    }
}

/// A delta goes out under both of its names.
fn delta(frames: &mut Frames, run: &RunRef, seq: u64, index: u64, text: &str) {
    if run.quiet {
        return;
    }
    let (run_id, lifetime) = (&run.run_id, PhantomData);
    frames.add(&StreamChunk { run_id, content: text, text, seq, index, lifetime });
    frames.add(&StreamToken { run_id, content: text, text, seq, index, alias_of: "stream.chunk", lifetime });
    if let Some(twin) = frames.list.last_mut() {
        twin.is_alias = true;
    }
}

fn ended(event: &Event, frames: &mut Frames) {
    let Event::RunEnded { run, seq, started, outcome, response, usage, iterations, duration_ms, .. } = event else {
        return;
    };
    let (RunRef { run_id, session_key, .. }, lifetime) = (run, PhantomData);
    let reason = match outcome {
        RunOutcome::Completed { .. } => "completed",
        RunOutcome::Cancelled { .. } => "cancelled",
        RunOutcome::Failed { .. } => "error",
    };
    if *started {
        frames.add_stream(run, &StreamEnd { run_id, reason, seq: *seq, lifetime });
    }
    match outcome {
        RunOutcome::Completed { .. } => frames.add(&AgentCompleted {
            run_id,
            session_key,
            tokens_used: usage.total(),
            duration_ms: *duration_ms,
            iterations: *iterations,
            response,
            lifetime,
        }),
        RunOutcome::Cancelled { cause } => {
            frames.add(&AgentCancelled { run_id, session_key, reason: cause_word(*cause), lifetime });
        }
        RunOutcome::Failed { kind, message } => {
            let code = errors::code(model::ErrorKind::from_word(kind));
            frames.add(&AgentError { run_id, session_key, error: message, code, lifetime });
        }
    }
}

pub const fn cause_word(cause: StopCause) -> &'static str {
    match cause {
        StopCause::User | StopCause::StopCommand | StopCause::ClientGone => "user",
        StopCause::SessionDeleted => "session_deleted",
        StopCause::SessionReset => "session_reset",
        StopCause::Timeout => "timeout",
        StopCause::Shutdown => "shutdown",
    }
}

/// Arguments as JSON where they are JSON.
pub fn arguments_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Topics that a role may see at all.
pub fn may_see(kind: model::PrincipalKind, topic: &str) -> bool {
    match kind {
        model::PrincipalKind::Operator | model::PrincipalKind::Device => true,
        model::PrincipalKind::Node => !["exec.", "guest.", "mcp."].iter().any(|namespace| topic.starts_with(namespace)),
        model::PrincipalKind::Guest => {
            ["stream.", "agent.", "session."].iter().any(|namespace| topic.starts_with(namespace))
        }
    }
}
