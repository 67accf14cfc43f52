//! `sessions.list`, `sessions.describe`, `sessions.resolve`.

use model::{ErrorKind, Noun, OpError, Session};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::sessions::SessionFilter;

use super::{agent_named, at_least, check_label, session_named};
use crate::keys;
use crate::link::link;
use crate::rows::{self, Extras, SessionRow};

/// List sessions, the most recently used first.
#[derive(JsonSchema)]
pub struct SessionsList;

pub const LIST_ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Agent)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Direct,
    Group,
    Global,
    Unknown,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Group => "group",
            Kind::Global => "global",
            Kind::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListParams {
    /// At least 1; absent = all.
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    offset: Option<i64>,
    /// Used within this many minutes.
    #[serde(default)]
    active_minutes: Option<i64>,
    #[serde(default)]
    kinds: Option<Vec<Kind>>,
    #[serde(default)]
    surface: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: such sessions are listed like others")]
    include_global: bool,
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: such sessions are listed like others")]
    include_unknown: bool,
    #[serde(default)]
    include_derived_titles: bool,
    #[serde(default)]
    include_last_message: bool,
    /// Exactly this label, of at most 64 characters.
    #[serde(default)]
    label: Option<String>,
    /// Made by exactly this session.
    #[serde(default)]
    spawned_by: Option<String>,
    #[serde(default)]
    agent_id: Option<String>,
    /// A part of key, label or transcript id, in any case.
    #[serde(default)]
    search: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListOutput {
    /// Unix milliseconds.
    ts: i64,
    path: &'static str,
    /// Sessions in this answer.
    count: usize,
    defaults: Defaults,
    sessions: Vec<SessionRow>,
    /// Matches before paging.
    total_count: usize,
    limit_applied: usize,
    next_offset: Option<usize>,
    has_more: bool,
    owners: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Defaults {
    model_provider: Option<String>,
    model: Option<String>,
    context_tokens: Option<u32>,
}

pub async fn list(call: Call, params: ListParams) -> Result<Reply<ListOutput>, OpError> {
    let link = link(&call)?;
    let limit = at_least("limit", params.limit, 1)?;
    let offset = at_least("offset", params.offset, 0)?.unwrap_or(0);
    check_label(params.label.as_deref())?;
    let active_minutes = at_least("activeMinutes", params.active_minutes, 1)?;
    let default_agent = call.services.agents.default_agent().id.clone();
    let now = call.services.clock.now();
    let spawned_by = match params.spawned_by.as_deref() {
        Some(text) => Some(keys::canonical(text, &default_agent, "spawnedBy")?),
        None => None,
    };
    let agent = match params.agent_id.as_deref() {
        Some(id) => Some(agent_named(&call, Some(id))?),
        None => None,
    };
    let filter = SessionFilter {
        agent,
        label: params.label.clone(),
        spawned_by,
        updated_since: active_minutes
            .map(|minutes| now.plus_ms(-i64::try_from(minutes.saturating_mul(60_000)).unwrap_or(i64::MAX))),
        ..SessionFilter::default()
    };
    // What the database cannot tell apart is looked at here.
    let narrows =
        params.kinds.is_some() || params.surface.is_some() || params.channel.is_some() || params.search.is_some();
    let (page, total) = if narrows {
        let all = call.services.sessions.list(filter).await?.sessions;
        let matching: Vec<Session> = all.into_iter().filter(|session| matches(session, &params)).collect();
        let total = matching.len();
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let take = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        (matching.into_iter().skip(skip).take(take).collect(), total)
    } else {
        let page = call.services.sessions.list(SessionFilter { offset, limit: limit.unwrap_or(0), ..filter }).await?;
        (page.sessions, usize::try_from(page.total).unwrap_or(usize::MAX))
    };
    let extras = Extras { titles: params.include_derived_titles, last_message: params.include_last_message };
    let mut sessions = Vec::with_capacity(page.len());
    for session in &page {
        sessions.push(rows::row(&call.services, session, extras).await?);
    }
    let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(sessions.len());
    let (model_provider, model, context_tokens) =
        rows::model_of(&link.argent.services, None, &model::SessionKey::main(&default_agent));
    Ok(ListOutput {
        ts: now.as_ms(),
        path: "(multiple)",
        count: sessions.len(),
        defaults: Defaults { model_provider, model, context_tokens },
        limit_applied: limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(total),
        next_offset: (end < total).then_some(end),
        has_more: end < total,
        total_count: total,
        sessions,
        owners: Vec::new(),
    }
    .into())
}

fn matches(session: &Session, params: &ListParams) -> bool {
    let kind = keys::kind(&session.key);
    let channel = keys::channel(&session.key);
    let surface = session.key.rest().split(':').next();
    let is_kind = params.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|wanted| wanted.word() == kind));
    let is_surface = params
        .surface
        .as_deref()
        .is_none_or(|wanted| surface.is_some_and(|surface| surface.eq_ignore_ascii_case(wanted)));
    let is_channel = params
        .channel
        .as_deref()
        .is_none_or(|wanted| channel.is_some_and(|channel| channel.eq_ignore_ascii_case(wanted)));
    is_kind && is_surface && is_channel && params.search.as_deref().is_none_or(|text| is_found(session, text))
}

fn is_found(session: &Session, text: &str) -> bool {
    let text = text.trim().to_lowercase();
    let label = session.settings.label.as_deref().unwrap_or_default();
    [&*keys::spell(&session.key), label, session.id.as_str()].iter().any(|field| field.to_lowercase().contains(&text))
}

/// Tell of one session; `null` when there is none.
#[derive(JsonSchema)]
pub struct SessionsDescribe;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescribeParams {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    include_derived_titles: bool,
    #[serde(default)]
    include_last_message: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DescribeOutput {
    session: Option<SessionRow>,
}

pub async fn describe(call: Call, params: DescribeParams) -> Result<Reply<DescribeOutput>, OpError> {
    let written = params.key.as_deref().or(params.session_key.as_deref());
    let written = written.ok_or_else(|| OpError::invalid("key", "is required"))?;
    let key = session_named(&call, link(&call)?, Some(written), None, "key")?;
    let extras = Extras { titles: params.include_derived_titles, last_message: params.include_last_message };
    let session = match call.services.sessions.get(&key).await? {
        Some(session) => Some(rows::row(&call.services, &session, extras).await?),
        None => None,
    };
    Ok(DescribeOutput { session }.into())
}

/// Find a session by its key, its transcript's id or its label.
#[derive(JsonSchema)]
pub struct SessionsResolve;

pub const RESOLVE_ERRORS: &[ErrorKind] = &[ErrorKind::NotFound(Noun::Session), ErrorKind::Conflict];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolveParams {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    spawned_by: Option<String>,
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: such sessions are found like others")]
    include_global: bool,
    #[serde(default)]
    #[allow(dead_code, reason = "checked for its type: such sessions are found like others")]
    include_unknown: bool,
    /// Answer `ok: false` instead of an error when there is none.
    #[serde(default)]
    allow_missing: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ResolveOutput {
    ok: bool,
    /// Canonical.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

pub async fn resolve(call: Call, params: ResolveParams) -> Result<Reply<ResolveOutput>, OpError> {
    let written = params.key.as_deref().or(params.session_key.as_deref());
    let given = [written, params.session_id.as_deref(), params.label.as_deref()];
    match given.iter().flatten().count() {
        1 => {}
        0 => return Err(OpError::conflict("Provide either key, sessionId, or label")),
        _ => return Err(OpError::conflict("Provide either key, sessionId, or label (not multiple)")),
    }
    let found = match (written, params.session_id.as_deref(), params.label.as_deref()) {
        (Some(text), ..) => {
            let key = session_named(&call, link(&call)?, Some(text), params.agent_id.as_deref(), "key")?;
            call.services.sessions.get(&key).await?.into_iter().collect()
        }
        _ => search(&call, &params).await?,
    };
    match found.as_slice() {
        [session] => Ok(ResolveOutput { ok: true, key: Some(keys::spell(&session.key).into_owned()) }.into()),
        [] if params.allow_missing => Ok(ResolveOutput { ok: false, key: None }.into()),
        [] => {
            let wanted = given.iter().flatten().next().copied().unwrap_or_default();
            let mut error = OpError::not_found(Noun::Session, wanted);
            let with = if params.label.is_some() { " with label" } else { "" };
            error.message = format!("No session found{with}: {wanted}");
            Err(error)
        }
        several => {
            let keys: Vec<_> = several.iter().map(|session| keys::spell(&session.key)).collect();
            Err(OpError::conflict(format!("Multiple sessions found: {}", keys.join(", "))))
        }
    }
}

async fn search(call: &Call, params: &ResolveParams) -> Result<Vec<Session>, OpError> {
    let agent = match params.agent_id.as_deref() {
        Some(id) => Some(agent_named(call, Some(id))?),
        None => None,
    };
    let spawned_by = match params.spawned_by.as_deref() {
        Some(text) => Some(keys::canonical(text, &call.services.agents.default_agent().id, "spawnedBy")?),
        None => None,
    };
    let filter = SessionFilter { agent, spawned_by, label: params.label.clone(), ..SessionFilter::default() };
    let all = call.services.sessions.list(filter).await?.sessions;
    let wanted = |session: &Session| params.session_id.as_deref().is_none_or(|id| session.id.as_str() == id);
    Ok(all.into_iter().filter(wanted).collect())
}
