//! Our events under the topics of the published Aleph API.

use bytes::Bytes;
use model::{Envelope, Event, RunOutcome, RunRef, StopCause};
use serde_json::{Value, json};

use crate::errors;

/// A frame of an event: the topic, and the whole notification as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub topic: &'static str,
    /// One of the twins of a delta; those who chose one name do not get the other.
    pub is_alias: bool,
    pub json: Bytes,
}

/// All frames of an event, in the order in which they are sent.
pub fn frames(envelope: &Envelope) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut push = |topic: &'static str, is_alias: bool, data: Value| {
        let mut params = json!({ "topic": topic, "data": data, "timestamp": envelope.at.as_ms() });
        if let Some(cursor) = envelope.cursor {
            params["cursor"] = json!(cursor);
        }
        let text = format!(r#"{{"jsonrpc":"2.0","method":"event","params":{params}}}"#);
        frames.push(Frame { topic, is_alias, json: Bytes::from(text) });
    };
    project(&envelope.event, &mut push);
    frames
}

fn project(event: &Event, push: &mut impl FnMut(&'static str, bool, Value)) {
    match event {
        Event::SessionCreated { session_key, channel } => {
            push("session.created", false, json!({ "session_key": session_key, "agent_id": session_key.agent(), "channel": channel }));
        }
        Event::SessionDeleted { session_key, messages_removed } => {
            push("session.deleted", false, json!({ "session_key": session_key, "messages_removed": messages_removed }));
        }
        Event::SessionReset { session_key, reason, .. } => {
            push("session.reset", false, json!({ "session_key": session_key, "reason": reason }));
        }
        Event::SessionCompacted { session_key, tokens_before, tokens_after, facts_extracted, automatic } => push(
            "session.compacted",
            false,
            json!({
                "session_key": session_key, "tokens_before": tokens_before, "tokens_after": tokens_after,
                "facts_extracted": facts_extracted, "trigger": if *automatic { "auto" } else { "manual" },
            }),
        ),
        Event::MessageStored { session_key, message_id, role, run_id, .. } => push(
            "session.message",
            false,
            json!({ "session_key": session_key, "message_id": message_id, "role": role, "run_id": run_id }),
        ),
        Event::RunAccepted { run, pending, .. } => {
            push("agent.accepted", false, json!({ "run_id": run.run_id, "session_key": run.session_key, "agent_id": run.agent_id, "pending": pending }));
        }
        Event::RunStarted { run, seq, model } => {
            push("agent.started", false, json!({ "run_id": run.run_id, "session_key": run.session_key, "agent_id": run.agent_id, "model": model }));
            stream(run, "stream.start", push, json!({ "run_id": run.run_id, "session_key": run.session_key, "model": model, "seq": seq }));
        }
        Event::RunDelta { run, seq, index, text, .. } if !run.quiet => {
            let mut data = json!({ "run_id": run.run_id, "content": text, "text": text, "seq": seq, "index": index });
            push("stream.chunk", false, data.clone());
            data["alias_of"] = json!("stream.chunk");
            push("stream.token", true, data);
        }
        Event::RunDelta { .. } => {}
        Event::RunThinking { run, seq, text, .. } => {
            stream(run, "stream.thinking", push, json!({ "run_id": run.run_id, "step_type": "general", "content": text, "seq": seq }));
        }
        Event::ToolStarted { run, seq, call_id, name, arguments } => stream(
            run,
            "stream.tool_start",
            push,
            json!({ "run_id": run.run_id, "tool_name": name, "args": arguments_of(arguments), "tool_id": call_id, "seq": seq }),
        ),
        Event::ToolEnded { run, seq, call_id, name, result, is_error, duration_ms } => {
            let mut data = json!({
                "run_id": run.run_id, "tool_name": name, "result": result, "duration_ms": duration_ms,
                "tool_id": call_id, "success": !is_error, "seq": seq,
            });
            if *is_error {
                data["error"] = json!(result);
            }
            stream(run, "stream.tool_end", push, data);
        }
        Event::InputRequested { run, input_id, prompt, options } => push(
            "agent.input_required",
            false,
            json!({ "run_id": run.run_id, "session_key": run.session_key, "prompt": prompt, "options": options, "input_id": input_id }),
        ),
        Event::RunEnded { .. } => ended(event, push),
        Event::ConfigChanged { changed_keys, source } => {
            push("config.changed", false, json!({ "changed_keys": changed_keys, "source": source }));
        }
        Event::ConfigReloaded { changed_keys, source } => {
            push("config.reloaded", false, json!({ "source": source, "changed_keys": changed_keys }));
        }
        Event::Tick { at, connections, uptime_ms } => {
            push("system.tick", false, json!({ "ts": at, "connections": connections, "uptime_ms": uptime_ms }));
        }
        Event::ShuttingDown { reason, grace_ms, .. } => {
            push("system.shutdown", false, json!({ "reason": reason, "grace_period_ms": grace_ms }));
        }
        // Credentials and who is connected are not told of in this dialect.
        Event::TokenRevoked { .. } | Event::PresenceChanged { .. } | Event::PairingChanged { .. } | Event::HealthChanged { .. } => {}
    }
}

fn stream(run: &RunRef, topic: &'static str, push: &mut impl FnMut(&'static str, bool, Value), data: Value) {
    if !run.quiet {
        push(topic, false, data);
    }
}

fn ended(event: &Event, push: &mut impl FnMut(&'static str, bool, Value)) {
    let Event::RunEnded { run, seq, started, outcome, response, usage, iterations, duration_ms, .. } = event else { return };
    let reason = match outcome {
        RunOutcome::Completed { .. } => "completed",
        RunOutcome::Cancelled { .. } => "cancelled",
        RunOutcome::Failed { .. } => "error",
    };
    if *started {
        stream(run, "stream.end", push, json!({ "run_id": run.run_id, "reason": reason, "seq": seq }));
    }
    match outcome {
        RunOutcome::Completed { .. } => push(
            "agent.completed",
            false,
            json!({
                "run_id": run.run_id, "session_key": run.session_key, "tokens_used": usage.total(),
                "duration_ms": duration_ms, "iterations": iterations, "response": response,
            }),
        ),
        RunOutcome::Cancelled { cause } => push(
            "agent.cancelled",
            false,
            json!({ "run_id": run.run_id, "session_key": run.session_key, "reason": cause_word(*cause) }),
        ),
        RunOutcome::Failed { kind, message } => push(
            "agent.error",
            false,
            json!({
                "run_id": run.run_id, "session_key": run.session_key, "error": message,
                "code": errors::code(model::ErrorKind::from_word(kind)),
            }),
        ),
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
        model::PrincipalKind::Guest => ["stream.", "agent.", "session."].iter().any(|namespace| topic.starts_with(namespace)),
    }
}
