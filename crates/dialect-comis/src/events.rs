//! Our events in Comis's words.

use std::sync::OnceLock;

use axum::body::Bytes;
use model::{AgentId, Envelope, Event, RunOutcome, RunRef, SessionKey, SessionKind, Timestamp, Usage};
use serde_json::{Value, json};
use services::subagents::parent_of;

use crate::coalesce::{Coalescer, Growth};
use crate::session_key::{ComisKey, channel_of, kind_of, spell};
use crate::settings::EventContent;
use crate::sse;

/// The place of this dialect's frames beside an event.
const FRAME_SLOT: usize = 2;

/// Longest text of `message:received`, in characters.
const TEXT_CHARS_MAX: usize = 32_768;

/// What the projection needs to know besides the event.
pub(crate) struct View<'a> {
    pub streaming: &'a Coalescer,
    pub default_agent: &'a AgentId,
    pub content: EventContent,
}

/// The frames of an event, encoded on first use for each kind of content.
#[derive(Default)]
struct Blocks {
    full: OnceLock<Bytes>,
    metadata: OnceLock<Bytes>,
}

/// The frames of an event as they go over the wire; empty when Comis has no word for it.
///
/// The last frame carries the event's own id, those before it the id before: who is cut off in
/// between gets the whole event again. Frames of events that are not kept repeat the id of the
/// durable event they came after.
pub(crate) fn block(envelope: &Envelope, view: &View<'_>) -> Bytes {
    let blocks = envelope.frames::<Blocks>(FRAME_SLOT, |_| Blocks::default());
    let block = match view.content {
        EventContent::Full => &blocks.full,
        EventContent::Metadata => &blocks.metadata,
    };
    block.get_or_init(|| encode(envelope, view)).clone()
}

fn encode(envelope: &Envelope, view: &View<'_>) -> Bytes {
    let told = project(envelope, view);
    let Some((last, before)) = told.split_last() else { return Bytes::new() };
    let id = envelope.position.0;
    let id_before = envelope.cursor.map_or(id, |cursor| cursor.0.saturating_sub(1));
    let mut out = Vec::with_capacity(256);
    for (name, payload) in before {
        sse::frame(&mut out, name, payload, id_before);
    }
    sse::frame(&mut out, last.0, &last.1, id);
    out.into()
}

type Told = Vec<(&'static str, Value)>;

fn project(envelope: &Envelope, view: &View<'_>) -> Told {
    let at = envelope.at;
    match &envelope.event {
        Event::SessionCreated { session_key, .. } => {
            vec![("session:created", json!({ "sessionKey": ComisKey::of(session_key), "timestamp": at }))]
        }
        Event::SessionReset { session_key, reason, .. } => expired(session_key, reset_reason(reason), at),
        Event::SessionDeleted { session_key, .. } => expired(session_key, "deleted", at),
        Event::RunAccepted { run, text, .. } if let Some(parent) = parent_of(&run.session_key) => {
            let payload = json!({
                "runId": run.run_id,
                "parentSessionKey": spell(&parent, view.default_agent),
                "agentId": run.agent_id,
                "task": shown(text, view),
                "timestamp": at,
            });
            vec![("session:sub_agent_spawned", payload)]
        }
        Event::RunAccepted { run, message_id, text, origin, pending, owner: _ } if is_told(run) => {
            let message = json!({
                "id": uuid_of(message_id.as_str()),
                "channelId": channel_of(&run.session_key),
                "channelType": channel_type(&run.session_key),
                "senderId": ComisKey::of(&run.session_key).user_id,
                "text": shown(&clipped(text), view),
                "timestamp": at,
                "attachments": [],
                "chatType": if kind_of(&run.session_key) == "group" { "group" } else { "dm" },
                "metadata": { "runId": run.run_id, "origin": origin, "pending": pending },
            });
            vec![("message:received", json!({ "message": message, "sessionKey": ComisKey::of(&run.session_key) }))]
        }
        Event::RunDelta { run, so_far, .. } if is_streamed(run) => view
            .streaming
            .grown(&run.run_id, at, so_far)
            .map(|growth| streaming(run, &growth, false, view))
            .into_iter()
            .collect(),
        Event::ToolStarted { run, .. } | Event::ToolEnded { run, .. } | Event::InputRequested { run, .. }
            if is_streamed(run) =>
        {
            view.streaming
                .paused(&run.run_id, at)
                .map(|growth| streaming(run, &growth, false, view))
                .into_iter()
                .collect()
        }
        Event::RunEnded { run, .. } if is_told(run) => ended(run, &envelope.event, at, view),
        Event::ConfigChanged { changed_keys, source } => {
            changed_keys.iter().map(|key| ("config:patched", patched(key, source, at))).collect()
        }
        // Comis has no word for these, or they are not for listeners of this dialect.
        Event::RunAccepted { .. }
        | Event::RunStarted { .. }
        | Event::RunDelta { .. }
        | Event::RunThinking { .. }
        | Event::ToolStarted { .. }
        | Event::ToolEnded { .. }
        | Event::InputRequested { .. }
        | Event::RunEnded { .. }
        | Event::SessionCompacted { .. }
        | Event::MessageStored { .. }
        | Event::InputAccepted { .. }
        | Event::StopAsked { .. }
        | Event::RunTakenOver { .. }
        | Event::NodeJoined { .. }
        | Event::NodeLeft { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. }
        | Event::ConfigReloaded { .. }
        | Event::PairingChanged { .. }
        | Event::PresenceChanged { .. }
        | Event::HealthChanged { .. }
        | Event::Tick { .. }
        | Event::ShuttingDown { .. } => Vec::new(),
    }
}

/// Runs of sessions that nobody can read again are their caller's own business.
fn is_told(run: &RunRef) -> bool {
    run.session_key.kind() != SessionKind::Ephemeral
}

fn is_streamed(run: &RunRef) -> bool {
    is_told(run) && !run.quiet
}

fn expired(session: &SessionKey, reason: &str, at: Timestamp) -> Told {
    vec![("session:expired", json!({ "sessionKey": ComisKey::of(session), "reason": reason, "timestamp": at }))]
}

fn reset_reason(reason: &str) -> &str {
    match reason {
        "new" | "reset" => "gateway-reset",
        other => other,
    }
}

fn ended(run: &RunRef, event: &Event, at: Timestamp, view: &View<'_>) -> Told {
    let Event::RunEnded { outcome, response, usage, iterations, model, duration_ms, .. } = event else {
        return Told::new();
    };
    let mut told = Told::new();
    if *iterations > 0 {
        told.push(token_usage(run, model.as_deref(), *usage, *duration_ms, at, view));
    }
    let rest = view.streaming.ended(&run.run_id, response).filter(|_| !run.quiet);
    told.extend(rest.map(|growth| streaming(run, &growth, true, view)));
    if let Some(parent) = parent_of(&run.session_key) {
        told.extend(subagent_ended(run, &parent, outcome, *usage, *duration_ms, at, view));
    }
    match outcome {
        // The answer of a sub-agent goes to who asked for it, and to no channel.
        RunOutcome::Completed { .. } if parent_of(&run.session_key).is_some() => {}
        RunOutcome::Completed { .. } if !response.is_empty() => {
            let payload = json!({
                "channelId": channel_of(&run.session_key),
                "messageId": uuid_of(run.run_id.as_str()),
                "content": shown(response, view),
                "sessionKey": spell(&run.session_key, view.default_agent),
                "agentId": run.agent_id,
                "timestamp": at,
                "runId": run.run_id,
            });
            told.push(("message:sent", payload));
        }
        RunOutcome::Failed { kind, message } => {
            let error = json!({ "name": kind, "message": message });
            told.push((
                "system:error",
                json!({ "error": error, "source": "agent", "message": message, "timestamp": at, "runId": run.run_id }),
            ));
        }
        RunOutcome::Completed { .. } | RunOutcome::Cancelled { .. } => {}
    }
    told
}

/// What a turn used, over all its calls of the model. Prices are not known to the gateway.
fn token_usage(
    run: &RunRef,
    model: Option<&str>,
    usage: Usage,
    duration_ms: u64,
    at: Timestamp,
    view: &View<'_>,
) -> (&'static str, Value) {
    let (provider, model) = model.and_then(|model| model.split_once('/')).unwrap_or_default();
    let payload = json!({
        "timestamp": at,
        "traceId": run.run_id,
        "agentId": run.agent_id,
        "channelId": channel_of(&run.session_key),
        "executionId": run.run_id,
        "provider": provider,
        "model": model,
        "tokens": { "prompt": usage.input, "completion": usage.output, "total": usage.total() },
        "cost": { "input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0 },
        "latencyMs": duration_ms,
        "cacheReadTokens": usage.cache_read,
        "cacheWriteTokens": usage.cache_write,
        "sessionKey": spell(&run.session_key, view.default_agent),
        "savedVsUncached": 0,
        "cacheEligible": usage.cache_read + usage.cache_write > 0,
    });
    ("observability:token_usage", payload)
}

fn subagent_ended(
    run: &RunRef,
    parent: &SessionKey,
    outcome: &RunOutcome,
    usage: Usage,
    duration_ms: u64,
    at: Timestamp,
    view: &View<'_>,
) -> Told {
    let end = match outcome {
        RunOutcome::Completed { .. } => "completed",
        RunOutcome::Failed { .. } => "failed",
        RunOutcome::Cancelled { .. } => "killed",
    };
    let completed = json!({
        "runId": run.run_id,
        "agentId": run.agent_id,
        "success": end == "completed",
        "runtimeMs": duration_ms,
        "tokensUsed": usage.total(),
        "cost": 0,
        "timestamp": at,
        "cacheReadTokens": usage.cache_read,
        "cacheWriteTokens": usage.cache_write,
    });
    let lifecycle = json!({
        "runId": run.run_id,
        "agentId": run.agent_id,
        "parentSessionKey": spell(parent, view.default_agent),
        "endReason": end,
        "durationMs": duration_ms,
        "tokensUsed": usage.total(),
        "cost": 0,
        "timestamp": at,
    });
    vec![("session:sub_agent_completed", completed), ("session:sub_agent_lifecycle_ended", lifecycle)]
}

fn streaming(run: &RunRef, growth: &Growth, is_done: bool, view: &View<'_>) -> (&'static str, Value) {
    let delta = shown(&growth.delta, view);
    let mut payload = json!({
        "channelId": channel_of(&run.session_key),
        "messageId": uuid_of(run.run_id.as_str()),
        "delta": delta,
        "accumulated": shown(&growth.accumulated, view),
        "sessionKey": spell(&run.session_key, view.default_agent),
        "agentId": run.agent_id,
        "content": delta,
        "runId": run.run_id,
    });
    if is_done {
        payload["done"] = json!(true);
    }
    ("message:streaming", payload)
}

fn patched(key: &str, source: &str, at: Timestamp) -> Value {
    match key.split_once('.') {
        Some((section, key)) => json!({ "section": section, "key": key, "patchedBy": source, "timestamp": at }),
        None => json!({ "section": key, "patchedBy": source, "timestamp": at }),
    }
}

fn channel_type(session: &SessionKey) -> &str {
    match session.channel() {
        "comis" => "gateway",
        channel => channel,
    }
}

fn shown<'a>(text: &'a str, view: &View<'_>) -> &'a str {
    match view.content {
        EventContent::Full => text,
        EventContent::Metadata => "",
    }
}

fn clipped(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

/// The same UUID for the same id, where Comis's clients expect that form: two 64-bit FNV-1a sums.
pub(crate) fn uuid_of(id: &str) -> uuid::Uuid {
    let sum = |start: u64| id.bytes().fold(start, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let bits = (u128::from(sum(0xcbf2_9ce4_8422_2325)) << 64) | u128::from(sum(0x6c62_272e_07bb_0142));
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests;
