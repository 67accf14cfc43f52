//! One message, one whole answer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use dialect::contract_http::Route;
use dialect::http::Caller;
use model::{AgentId, OpError, RunId, RunLimits, RunOptions, SessionKey, SessionSettings};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use services::Services;
use services::runs::NewRun;

use super::shared::{Routes, json_body, parse_json, with_refusals};
use crate::commands::{Directives, Reasoning, Spoken, Verbose, interpret, settings};
use crate::errors::{ErrorBody, internal, json_response, refusal, response};
use crate::session_key::Target;
use crate::turn::{Ended, TokensUsed, Turn};
use crate::{Comis, ORIGIN};

/// Send a message to an agent and wait for its whole answer.
///
/// A message that starts with `/` may be a command, which is answered without a model. The turn
/// goes on when the client goes away; its answer is in the history.
#[derive(JsonSchema)]
struct Chat;

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read field by field; this is its published shape")]
struct Body {
    #[schemars(length(min = 1))]
    message: String,
    /// The default agent when absent.
    agent_id: Option<String>,
    /// A formatted or canonical key, or a channel; the agent's main session when absent.
    session_key: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub response: String,
    pub tokens_used: TokensUsed,
    /// `stop`, `max_steps`, `budget_exceeded`, `error` or `command`.
    pub finish_reason: &'static str,
    /// The channel of the session; absent for commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

pub(super) fn add(table: &mut Routes) {
    let route = Route::post::<Chat>("/api/chat", "chat")
        .body::<Body>()
        .answer::<Answer>(200, "the answer")
        .answer::<ErrorBody>(400, "the body is not JSON, lacks `message`, or names an unknown agent")
        .answer::<ErrorBody>(413, "the body is too large")
        .answer::<ErrorBody>(415, "the body is not `application/json`")
        .answer::<ErrorBody>(503, "too many messages wait for the session, or the gateway is stopping");
    table.add(with_refusals(route), post(chat));
}

async fn chat(State(comis): State<Arc<Comis>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    match answer(&comis, &caller, request).await {
        Ok(response) | Err(response) => response,
    }
}

async fn answer(comis: &Arc<Comis>, caller: &Caller, request: Request) -> Result<Response, Response> {
    let body = json_body(request, comis.settings().http_body_limit_bytes).await?;
    let body: Value = parse_json(&body)?;
    let message = text(&body, "message").ok_or_else(|| bad("Missing required field: message (string)"))?;
    let agent = comis.agent(text(&body, "agentId")).map_err(bad)?;
    let target = target(text(&body, "sessionKey"), &agent, text(&body, "agentId").is_some())?;
    known_agent(comis, &target)?;
    let services = comis.services();
    let spoken = interpret(services, caller, &target.session, message).await.map_err(|error| response(&error))?;
    let (text, directives) = match spoken {
        Spoken::Reply(text) => return Ok(json_response(StatusCode::OK, &command(text))),
        Spoken::Turn { text, directives } => (text, directives),
    };
    let limits = RunLimits { tokens: directives.tokens, ..RunLimits::default() };
    let options = RunOptions { thinking: directives.thinking, limits, ..RunOptions::default() };
    let new = NewRun { options, ..NewRun::new(target.session.clone(), text, ORIGIN) };
    let turn = Turn::start(services, &caller.principal, new).await.map_err(|error| response(&error))?;
    let run = turn.id().clone();
    let ended = turn.finish().await;
    let Ok(finish_reason) = ended.finish else { return Err(internal()) };
    let tokens_used = ended.tokens;
    let response = shown(services, &target.session, &run, directives, ended).await.map_err(|error| response(&error))?;
    let answer = Answer { response, tokens_used, finish_reason, session_key: Some(target.channel) };
    Ok(json_response(StatusCode::OK, &answer))
}

/// The answer with what its directives, or else the choices for the session, want told besides.
async fn shown(
    services: &Services,
    session: &SessionKey,
    run: &RunId,
    directives: Directives,
    ended: Ended,
) -> Result<String, OpError> {
    let chosen = match (directives.verbose, directives.reasoning) {
        (Some(_), Some(_)) => SessionSettings::default(),
        _ => settings(services, session).await?,
    };
    let verbose = directives.verbose.or_else(|| Verbose::parse(chosen.verbose.as_deref()?));
    let reasoning = directives.reasoning.or_else(|| Reasoning::parse(chosen.reasoning.as_deref()?));
    let mut text = String::new();
    if matches!(reasoning, Some(Reasoning::On | Reasoning::Stream)) && !ended.reasoning.is_empty() {
        text.push_str(&format!("Reasoning: {}\n\n", ended.reasoning.trim()));
    }
    text.push_str(&ended.response);
    if matches!(verbose, Some(Verbose::On | Verbose::Full)) {
        let tools = services.runs.tools_called(run).await?;
        if !tools.is_empty() {
            text.push_str(&format!("\n\n[tools: {}]", tools.join(", ")));
        }
    }
    Ok(text)
}

fn command(response: String) -> Answer {
    Answer { response, tokens_used: TokensUsed::default(), finish_reason: "command", session_key: None }
}

/// A text of a body that has one; other types count as absent, and so does an empty text.
pub(super) fn text<'a>(body: &'a Value, field: &str) -> Option<&'a str> {
    body.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

pub(super) fn bad(words: impl Into<String>) -> Response {
    refusal(StatusCode::BAD_REQUEST, words)
}

/// The session that a request means. A canonical key names its agent itself.
pub(super) fn target(key: Option<&str>, agent: &AgentId, is_agent_named: bool) -> Result<Target, Response> {
    let Some(key) = key else { return Ok(Target::main(agent)) };
    let target = Target::parse(key, agent).map_err(|error| bad(format!("Invalid session key: {}", error.reason)))?;
    if is_agent_named && target.session.agent() != *agent {
        return Err(bad(format!("Session key belongs to agent {}", target.session.agent())));
    }
    Ok(target)
}

/// The same as for an agent that is named outright.
pub(super) fn known_agent(comis: &Comis, target: &Target) -> Result<(), Response> {
    comis.agent(Some(target.session.agent().as_str())).map(drop).map_err(bad)
}
