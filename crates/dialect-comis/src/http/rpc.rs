//! JSON-RPC over plain HTTP.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dialect::contract_http::Route;
use dialect::http::{Asker, BodyError, Caller, Grant, read_body};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::shared::Routes;
use crate::Comis;
use crate::errors::{INVALID_REQUEST, PARSE_ERROR, REFUSED, rpc_error, rpc_refusal};
use crate::rpc::{Outcome, PENDING_MAX, Plan, plan};

/// Call methods with JSON-RPC 2.0: one request, or a batch.
///
/// The methods and errors are those of the WebSocket. Whatever a call comes to is 200; 204 when
/// there were only notifications.
#[derive(JsonSchema)]
struct Rpc;

#[derive(JsonSchema)]
#[allow(dead_code, reason = "read member by member; this is its published shape")]
struct Body {
    /// `2.0`
    jsonrpc: String,
    method: String,
    /// Absent for a notification, which is not answered.
    id: Option<Value>,
    params: Option<Value>,
}

/// A refused call: `jsonrpc`, `error` with `code` and `message`, and `id`.
#[derive(Serialize, JsonSchema)]
struct RpcError {
    jsonrpc: String,
    error: Value,
    id: Value,
}

pub(super) fn add(table: &mut Routes) {
    let route = Route::post::<Rpc>("/rpc", "rpc")
        .scopes(&["rpc", "admin"])
        .body::<Body>()
        .answer::<Value>(200, "the answer, or the answers to a batch")
        .plain(204, "there were only notifications", "")
        .answer::<RpcError>(401, "no token, or an unknown one")
        .answer::<RpcError>(403, "the token is for the MCP endpoint only")
        .answer::<RpcError>(413, "the body is too large")
        .answer::<RpcError>(415, "the body is not `application/json`")
        .answer::<RpcError>(429, "too many requests; see `retry-after`");
    table.add(route, post(rpc));
}

async fn rpc(State(comis): State<Arc<Comis>>, Extension(asker): Extension<Asker>, request: Request) -> Response {
    match answer(&comis, asker.caller, request).await {
        Ok(response) | Err(response) => response,
    }
}

async fn answer(comis: &Arc<Comis>, caller: Option<Caller>, request: Request) -> Result<Response, Response> {
    let caller = caller.ok_or_else(|| rpc_refusal(StatusCode::UNAUTHORIZED, REFUSED, "Unauthorized"))?;
    if caller.may(Grant::McpClient) {
        return Err(rpc_refusal(StatusCode::FORBIDDEN, REFUSED, "Insufficient scope"));
    }
    let (parts, body) = request.into_parts();
    let body = match read_body(&parts.headers, body, comis.settings().http_body_limit_bytes).await {
        Ok(body) => body,
        Err(BodyError::TooLarge(_)) => {
            return Err(rpc_refusal(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, "Request body too large"));
        }
        Err(BodyError::Broken) => return Err(rpc_refusal(StatusCode::BAD_REQUEST, PARSE_ERROR, "Parse error")),
    };
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().contains("application/json") {
        let words = "Content-Type must be application/json";
        return Err(rpc_refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, words));
    }
    let planned = match std::str::from_utf8(&body) {
        Ok(text) => plan(comis, &caller, text, PENDING_MAX),
        Err(_) => Plan::Answer(rpc_error(PARSE_ERROR, "Parse error", None, "null")),
    };
    let Outcome { frame, then, .. } = match planned {
        Plan::Answer(frame) => Outcome { frame: Some(frame), ..Outcome::default() },
        Plan::Run(running, _) => running.await,
    };
    // No event follows an answer over HTTP, so nothing needs to wait for it.
    for then in then {
        then();
    }
    Ok(match frame {
        Some(frame) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], frame).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}
