//! Everything that happens, as it happens.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use dialect::contract_http::Route;
use dialect::http::{Caller, first};
use schemars::JsonSchema;

use super::shared::{Routes, with_refusals};
use crate::feed::Feed;
use crate::{Comis, sse};

/// Follow all events of the gateway.
///
/// The first frame is `retry`; a `ping` follows every 15 seconds. An id never falls, over restarts
/// too. A client that names the last id it saw gets everything since, in order and once; when that
/// cannot be had, one `resync` says so.
#[derive(JsonSchema)]
struct FollowEvents;

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "read by name; this is its published shape")]
struct Query {
    token: Option<String>,
    /// The same as the header `Last-Event-ID`, which wins.
    last_event_id: Option<String>,
}

pub(super) fn add(table: &mut Routes) {
    let route = Route::get::<FollowEvents>("/api/events", "followEvents").query_token().query::<Query>().plain(
        200,
        "the stream",
        sse::CONTENT,
    );
    table.add(with_refusals(route), get(follow));
}

async fn follow(State(comis): State<Arc<Comis>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    if request.method() == Method::HEAD {
        return sse::head();
    }
    let header = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let last = header.map(Into::into).or_else(|| first(request.uri().query(), "lastEventId"));
    let feed = Feed::open(comis, &caller, last.as_deref().and_then(event_id));
    sse::response(futures_util::stream::unfold(feed, |mut feed| async move {
        let frames = feed.next().await?;
        Some((frames, feed))
    }))
}

/// A decimal id; one that is too large for a number is larger than any that was issued.
fn event_id(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}
