//! One message, its answer as it grows.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dialect::contract_http::Route;
use dialect::http::{Caller, first};
use model::RunOptions;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use services::runs::NewRun;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::chat::{Answer, bad, known_agent, target, text};
use super::shared::{Routes, json_body, parse_json, with_refusals};
use crate::errors::{ErrorBody, response};
use crate::limits::StreamRequest;
use crate::session_key::Target;
use crate::turn::{Ended, Growth, Moment, Turn};
use crate::{Comis, ORIGIN, sse};

/// How long a stream may be silent before a comment is sent.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Longest language tag.
const LOCALE_CHARS_MAX: usize = 35;

/// Send a message and read the answer as it grows: any number of `token`, then one `done` or one `error`.
///
/// Commands are not interpreted here. A browser that reconnects within a minute after the end of
/// the same stream gets 204, so that it does not repeat the turn.
#[derive(JsonSchema)]
struct StreamChat;

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by name; this is its published shape")]
struct Query {
    message: String,
    /// The default agent when absent.
    agent_id: Option<String>,
    /// A formatted or canonical key, or a channel; the agent's main session when absent.
    session_key: Option<String>,
    token: Option<String>,
}

/// Send a message in a body and read the answer as it grows, as with `GET`.
#[derive(JsonSchema)]
struct StreamChatFromBody;

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read field by field; this is its published shape")]
struct Body {
    #[schemars(length(min = 1))]
    message: String,
    /// The default agent when absent.
    agent_id: Option<String>,
    /// The language tag of the user, which the agent is told.
    locale: Option<String>,
}

#[derive(Serialize)]
struct Token<'a> {
    delta: &'a str,
    accumulated: &'a str,
}

pub(super) fn add(table: &mut Routes) {
    let by_query = Route::get::<StreamChat>("/api/chat/stream", "streamChat")
        .query_token()
        .query::<Query>()
        .plain(200, "the stream", sse::CONTENT)
        .plain(204, "the same stream ended just now", "")
        .answer::<ErrorBody>(400, "`message` is missing, or the agent is unknown")
        .answer::<ErrorBody>(503, "too many messages wait for the session, or the gateway is stopping");
    table.add(with_refusals(by_query), get(stream));
    let by_body = Route::post::<StreamChatFromBody>("/api/chat/stream", "streamChatFromBody")
        .body::<Body>()
        .plain(200, "the stream", sse::CONTENT)
        .answer::<ErrorBody>(400, "there is a query, or the body is not as described")
        .answer::<ErrorBody>(413, "the body is too large")
        .answer::<ErrorBody>(415, "the body is not `application/json`")
        .answer::<ErrorBody>(503, "too many messages wait for the session, or the gateway is stopping");
    table.add(with_refusals(by_body), post(stream_from_body));
}

async fn stream(State(comis): State<Arc<Comis>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    // The body is of no interest, and would have to be carried along.
    let (parts, _) = request.into_parts();
    match begin(comis, caller, parts).await {
        Ok(response) | Err(response) => response,
    }
}

async fn begin(comis: Arc<Comis>, caller: Caller, request: Parts) -> Result<Response, Response> {
    let query = request.uri.query();
    let named = |name: &str| first(query, name).filter(|value| !value.is_empty());
    let message = named("message").ok_or_else(|| bad("Missing required query parameter: message"))?;
    let agent_name = named("agentId");
    let agent = comis.agent(agent_name.as_deref()).map_err(bad)?;
    let target = target(named("sessionKey").as_deref(), &agent, agent_name.is_some())?;
    known_agent(&comis, &target)?;
    if request.method == Method::HEAD {
        return Ok(sse::head());
    }
    let same = StreamRequest {
        caller: caller.principal.id.to_string(),
        message: message.clone().into_owned(),
        agent: agent_name.unwrap_or_default().into_owned(),
    };
    let is_reconnect = request.headers.contains_key("last-event-id");
    if is_reconnect && comis.ended_streams.contains(comis.services().clock.now(), &same) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    follow(comis, &caller, target, message.into_owned(), RunOptions::default(), Some(same)).await
}

async fn stream_from_body(
    State(comis): State<Arc<Comis>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    match begin_from_body(comis, caller, request).await {
        Ok(response) | Err(response) => response,
    }
}

async fn begin_from_body(comis: Arc<Comis>, caller: Caller, request: Request) -> Result<Response, Response> {
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(bad("Query parameters are not accepted"));
    }
    let body = json_body(request, comis.settings().http_body_limit_bytes).await?;
    let body: Value = parse_json(&body)?;
    if !body.is_object() {
        return Err(bad("JSON body must be an object"));
    }
    let message = text(&body, "message").ok_or_else(|| bad("Missing required field: message (string)"))?;
    if body.get("agentId").is_some_and(|agent| !agent.is_null() && !agent.is_string()) {
        return Err(bad("Field agentId must be a string"));
    }
    let agent = comis.agent(text(&body, "agentId")).map_err(bad)?;
    let extra_system =
        text(&body, "locale").filter(|tag| is_language_tag(tag)).map(|tag| format!("The user's locale is {tag}."));
    let options = RunOptions { extra_system, ..RunOptions::default() };
    follow(comis, &caller, Target::main(&agent), message.to_owned(), options, None).await
}

fn is_language_tag(text: &str) -> bool {
    text.len() <= LOCALE_CHARS_MAX
        && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Starts the turn and answers with the stream of it.
async fn follow(
    comis: Arc<Comis>,
    caller: &Caller,
    target: Target,
    message: String,
    options: RunOptions,
    same: Option<StreamRequest>,
) -> Result<Response, Response> {
    let new = NewRun { options, ..NewRun::new(target.session, message, ORIGIN) };
    let turn = Turn::start(comis.services(), &caller.principal, new).await.map_err(|error| response(&error))?;
    let mut silence = tokio::time::interval_at(Instant::now() + SILENCE_MAX, SILENCE_MAX);
    silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let told = Telling { comis, turn, silence, channel: target.channel, same, next_id: 0, is_over: false };
    Ok(sse::response(futures_util::stream::unfold(told, |mut told| async move {
        let frames = told.next().await?;
        Some((frames, told))
    })))
}

/// A turn on its way to one client.
struct Telling {
    comis: Arc<Comis>,
    turn: Turn,
    silence: Interval,
    channel: String,
    same: Option<StreamRequest>,
    next_id: u64,
    is_over: bool,
}

impl Telling {
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let moment = tokio::select! {
            biased;
            moment = self.turn.next() => moment,
            _ = self.silence.tick() => return Some(sse::KEEP_ALIVE),
        };
        self.silence.reset();
        let mut out = Vec::new();
        match moment {
            Moment::Grown(Growth { delta, accumulated }) => {
                sse::frame(&mut out, "token", &Token { delta: &delta, accumulated: &accumulated }, self.next_id);
            }
            Moment::Ended(ended) => self.end(ended, &mut out),
        }
        self.next_id += 1;
        Some(out.into())
    }

    fn end(&mut self, ended: Ended, out: &mut Vec<u8>) {
        let Ended { response, tokens, finish, .. } = ended;
        match finish {
            Ok(finish_reason) => {
                let session_key = Some(std::mem::take(&mut self.channel));
                let answer = Answer { response, tokens_used: tokens, finish_reason, session_key };
                sse::frame(out, "done", &answer, self.next_id);
            }
            Err(_) => sse::frame(out, "error", &ErrorBody { error: String::from("Internal error") }, self.next_id),
        }
        self.is_over = true;
        if let Some(same) = self.same.take() {
            self.comis.ended_streams.remember(self.comis.services().clock.now(), same);
        }
    }
}
