//! What each topic carries, as types: the frames are made of them, and so is the contract.

use model::{AgentId, InputId, MessageId, Role, RunId, SessionKey};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A topic and its data.
pub trait Topic: Serialize + JsonSchema {
    const NAME: &'static str;
    /// Kept in the log: it has a cursor and can be resumed from.
    const IS_DURABLE: bool;
}

macro_rules! topic {
    ($(#[$doc:meta])* $type:ident, $name:literal, $durable:literal, { $($(#[$field_doc:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Serialize, JsonSchema)]
        pub struct $type<'a> {
            $($(#[$field_doc])* pub $field: $kind,)*
            #[serde(skip)]
            pub lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl Topic for $type<'_> {
            const NAME: &'static str = $name;
            const IS_DURABLE: bool = $durable;
        }
    };
}

topic!(/// First message of an unknown session key.
SessionCreated, "session.created", true, {
    session_key: &'a SessionKey, agent_id: AgentId, channel: &'a str,
});
topic!(/// A session and its messages are gone.
    SessionDeleted, "session.deleted", true, { session_key: &'a SessionKey, messages_removed: u64 });
topic!(/// A session has a new, empty transcript.
    SessionReset, "session.reset", true, { session_key: &'a SessionKey, reason: &'a str });
topic!(/// Older messages were replaced by a summary.
SessionCompacted, "session.compacted", true, {
    session_key: &'a SessionKey, tokens_before: u64, tokens_after: u64, facts_extracted: u64,
    /// `manual` or `auto`.
    trigger: &'static str,
});
topic!(/// A message was stored.
SessionMessage, "session.message", true, {
    session_key: &'a SessionKey, message_id: &'a MessageId, role: Role, run_id: Option<&'a RunId>,
});
topic!(/// A message was accepted for an agent.
AgentAccepted, "agent.accepted", true, {
    run_id: &'a RunId, session_key: &'a SessionKey, agent_id: &'a AgentId,
    /// It waits behind another run of its session.
    pending: bool,
});
topic!(/// A run begins.
AgentStarted, "agent.started", true, {
    run_id: &'a RunId, session_key: &'a SessionKey, agent_id: &'a AgentId, model: &'a str,
});
topic!(/// A run goes on from its last written step after its node was gone. Text that was told behind that step
/// is void; chunks are counted from 0 again.
AgentResumed, "agent.resumed", true, {
    run_id: &'a RunId, session_key: &'a SessionKey, agent_id: &'a AgentId,
    /// The node that goes on with it.
    node: &'a str,
});
topic!(/// A run ended well. The last event of its run.
AgentCompleted, "agent.completed", true, {
    run_id: &'a RunId, session_key: &'a SessionKey, tokens_used: u64, duration_ms: u64, iterations: u32, response: &'a str,
});
topic!(/// A run failed. The last event of its run.
AgentError, "agent.error", true, {
    run_id: &'a RunId, session_key: &'a SessionKey, error: &'a str, code: i32,
});
topic!(/// A run was stopped. The last event of its run.
AgentCancelled, "agent.cancelled", true, {
    run_id: &'a RunId, session_key: &'a SessionKey,
    /// `user`, `session_deleted`, `session_reset`, `timeout` or `shutdown`.
    reason: &'static str,
});
topic!(/// A run waits for `agent.respondToInput`.
AgentInputRequired, "agent.input_required", true, {
    run_id: &'a RunId, session_key: &'a SessionKey, prompt: &'a str, options: &'a [String], input_id: &'a InputId,
});
topic!(/// Before the first other `stream.*` of a run. `seq` counts them from 0.
StreamStart, "stream.start", true, {
    run_id: &'a RunId, session_key: &'a SessionKey, model: &'a str, seq: u64,
});
topic!(/// More text of the answer. Joined in order of `index` they are the answer.
StreamChunk, "stream.chunk", false, {
    run_id: &'a RunId, content: &'a str,
    /// The same as `content`.
    text: &'a str,
    seq: u64, index: u64,
});
topic!(/// The same as the `stream.chunk` before it, under another name; skip one of the two.
StreamToken, "stream.token", false, {
    run_id: &'a RunId, content: &'a str, text: &'a str, seq: u64, index: u64,
    /// `stream.chunk`
    alias_of: &'static str,
});
topic!(/// More of the model's reasoning.
StreamThinking, "stream.thinking", false, {
    run_id: &'a RunId,
    /// `general`
    step_type: &'static str,
    content: &'a str, seq: u64,
});
topic!(/// Before a tool runs.
StreamToolStart, "stream.tool_start", true, {
    run_id: &'a RunId, tool_name: &'a str,
    /// As JSON where the model wrote JSON, else as text.
    args: Value,
    tool_id: &'a str, seq: u64,
});
topic!(/// After a tool ran.
StreamToolEnd, "stream.tool_end", true, {
    run_id: &'a RunId, tool_name: &'a str, result: &'a str, duration_ms: u64, tool_id: &'a str, success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    seq: u64,
});
topic!(/// Exactly once after `stream.start`.
StreamEnd, "stream.end", true, {
    run_id: &'a RunId,
    /// `completed`, `cancelled` or `error`.
    reason: &'static str,
    seq: u64,
});
topic!(/// The effective configuration changed.
ConfigChanged, "config.changed", true, {
    /// Dotted leaf paths, sorted.
    changed_keys: &'a [String],
    source: &'a str,
});
topic!(/// The configuration was read from disk and applied.
    ConfigReloaded, "config.reloaded", true, { source: &'a str, changed_keys: &'a [String] });
topic!(/// Every ten seconds, to those with a pattern that begins with `system.`.
SystemTick, "system.tick", false, {
    /// Unix milliseconds.
    ts: i64,
    connections: u64, uptime_ms: u64,
});
topic!(/// The gateway stops; what runs may finish within the grace period.
    SystemShutdown, "system.shutdown", false, { reason: &'a str, grace_period_ms: u64 });
topic!(/// This connection was too slow and lost ephemeral events.
    SystemEventsDropped, "system.events_dropped", false, { count: u64 });
topic!(/// The cursor asked for is not in the log; load the state anew. Delivery goes on behind `cursor`.
    SystemResync, "system.resync", false, { oldest_cursor: u64, cursor: u64 });

/// The channels and messages of an AsyncAPI document.
pub fn describe(generator: &mut SchemaGenerator) -> (Map<String, Value>, Map<String, Value>) {
    let mut listed = Listed { generator, channels: Map::new(), messages: Map::new() };
    listed.add::<SessionCreated<'_>>();
    listed.add::<SessionDeleted<'_>>();
    listed.add::<SessionReset<'_>>();
    listed.add::<SessionCompacted<'_>>();
    listed.add::<SessionMessage<'_>>();
    listed.add::<AgentAccepted<'_>>();
    listed.add::<AgentStarted<'_>>();
    listed.add::<AgentResumed<'_>>();
    listed.add::<AgentCompleted<'_>>();
    listed.add::<AgentError<'_>>();
    listed.add::<AgentCancelled<'_>>();
    listed.add::<AgentInputRequired<'_>>();
    listed.add::<StreamStart<'_>>();
    listed.add::<StreamChunk<'_>>();
    listed.add::<StreamToken<'_>>();
    listed.add::<StreamThinking<'_>>();
    listed.add::<StreamToolStart<'_>>();
    listed.add::<StreamToolEnd<'_>>();
    listed.add::<StreamEnd<'_>>();
    listed.add::<ConfigChanged<'_>>();
    listed.add::<ConfigReloaded<'_>>();
    listed.add::<SystemTick<'_>>();
    listed.add::<SystemShutdown<'_>>();
    listed.add::<SystemEventsDropped<'_>>();
    listed.add::<SystemResync<'_>>();
    (listed.channels, listed.messages)
}

struct Listed<'g> {
    generator: &'g mut SchemaGenerator,
    channels: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Listed<'_> {
    fn add<T: Topic>(&mut self) {
        let schema = T::json_schema(self.generator);
        let summary = schema.get("description").cloned().unwrap_or_default();
        self.messages.insert(
            T::NAME.to_owned(),
            json!({ "name": T::NAME, "summary": summary, "payload": schema, "x-durable": T::IS_DURABLE }),
        );
        let reference = json!({ "$ref": format!("#/components/messages/{}", T::NAME) });
        self.channels.insert(T::NAME.to_owned(), json!({ "address": T::NAME, "messages": { "event": reference } }));
    }
}
