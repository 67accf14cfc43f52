//! Our events under the names of the published ArgentOS API.
//!
//! A projection is made once per event and shared by all connections; what differs between them
//! (sequence numbers, the spelling of a session) is put around the shared bytes. Chat deltas are the
//! exception: they depend on what a connection was sent before, see `connection::chat`.

use std::sync::Arc;

use model::{Envelope, Event, PairRequest, PairState, PresenceEntry, RunOutcome, RunRef, Scope, SessionKey};
use serde_json::{Value, json};

use crate::Argent;
use crate::framing::event_body;
use crate::outcome::{End, Outcome, usage_json};
use crate::scopes;

/// Every event that a connection can get.
pub const NAMES: [&str; 13] = [
    "connect.challenge",
    "agent",
    "chat",
    "presence",
    "tick",
    "health",
    "shutdown",
    "config.changed",
    "sessions.changed",
    "session.message",
    "device.pair.requested",
    "device.pair.resolved",
    "events.resync",
];

/// Who gets a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every connection, whatever its role.
    Everybody,
    Scope(Scope),
    /// Those who read and asked for changes of sessions.
    Sessions,
    /// Those who read and follow this transcript.
    Transcript,
    /// Those who started or joined the run and want its tools.
    Tools,
    /// Those who started or joined the run, when its session streams reasoning.
    Thinking,
}

/// A frame without the parts that differ between connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub audience: Audience,
    /// `"event":"…","payload":{…` without the closing brace.
    pub body: Vec<u8>,
    /// With a tool's results, for sessions that are fully verbose.
    pub verbose: Option<Vec<u8>>,
    /// The session whose key belongs into the payload.
    pub session: Option<SessionKey>,
    /// Presence and health.
    pub state_version: Option<(u64, u64)>,
}

impl Frame {
    pub fn new(audience: Audience, name: &str, payload: &Value) -> Self {
        Self { audience, body: event_body(name, payload), verbose: None, session: None, state_version: None }
    }

    #[must_use]
    pub fn of(mut self, session: &SessionKey) -> Self {
        self.session = Some(session.clone());
        self
    }

    /// Events meant for some connections only carry no sequence number.
    pub fn is_targeted(&self) -> bool {
        self.audience == Audience::Tools
    }
}

/// The frames of an event, in the order in which they are sent.
pub fn project(argent: &Argent, envelope: &Envelope) -> Vec<Frame> {
    let at = envelope.at.as_ms();
    match &envelope.event {
        Event::RunAccepted { run, .. } => vec![session_changed(&run.session_key, "send", at)],
        Event::RunStarted { run, seq, .. } => {
            let data = json!({ "phase": "start", "startedAt": at });
            vec![agent_event(run, *seq, "lifecycle", at, &data), session_changed(&run.session_key, "run-start", at)]
        }
        Event::RunDelta { run, seq, text, so_far, .. } => {
            let data = so_far.with_current(|current| json!({ "text": current, "delta": text }));
            vec![agent_event(run, *seq, "assistant", at, &data)]
        }
        Event::RunThinking { run, seq, text, so_far } => {
            let data = so_far.with(|all| json!({ "text": all, "delta": text }));
            vec![Frame { audience: Audience::Thinking, ..agent_event(run, *seq, "thinking", at, &data) }]
        }
        Event::ToolStarted { run, seq, call_id, name, arguments } => {
            let args: Value = serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.clone()));
            let data = json!({ "phase": "start", "name": name, "toolCallId": call_id, "args": args });
            vec![Frame { audience: Audience::Tools, ..agent_event(run, *seq, "tool", at, &data) }]
        }
        Event::ToolEnded { run, seq, call_id, name, result, is_error, duration_ms } => {
            let mut data = json!({
                "phase": "result", "name": name, "toolCallId": call_id, "isError": is_error, "meta": { "durationMs": duration_ms },
            });
            let plain = agent_event(run, *seq, "tool", at, &data);
            data["result"] = json!(result);
            let verbose = agent_event(run, *seq, "tool", at, &data).body;
            vec![Frame { audience: Audience::Tools, verbose: Some(verbose), ..plain }]
        }
        // Told as chat text, which depends on what a connection was sent before.
        Event::InputRequested { .. } => Vec::new(),
        Event::RunEnded { .. } => run_ended(envelope),
        Event::MessageStored { session_key, message_id, message_seq, role, text, .. } => {
            let message = json!({ "role": role, "content": [{ "type": "text", "text": text }], "timestamp": at });
            let payload = json!({ "messageId": message_id, "messageSeq": message_seq, "message": message, "ts": at });
            vec![Frame::new(Audience::Transcript, "session.message", &payload).of(session_key)]
        }
        Event::SessionCreated { session_key, .. } => vec![session_changed(session_key, "create", at)],
        Event::SessionDeleted { session_key, .. } => vec![session_changed(session_key, "delete", at)],
        Event::SessionReset { session_key, .. } => vec![session_changed(session_key, "reset", at)],
        Event::SessionCompacted { session_key, .. } => vec![session_changed(session_key, "compact", at)],
        Event::ConfigChanged { changed_keys, .. } | Event::ConfigReloaded { changed_keys, .. } => {
            let payload = json!({ "hash": argent.config_hash(), "changedPaths": changed_keys, "ts": at });
            vec![Frame::new(Audience::Scope(Scope::Read), "config.changed", &payload)]
        }
        Event::PresenceChanged { entries, version } => {
            let frame =
                Frame::new(Audience::Scope(Scope::Read), "presence", &json!({ "presence": presence(argent, entries) }));
            vec![Frame { state_version: Some((*version, argent.health.version())), ..frame }]
        }
        Event::HealthChanged { version } => health(argent, *version).into_iter().collect(),
        Event::PairingChanged { request, state } => vec![pairing(request, *state, at)],
        Event::ShuttingDown { reason, restart_expected_ms, .. } => {
            vec![shutdown(reason, *restart_expected_ms)]
        }
        // Credentials and what goes on between nodes are not told of; ticks are each connection's own.
        Event::InputAccepted { .. }
        | Event::StopAsked { .. }
        | Event::RunTakenOver { .. }
        | Event::NodeJoined { .. }
        | Event::NodeLeft { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. }
        | Event::Tick { .. } => Vec::new(),
    }
}

/// An `agent` event; runs count their events from 1 here.
fn agent_event(run: &RunRef, seq: u64, stream: &str, at: i64, data: &Value) -> Frame {
    let payload = json!({ "runId": run.run_id, "seq": seq + 1, "stream": stream, "ts": at, "data": data, "agentId": run.agent_id });
    Frame::new(Audience::Scope(Scope::Read), "agent", &payload).of(&run.session_key)
}

fn run_ended(envelope: &Envelope) -> Vec<Frame> {
    let Event::RunEnded { run, seq, started, outcome, usage, .. } = &envelope.event else { return Vec::new() };
    let Some(told) = Outcome::of_event(envelope.at, &envelope.event) else { return Vec::new() };
    let at = envelope.at.as_ms();
    let mut frames = Vec::new();
    if *started {
        let data = match &told.end {
            End::Completed { reason } => json!({ "phase": "end", "endedAt": at, "stopReason": reason }),
            End::Aborted { reason } => json!({ "phase": "end", "endedAt": at, "stopReason": reason, "aborted": true }),
            End::Failed { message, .. } => json!({ "phase": "error", "endedAt": at, "error": message }),
        };
        frames.push(agent_event(run, *seq, "lifecycle", at, &data));
    }
    let state = match outcome {
        RunOutcome::Completed { .. } => "final",
        RunOutcome::Cancelled { .. } => "aborted",
        RunOutcome::Failed { .. } => "error",
    };
    let mut payload = json!({ "runId": run.run_id, "seq": seq + 1, "state": state, "agentId": run.agent_id });
    if let Some(text) = told.visible_text() {
        payload["message"] = message(text, at);
    }
    match &told.end {
        End::Completed { reason } => {
            payload["stopReason"] = json!(reason);
            payload["usage"] = usage_json(usage);
        }
        End::Aborted { reason } => payload["stopReason"] = json!(reason),
        End::Failed { message, .. } => payload["errorMessage"] = json!(message),
    }
    frames.push(Frame::new(Audience::Scope(Scope::Read), "chat", &payload).of(&run.session_key));
    frames.push(session_changed(&run.session_key, "run-end", at));
    frames
}

/// A message as chat events carry it.
pub fn message(text: &str, at: i64) -> Value {
    json!({ "role": "assistant", "content": [{ "type": "text", "text": text }], "timestamp": at })
}

fn session_changed(key: &SessionKey, reason: &str, at: i64) -> Frame {
    Frame::new(Audience::Sessions, "sessions.changed", &json!({ "reason": reason, "ts": at })).of(key)
}

pub fn shutdown(reason: &str, restart_expected_ms: Option<u64>) -> Frame {
    let payload = json!({ "reason": reason, "restartExpectedMs": restart_expected_ms });
    Frame::new(Audience::Everybody, "shutdown", &payload)
}

fn health(argent: &Argent, version: u64) -> Option<Frame> {
    let snapshot = argent.health.snapshot()?;
    let mut body = br#""event":"health","payload":"#.to_vec();
    body.extend_from_slice(snapshot.json.get().as_bytes());
    // The closing brace is put back by the connection.
    body.pop();
    let state_version = Some((argent.services.presence.version(), version));
    Some(Frame { audience: Audience::Everybody, body, verbose: None, session: None, state_version })
}

fn pairing(request: &Arc<PairRequest>, state: PairState, at: i64) -> Frame {
    let decided = |decision: &str| {
        let payload = json!({
            "requestId": request.request_id, "deviceId": request.device.device_id, "decision": decision, "ts": at,
        });
        Frame::new(Audience::Scope(Scope::Pairing), "device.pair.resolved", &payload)
    };
    match state {
        PairState::Requested => {
            Frame::new(Audience::Scope(Scope::Pairing), "device.pair.requested", &pair_request(request))
        }
        PairState::Approved => decided("approved"),
        PairState::Rejected => decided("rejected"),
    }
}

/// A pairing request as lists and events show it.
pub fn pair_request(request: &PairRequest) -> Value {
    let device = &request.device;
    let mut json = json!({
        "requestId": request.request_id,
        "deviceId": device.device_id,
        "publicKey": device.public_key,
        "role": request.role,
        "roles": request.roles,
        "scopes": scopes::words(request.scopes),
        "silent": request.silent,
        "isRepair": request.is_repair,
        "ts": request.at.as_ms(),
    });
    put(&mut json, "displayName", device.display_name.as_deref());
    put(&mut json, "platform", device.platform.as_deref());
    put(&mut json, "deviceFamily", device.device_family.as_deref());
    put(&mut json, "clientId", device.client_id.as_deref());
    put(&mut json, "clientMode", device.client_mode.as_deref());
    put(&mut json, "remoteIp", device.remote_ip.as_deref());
    json
}

/// Sets a field that is left out when there is nothing to say.
pub fn put(json: &mut Value, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        json[name] = json!(value);
    }
}

/// Everybody who is connected, newest first, and the gateway itself.
pub fn presence(argent: &Argent, entries: &[PresenceEntry]) -> Vec<Value> {
    let info = &argent.services.info;
    let mut list: Vec<Value> = entries.iter().map(presence_entry).collect();
    list.push(json!({
        "host": info.host,
        "version": info.version,
        "platform": std::env::consts::OS,
        "mode": "gateway",
        "reason": "self",
        "text": format!("Gateway: {} · app {} · mode gateway · reason self", info.host, info.version),
        "ts": info.started_at.as_ms(),
    }));
    list
}

fn presence_entry(entry: &PresenceEntry) -> Value {
    let mut json = json!({ "text": entry.text, "ts": entry.at.as_ms() });
    put(&mut json, "host", entry.host.as_deref());
    put(&mut json, "ip", entry.ip.as_deref());
    put(&mut json, "version", entry.version.as_deref());
    put(&mut json, "platform", entry.platform.as_deref());
    put(&mut json, "deviceFamily", entry.device_family.as_deref());
    put(&mut json, "modelIdentifier", entry.model_identifier.as_deref());
    put(&mut json, "mode", entry.mode.as_deref());
    put(&mut json, "reason", entry.reason.as_deref());
    put(&mut json, "deviceId", entry.device_id.as_deref());
    put(&mut json, "instanceId", entry.instance_id.as_deref());
    if !entry.roles.is_empty() {
        json["roles"] = json!(entry.roles);
        json["scopes"] = json!(entry.scopes);
    }
    json
}
