//! One connection: who it is, what it may call, what it is told.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use dialect::peer::PeerInfo;
use dialect::socket::{Outbox, Protocol, Received};
use dialect::{Answer, Method, depth, params};
use events::{Delivery, Subscription};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, future};
use model::{Envelope, OpError, Principal, ScopeSet};
use ops::{Call, Connection};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use services::Ending;
use services::presence::ConnectionCount;
use services::runs::{FollowItem, RunFollower};
use tokio::time::Instant;

use crate::batch::{self, Answered};
use crate::errors::{self, AUTH_REQUIRED, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, PERMISSION_DENIED};
use crate::events::Frame;
use crate::framing::{self, Request};
use crate::payload::{SystemEventsDropped, SystemResync, Topic};
use crate::settings::{AlephSettings, ChunkTopics};
use crate::state::ConnectionState;
use crate::{Aleph, FRAME_SLOT, connect, table};

/// Calls of one connection in flight; then reading stops.
const CALLS_MAX: usize = 64;
/// Failed `connect`s of one connection.
const CONNECT_FAILURES_MAX: u32 = 5;
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
const PING_EVERY: Duration = Duration::from_secs(30);
const SILENCE_MAX: Duration = Duration::from_secs(90);

pub struct AlephConnection {
    aleph: Arc<Aleph>,
    settings: Arc<AlephSettings>,
    peer: PeerInfo,
    state: Arc<ConnectionState>,
    principal: Option<Arc<Principal>>,
    is_flat: bool,
    chunk_topics: ChunkTopics,
    failures: u32,
    /// Calls in flight whose answers will be the first to name a run.
    revealing: usize,
    connect_by: Option<Instant>,
    _count: ConnectionCount,
}

impl AlephConnection {
    pub fn new(aleph: Arc<Aleph>, settings: Arc<AlephSettings>, mut peer: PeerInfo) -> Self {
        // Only the address is needed from here on; headers would be memory for nothing.
        peer.headers = Default::default();
        let required = (aleph.auth_required)();
        let state = ConnectionState::new(Arc::clone(&aleph.services), settings.implicit_run_events);
        let anonymous = || Arc::new(Principal::operator(state.id(), ScopeSet::OPERATOR));
        Self {
            principal: (!required).then(anonymous),
            chunk_topics: settings.chunk_topics,
            is_flat: false,
            failures: 0,
            revealing: 0,
            connect_by: required.then(|| Instant::now() + CONNECT_LIMIT),
            _count: aleph.services.presence.count_connection(),
            aleph,
            settings,
            peer,
            state,
        }
    }

    /// What rate limits are keyed by.
    fn identity(&self) -> String {
        self.principal.as_ref().map_or_else(|| self.peer.remote.ip().to_string(), |principal| principal.id.to_string())
    }

    fn is_exempt(&self) -> bool {
        self.settings.rate_limit.exempt_loopback && self.peer.is_loopback()
    }

    fn single(&mut self, text: &str, out: &mut Outbox) -> Received<Answered> {
        let request = match framing::request(text) {
            Ok(request) => request,
            Err(malformed) => {
                let (code, message) = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                    Ok(_) => (INVALID_REQUEST, format!("Invalid request: {}", malformed.reason)),
                    Err(error) => (PARSE_ERROR, format!("Parse error: {error}")),
                };
                out.text(errors::response(malformed.id, &errors::object(code, &message, None)));
                return Received::Done;
            }
        };
        if request.method == "connect" {
            let answer = self.connect(&request, out);
            if let Some(id) = request.id {
                out.text(encode(id, answer));
            }
            return Received::Done;
        }
        match self.dispatch(request) {
            Dispatched::Refused(frame) => {
                if let Some(frame) = frame {
                    out.text(frame);
                }
                Received::Done
            }
            Dispatched::Call { work, in_order, reveals_run } => self.begun(work, in_order, reveals_run),
        }
    }

    fn batch(&mut self, text: &str, out: &mut Outbox) -> Received<Answered> {
        let Some(elements) = batch::elements(text) else {
            let (code, message) = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => (INVALID_REQUEST, format!("Invalid request: a batch has 1 to {} messages", batch::BATCH_MAX)),
                Err(error) => (PARSE_ERROR, format!("Parse error: {error}")),
            };
            out.text(errors::response("null", &errors::object(code, &message, None)));
            return Received::Done;
        };
        let refused = |frame: Option<Bytes>| -> BoxFuture<'static, Answered> { future::ready(frame.into()).boxed() };
        let (mut in_order, mut reveals_run) = (false, false);
        let work: Vec<BoxFuture<'static, Answered>> = elements
            .into_iter()
            .map(|raw| match framing::request(raw.get()) {
                Err(bad) => {
                    let error = errors::object(INVALID_REQUEST, &format!("Invalid request: {}", bad.reason), None);
                    refused(Some(errors::response(bad.id, &error)))
                }
                Ok(request) if request.method == "connect" => {
                    let error =
                        errors::object(INVALID_REQUEST, "Invalid request: connect cannot be part of a batch", None);
                    refused(request.id.map(|id| errors::response(id, &error)))
                }
                Ok(request) => match self.dispatch(request) {
                    Dispatched::Refused(frame) => refused(frame),
                    Dispatched::Call { work, in_order: ordered, reveals_run: reveals } => {
                        in_order |= ordered;
                        reveals_run |= reveals;
                        work
                    }
                },
            })
            .collect();
        let work = batch::run(work).boxed();
        self.begun(work, in_order, reveals_run)
    }

    fn begun(&mut self, work: BoxFuture<'static, Answered>, in_order: bool, reveals_run: bool) -> Received<Answered> {
        self.revealing += usize::from(reveals_run);
        if in_order { Received::CallInOrder(work) } else { Received::Call(work) }
    }

    /// The one place where a call is let through: authenticated, within its limits, known, allowed.
    fn dispatch(&self, request: Request<'_>) -> Dispatched {
        let id = request.id.map(str::to_owned);
        let refuse = |error: Value| Dispatched::Refused(id.as_deref().map(|id| errors::response(id, &error)));
        let Some(principal) = &self.principal else {
            return refuse(errors::object(AUTH_REQUIRED, "Authentication required (send connect first)", None));
        };
        let method = self.aleph.table.get(&request.method);
        if !self.is_exempt() {
            let class = method.map_or(ops::Class::Default, |method| method.class);
            let now = self.aleph.services.clock.now();
            if let Err(wait) = self.aleph.limiter.call(&self.settings.rate_limit, &self.identity(), class, now) {
                return refuse(errors::object(
                    errors::RATE_LIMITED,
                    "Rate limit exceeded",
                    Some(json!({ "retry_after_ms": wait })),
                ));
            }
        }
        let Some(method) = method else {
            return refuse(errors::object(METHOD_NOT_FOUND, &format!("Method not found: {}", request.method), None));
        };
        if !table::may_call(principal.kind, method.name)
            || method.scope.is_some_and(|scope| !principal.scopes.contains(scope))
        {
            let data = json!({ "role": role_word(principal), "method": method.name, "scope": method.scope.map(model::Scope::as_str) });
            return refuse(errors::object(
                PERMISSION_DENIED,
                &format!("Permission denied: {}", method.name),
                Some(data),
            ));
        }
        let parameters = match parameters(method, request.params) {
            Ok(parameters) => parameters,
            Err(error) => return refuse(errors::of(&error)),
        };
        let call = Call {
            services: Arc::clone(&self.aleph.services),
            principal: Arc::clone(principal),
            connection: Some(Arc::clone(&self.state) as Arc<dyn Connection>),
            dialect: "aleph",
        };
        let work = method.call(call, parameters);
        let (name, in_order) = (method.name, method.in_order);
        // A notification has no answer that events could overtake.
        let reveals_run = method.reveals_run && id.is_some();
        let work = async move {
            let result = work.await;
            if let Err(error) = &result {
                log(name, error);
            }
            let (frame, then) = finish(id.as_deref(), result);
            Answered { frame, then, reveals_run }
        };
        Dispatched::Call { work: work.boxed(), in_order, reveals_run }
    }

    fn connect(&mut self, request: &Request<'_>, out: &mut Outbox) -> Result<Bytes, Value> {
        let now = self.aleph.services.clock.now();
        let address = self.peer.remote.ip().to_string();
        if !self.is_exempt()
            && let Err(wait) = self.aleph.limiter.may_authenticate(&address, now)
        {
            return Err(errors::object(
                errors::RATE_LIMITED,
                "Too many failed attempts",
                Some(json!({ "retry_after_ms": wait })),
            ));
        }
        let connected = params::parse::<connect::Params>(request.params)
            .and_then(|params| connect::connect(&self.aleph, params, self.state.id()));
        match connected {
            Ok(connected) => {
                self.principal = Some(connected.principal);
                self.is_flat = connected.is_flat;
                self.chunk_topics = connected.chunk_topics.unwrap_or(self.settings.chunk_topics);
                self.connect_by = None;
                serde_json::to_vec(&connected.output)
                    .map(Bytes::from)
                    .map_err(|error| errors::of(&OpError::internal(error)))
            }
            Err(error) => {
                self.failures += 1;
                if !self.is_exempt() {
                    self.aleph.limiter.failed(&self.settings.rate_limit, &address, now);
                }
                if self.failures >= CONNECT_FAILURES_MAX && self.principal.is_none() {
                    out.close(1008, "too many failed connects");
                }
                let mut object = errors::of(&error);
                if error.message.starts_with("Authentication required") {
                    object["code"] = json!(AUTH_REQUIRED);
                }
                Err(object)
            }
        }
    }

    /// Sends what the connection's patterns, role and choices let through.
    fn tell(&self, envelope: &Envelope, out: &mut Outbox) {
        let Some(principal) = &self.principal else { return };
        if let Some(own) = &principal.confined_to
            && envelope.event.session_key() != Some(own)
        {
            return;
        }
        if self.is_flat
            && let Some(frames) = crate::flat::frames(envelope)
        {
            for (kind, json) in frames {
                if self.state.wants(&format!("stream.{kind}"), false) {
                    out.text(json);
                }
            }
            return;
        }
        let frames = envelope.frames::<Vec<Frame>>(FRAME_SLOT, crate::events::frames);
        let is_wanted = |frame: &&Frame| {
            let literal = frame.topic == "system.tick";
            self.state.wants(frame.topic, literal)
                && crate::events::may_see(principal.kind, frame.topic)
                && self.takes_twin(frame)
        };
        send_frames(frames.iter().filter(is_wanted), out);
    }

    /// Of the two names of a delta: those who asked for one by its exact name get it, wildcard
    /// subscribers get what they chose.
    fn takes_twin(&self, frame: &Frame) -> bool {
        let is_delta = frame.is_alias || frame.topic == "stream.chunk";
        if !is_delta || self.state.wants_exactly(frame.topic) {
            return true;
        }
        match self.chunk_topics {
            ChunkTopics::Both => true,
            ChunkTopics::Chunk => !frame.is_alias,
            ChunkTopics::Token => frame.is_alias,
        }
    }
}

/// Sends the frames of one event that a connection gets: the last of them stands for the whole event.
fn send_frames<'a>(frames: impl Iterator<Item = &'a Frame>, out: &mut Outbox) {
    let mut frames = frames.peekable();
    while let Some(frame) = frames.next() {
        let part = frame.part.as_ref().filter(|_| frames.peek().is_some());
        out.text(part.unwrap_or(&frame.json).clone());
    }
}

impl Protocol for AlephConnection {
    type Done = Answered;

    fn calls_max(&self) -> usize {
        CALLS_MAX
    }

    fn frame_bytes_max(&self) -> usize {
        self.settings.max_message_bytes
    }

    fn ping(&self) -> Option<(Duration, Duration)> {
        Some((PING_EVERY, SILENCE_MAX))
    }

    fn deadline(&self) -> Option<Instant> {
        self.connect_by
    }

    fn late(&mut self, out: &mut Outbox) {
        out.close(1008, "connect did not come in time");
    }

    fn received(&mut self, text: Utf8Bytes, out: &mut Outbox) -> Received<Answered> {
        let text = text.as_str();
        if text.len() > 2 * depth::JSON_DEPTH_MAX && depth::is_too_deep(text) {
            let message = format!("Parse error: nested deeper than {}", depth::JSON_DEPTH_MAX);
            out.text(errors::response("null", &errors::object(PARSE_ERROR, &message, None)));
            return Received::Done;
        }
        if text.trim_start().starts_with('[') { self.batch(text, out) } else { self.single(text, out) }
    }

    fn received_binary(&mut self, _: Bytes, out: &mut Outbox) -> Received<Answered> {
        let error = errors::object(INVALID_REQUEST, "Invalid request: binary frames are not read", None);
        out.text(errors::response("null", &error));
        Received::Done
    }

    fn completed(&mut self, answered: Answered, out: &mut Outbox) {
        self.revealing -= usize::from(answered.reveals_run);
        if let Some(frame) = answered.frame {
            out.text(frame);
        }
        out.then(answered.then);
    }

    fn holds_events(&self) -> bool {
        self.revealing > 0
    }

    fn take_subscription(&mut self) -> Option<Option<Subscription>> {
        self.state.take_subscription()
    }

    fn take_followers(&mut self) -> Vec<RunFollower> {
        self.state.take_followers()
    }

    fn delivered(&mut self, delivery: Delivery, out: &mut Outbox) {
        match delivery {
            Delivery::Event(envelope) => self.tell(&envelope, out),
            Delivery::Dropped(count) => out.text(self.notice(&SystemEventsDropped { count, lifetime: PhantomData })),
            Delivery::Resync { oldest, newest } => {
                out.text(self.notice(&SystemResync {
                    oldest_cursor: oldest.0,
                    cursor: newest.0,
                    lifetime: PhantomData,
                }));
            }
            Delivery::Closed => out.close(1001, "gateway stopping"),
        }
    }

    fn followed(&mut self, item: FollowItem, out: &mut Outbox) {
        if self.state.ever_subscribed() {
            return;
        }
        let envelope = match item {
            FollowItem::Event(envelope) => envelope,
            FollowItem::Missed(count) => {
                out.text(self.notice(&SystemEventsDropped { count, lifetime: PhantomData }));
                return;
            }
            FollowItem::Over => return,
        };
        if self.is_flat {
            for (_, json) in crate::flat::frames(&envelope).unwrap_or_default() {
                out.text(json);
            }
            return;
        }
        let frames = envelope.frames::<Vec<Frame>>(FRAME_SLOT, crate::events::frames);
        send_frames(frames.iter().filter(|frame| self.takes_twin(frame)), out);
    }

    fn check_credentials(&mut self, out: &mut Outbox) {
        let token = self.principal.as_ref().and_then(|principal| principal.token_id.as_ref());
        if token.is_some_and(|token| !self.aleph.services.tokens.is_valid(token)) {
            self.principal = None;
            out.close(1008, "token revoked");
        }
    }

    fn stopping(&mut self, ending: Ending, out: &mut Outbox) {
        match ending {
            Ending::Stop => out.close(1001, "gateway stopping"),
            Ending::Restart => out.close(1012, "service restart"),
        }
    }
}

impl AlephConnection {
    /// An event about this connection alone.
    fn notice<T: Topic>(&self, data: &T) -> Bytes {
        crate::events::notice(self.aleph.services.clock.now(), data)
    }
}

enum Dispatched {
    /// The answer, or nothing to a notification.
    Refused(Option<Bytes>),
    Call {
        work: BoxFuture<'static, Answered>,
        in_order: bool,
        reveals_run: bool,
    },
}

fn parameters(method: &Method, raw: Option<&RawValue>) -> Result<Option<Box<RawValue>>, OpError> {
    let is_object = raw.is_none_or(|raw| raw.get().starts_with('{') || raw.get() == "null");
    if is_object || method.takes_anything {
        Ok(raw.map(ToOwned::to_owned))
    } else {
        Err(OpError::invalid("params", "must be an object"))
    }
}

type Then = Option<Box<dyn FnOnce() + Send>>;

fn finish(id: Option<&str>, result: Result<Answer, OpError>) -> (Option<Bytes>, Then) {
    let (body, then) = match result {
        Ok(answer) => (Ok(Bytes::from(answer.json)), answer.then),
        Err(error) => (Err(errors::of(&error)), None),
    };
    (id.map(|id| encode(id, body)), then)
}

fn encode(id: &str, body: Result<Bytes, Value>) -> Bytes {
    match body {
        Ok(result) => {
            const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
            const MIDDLE: &[u8] = br#","result":"#;
            let mut frame = Vec::with_capacity(HEAD.len() + id.len() + MIDDLE.len() + result.len() + 1);
            frame.extend_from_slice(HEAD);
            frame.extend_from_slice(id.as_bytes());
            frame.extend_from_slice(MIDDLE);
            frame.extend_from_slice(&result);
            frame.push(b'}');
            Bytes::from(frame)
        }
        Err(error) => errors::response(id, &error),
    }
}

fn role_word(principal: &Principal) -> &'static str {
    match principal.kind {
        model::PrincipalKind::Operator => "operator",
        model::PrincipalKind::Node => "node",
        model::PrincipalKind::Device => "device",
        model::PrincipalKind::Guest => "guest",
    }
}

fn log(method: &'static str, error: &OpError) {
    if error.kind == model::ErrorKind::Internal {
        tracing::error!(method, cause = ?std::error::Error::source(error), "a call failed");
    }
}
