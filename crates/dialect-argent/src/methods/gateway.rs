//! `health`, `status`, `system-presence`.

use std::borrow::Cow;
use std::sync::Arc;

use model::{AgentId, ErrorKind, OpError, Scope, Session};
use ops::{Call, Reply};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};
use services::sessions::SessionFilter;

use super::{HIDDEN, NoParams};
use crate::link::link;
use crate::{events, health, keys, rows};

/// Tell that the gateway serves, with its agents and newest sessions.
///
/// Answered from a snapshot that is at most a minute old; `probe` builds a new one.
#[derive(JsonSchema)]
pub struct Health;

pub const HEALTH_ERRORS: &[ErrorKind] = &[ErrorKind::Unavailable];

#[derive(Debug, Deserialize, JsonSchema)]
pub struct HealthParams {
    #[serde(default)]
    probe: bool,
}

/// A snapshot, passed on as the text that it is kept as.
pub struct HealthOutput(Arc<health::Snapshot>);

impl Serialize for HealthOutput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json.serialize(serializer)
    }
}

impl JsonSchema for HealthOutput {
    fn schema_name() -> Cow<'static, str> {
        HealthView::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        HealthView::json_schema(generator)
    }
}

/// The shape of a health snapshot.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[allow(dead_code, reason = "describes what is built elsewhere")]
struct HealthView {
    ok: bool,
    /// Unix milliseconds.
    ts: i64,
    duration_ms: u64,
    channels: Map<String, Value>,
    channel_order: Vec<String>,
    channel_labels: Map<String, Value>,
    heartbeat_seconds: u64,
    default_agent_id: String,
    agents: Vec<Value>,
    sessions: Value,
}

pub async fn health(call: Call, params: HealthParams) -> Result<Reply<HealthOutput>, OpError> {
    let snapshot = link(&call)?.argent.health.current(params.probe).await?;
    Ok(HealthOutput(snapshot).into())
}

/// Tell the state of the whole gateway: sessions with their use of the context window, by agent.
///
/// Paths are shown to administrators only.
#[derive(JsonSchema)]
pub struct Status;

/// Sessions listed for the gateway and for each agent.
const RECENT: u64 = 10;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "checked for their types; the summary is always there")]
pub struct StatusParams {
    #[serde(default)]
    include_channel_summary: bool,
    #[serde(default)]
    include_cli_projection: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusOutput {
    heartbeat: Value,
    channel_summary: Vec<String>,
    queued_system_events: Vec<String>,
    sessions: Value,
    channel_runtime: Map<String, Value>,
    runtime_version: &'static str,
    pid: u32,
    uptime_ms: u64,
}

pub async fn status(call: Call, _: StatusParams) -> Result<Reply<StatusOutput>, OpError> {
    let services = &call.services;
    let path = || {
        if call.principal.scopes.contains(Scope::Admin) {
            services.info.home.display().to_string()
        } else {
            HIDDEN.to_owned()
        }
    };
    let agents = services.agents.list();
    let default = services.agents.default_agent();
    let (total, recent) = recent(&call, None).await?;
    let mut by_agent = Vec::new();
    let mut heartbeats = Vec::new();
    for agent in agents.iter() {
        let (count, recent) = self::recent(&call, Some(agent.id.clone())).await?;
        by_agent.push(json!({ "agentId": agent.id, "path": path(), "count": count, "recent": recent }));
        heartbeats.push(json!({ "agentId": agent.id, "enabled": false, "every": "disabled", "everyMs": null }));
    }
    let model = services.models.model_of(&default);
    let window = model.as_ref().and_then(|model| services.models.describe(model)).and_then(|info| info.context_window);
    let defaults = json!({ "model": model.map(|model| model.model.to_string()), "contextTokens": window });
    Ok(StatusOutput {
        heartbeat: json!({ "defaultAgentId": default.id, "agents": heartbeats }),
        channel_summary: Vec::new(),
        queued_system_events: Vec::new(),
        sessions: json!({ "paths": [path()], "count": total, "defaults": defaults, "recent": recent, "byAgent": by_agent }),
        channel_runtime: Map::new(),
        runtime_version: services.info.version,
        pid: services.info.pid,
        uptime_ms: services.info.uptime_ms(&*services.clock),
    }
    .into())
}

async fn recent(call: &Call, agent: Option<AgentId>) -> Result<(u64, Vec<Value>), OpError> {
    let page = call.services.sessions.list(SessionFilter { agent, limit: RECENT, ..SessionFilter::default() }).await?;
    Ok((page.total, page.sessions.iter().map(|session| session_status(call, session)).collect()))
}

fn session_status(call: &Call, session: &Session) -> Value {
    let (_, model, window) = rows::model_of(&call.services, Some(session), &session.key);
    let remaining = window.map(|window| u64::from(window).saturating_sub(session.token_count));
    let percent =
        window.filter(|window| *window > 0).map(|window| (session.token_count * 100 / u64::from(window)).min(999));
    let mut flags = Vec::new();
    if let Some(level) = session.settings.thinking {
        flags.push(format!("think:{}", level.as_str()));
    }
    if let Some(level) = &session.settings.verbose {
        flags.push(format!("verbose:{level}"));
    }
    if session.aborted_last_run {
        flags.push(String::from("aborted"));
    }
    flags.push(format!("id:{}", session.id));
    json!({
        "agentId": session.key.agent(),
        "key": keys::spell(&session.key),
        "kind": keys::kind(&session.key),
        "sessionId": session.id,
        "updatedAt": session.updated_at,
        "age": call.services.clock.now().ms_since(session.updated_at),
        "abortedLastRun": session.aborted_last_run,
        "inputTokens": session.input_tokens,
        "outputTokens": session.output_tokens,
        "totalTokens": session.token_count,
        "remainingTokens": remaining,
        "percentUsed": percent,
        "model": model,
        "contextTokens": window,
        "flags": flags,
    })
}

/// Tell who is connected, newest first, and the gateway itself.
#[derive(JsonSchema)]
pub struct SystemPresence;

pub async fn presence(call: Call, _: NoParams) -> Result<Reply<Vec<Value>>, OpError> {
    let link = link(&call)?;
    Ok(events::presence(&link.argent, &call.services.presence.entries()).into())
}
