//! One connection: before, during and after the handshake.

mod chat;
mod dispatch;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use dialect::peer::PeerInfo;
use dialect::socket::{Outbox, Protocol, Received};
use events::{Delivery, Subscription};
use futures_util::FutureExt;
use model::{Cursor, Envelope, Event, Principal, PrincipalKind, RunId, Scope};
use serde_json::json;
use services::Ending;
use services::presence::{ConnectionCount, PresenceGuard};
use tokio::time::Instant;

use self::chat::ChatViews;
use self::dispatch::{Answered, Dispatched, Refusals};
use crate::door::Door;
use crate::errors::WireError;
use crate::events::{Audience, Frame};
use crate::framing::{self, Around, Form, Incoming, ReplyTo, Request};
use crate::handshake::refusal::Refusal;
use crate::handshake::{self, Admitted, Before};
use crate::keys;
use crate::limits::FRAME_BYTES_MAX;
use crate::link::{Due, Link};
use crate::outcome::Outcome;
use crate::{Argent, FRAME_SLOT, events as projection};

/// Largest frame of one that was not yet.
const FIRST_FRAME_BYTES_MAX: usize = 65_536;
/// Calls of one connection in flight; then reading stops.
const CALLS_MAX: usize = 64;
const PING_EVERY: Duration = Duration::from_secs(25);
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub struct ArgentConnection {
    argent: Arc<Argent>,
    phase: Phase,
    tick_every: Duration,
    _count: ConnectionCount,
}

enum Phase {
    Waiting(Box<Waiting>),
    /// The handshake is under way, or the connection is about to close.
    Between,
    Open(Box<Open>),
}

struct Waiting {
    before: Before,
    deadline: Instant,
}

struct Open {
    /// Of the handshake; events are told in it.
    form: Form,
    principal: Arc<Principal>,
    link: Arc<Link>,
    /// Of the last event that was written or dropped.
    seq: u64,
    chat: ChatViews,
    refusals: Refusals,
    /// To be taken over by the loop.
    subscription: Option<Subscription>,
    shutdown_told: bool,
    _presence: Option<PresenceGuard>,
}

/// What a frame comes to.
pub enum Done {
    Handshake { reply: ReplyTo, result: Result<Box<Admitted>, Box<Refusal>> },
    One(Answered),
    Many(Vec<Answered>),
}

impl ArgentConnection {
    pub fn new(argent: Arc<Argent>, peer: &PeerInfo) -> Self {
        let settings = (argent.settings)();
        let services = &argent.services;
        let before = Before {
            door: Door::new(peer, &settings),
            nonce: services.ids.uuid().to_string(),
            connection_id: services.ids.uuid().to_string(),
        };
        let deadline = Instant::now() + Duration::from_millis(settings.handshake_timeout_ms);
        Self {
            phase: Phase::Waiting(Box::new(Waiting { before, deadline })),
            tick_every: Duration::from_millis(settings.tick_ms()),
            _count: services.presence.count_connection(),
            argent,
        }
    }

    fn read(&mut self, text: &str, out: &mut Outbox) -> Received<Done> {
        let incoming = framing::read(text);
        match &mut self.phase {
            Phase::Waiting(_) => self.first(incoming, out),
            Phase::Open(_) => self.further(incoming, out),
            Phase::Between => Received::Done,
        }
    }

    /// The first frame must be `connect`; everything else ends the connection.
    fn first(&mut self, incoming: Incoming<'_>, out: &mut Outbox) -> Received<Done> {
        let Phase::Waiting(waiting) = std::mem::replace(&mut self.phase, Phase::Between) else { return Received::Done };
        match incoming {
            Incoming::NotJson => out.close(1000, ""),
            Incoming::Malformed(_) => out.close(1008, "invalid request frame"),
            Incoming::Batch(_) => refuse_first(&ReplyTo { form: Form::JsonRpc, id: Some(Box::from("null")) }, out),
            Incoming::Request(request) if !request.is_connect() => refuse_first(&request.reply_to(), out),
            Incoming::Request(request) => {
                let reply = request.reply_to();
                let params = request.params.map(ToOwned::to_owned);
                let argent = Arc::clone(&self.argent);
                let work = handshake::run(argent, waiting.before, reply.form, params);
                return Received::CallInOrder(
                    work.map(|result| Done::Handshake { reply, result: result.map(Box::new) }).boxed(),
                );
            }
        }
        Received::Done
    }

    fn further(&mut self, incoming: Incoming<'_>, out: &mut Outbox) -> Received<Done> {
        let Phase::Open(open) = &mut self.phase else { return Received::Done };
        match incoming {
            // Clients of the native form are not disturbed by what they did not mean to send.
            Incoming::NotJson if open.form == Form::Native => Received::Done,
            Incoming::NotJson => {
                out.text(framing::not_json());
                Received::Done
            }
            Incoming::Malformed(bad) => {
                out.text(bad.answer(open.form));
                Received::Done
            }
            Incoming::Request(request) => open.call(&self.argent, &request, out),
            Incoming::Batch(elements) => {
                let work = elements.into_iter().map(|element| open.element(&self.argent, element)).collect::<Vec<_>>();
                Received::Call(async move { Done::Many(futures_util::future::join_all(work).await) }.boxed())
            }
        }
    }
}

fn refuse_first(reply: &ReplyTo, out: &mut Outbox) {
    let message = "invalid handshake: first request must be connect";
    if let Some(frame) = framing::failure(reply, &WireError::invalid_request(message)) {
        out.text(frame);
    }
    out.close(1008, message);
}

impl Open {
    fn new(form: Form, admitted: Admitted) -> Self {
        let Admitted { principal, link, subscription, presence, .. } = admitted;
        Self {
            form,
            principal,
            link,
            seq: 0,
            chat: ChatViews::default(),
            refusals: Refusals::default(),
            subscription: Some(subscription),
            shutdown_told: false,
            _presence: presence,
        }
    }

    fn call(&mut self, argent: &Argent, request: &Request<'_>, out: &mut Outbox) -> Received<Done> {
        match dispatch::dispatch(argent, &self.principal, &self.link, request) {
            Dispatched::Refused { frame, unauthorized } => {
                if let Some(frame) = frame {
                    out.text(frame);
                }
                if self.refusals.note(unauthorized, Instant::now()) {
                    out.close(1008, "repeated unauthorized calls");
                }
                Received::Done
            }
            Dispatched::Call(work) => {
                self.refusals.note(false, Instant::now());
                Received::Call(work.map(Done::One).boxed())
            }
        }
    }

    fn element(
        &mut self,
        argent: &Argent,
        raw: &serde_json::value::RawValue,
    ) -> futures_util::future::BoxFuture<'static, Answered> {
        let frame = match framing::read_element(raw) {
            Ok(request) => match dispatch::dispatch(argent, &self.principal, &self.link, &request) {
                Dispatched::Call(work) => return work,
                Dispatched::Refused { frame, .. } => frame,
            },
            Err(bad) => Some(bad.answer(Form::JsonRpc)),
        };
        std::future::ready(Answered { frame, ..Answered::default() }).boxed()
    }

    /// Whether this connection gets a frame of `run`.
    fn sees(&self, frame: &Frame, run: Option<&RunId>) -> bool {
        if frame.audience == Audience::Everybody {
            return true;
        }
        if self.principal.kind == PrincipalKind::Node {
            return false;
        }
        let holds = |scope| self.principal.scopes.contains(scope);
        match &frame.audience {
            Audience::Everybody => true,
            Audience::Scope(scope) => holds(*scope),
            Audience::Sessions => holds(Scope::Read) && self.link.follows_sessions(),
            Audience::Transcript => {
                holds(Scope::Read) && frame.session.as_ref().is_some_and(|key| self.link.follows_transcript(key))
            }
            Audience::Tools => holds(Scope::Read) && run.is_some_and(|run| self.link.joined(run).tools),
            Audience::Thinking => holds(Scope::Read) && run.is_some_and(|run| self.link.joined(run).thinking),
        }
    }

    /// Writes a frame with what belongs to this connection.
    fn write(&mut self, frame: &Frame, run: Option<&RunId>, cursor: Option<Cursor>, out: &mut Outbox) {
        let spelling = frame.session.as_ref().and_then(|key| self.link.spelling(key));
        let told = frame.session.as_ref().filter(|_| spelling.is_none()).map(keys::spell);
        let session = spelling.as_deref().or(told.as_deref());
        let seq = (!frame.is_targeted()).then(|| {
            self.seq += 1;
            self.seq
        });
        let shows_results = frame.verbose.is_some() && run.is_some_and(|run| self.link.joined(run).results);
        let body = frame.verbose.as_ref().filter(|_| shows_results).unwrap_or(&frame.body);
        let around = Around { session, seq, state_version: frame.state_version, cursor: cursor.map(|cursor| cursor.0) };
        out.text(framing::event(self.form, body, around));
    }

    fn tell(&mut self, argent: &Argent, envelope: &Envelope, out: &mut Outbox) {
        let run = envelope.event.run().map(|run| &run.run_id);
        let reads = self.principal.scopes.contains(Scope::Read) && self.principal.kind != PrincipalKind::Node;
        if reads
            && matches!(envelope.event, Event::ToolStarted { .. } | Event::RunEnded { .. })
            && let Some(run) = envelope.event.run()
            && let Some(held) = self.chat.flush(run, Instant::now())
        {
            self.write(&held, None, None, out);
        }
        let frames = envelope.frames::<Vec<Frame>>(FRAME_SLOT, |envelope| projection::project(argent, envelope));
        for frame in frames.iter() {
            if self.sees(frame, run) {
                self.write(frame, run, envelope.cursor, out);
            }
        }
        if reads {
            self.tell_chat(argent, envelope, out);
        }
        match &envelope.event {
            Event::RunEnded { run, .. } => self.run_ended(&run.run_id, envelope, out),
            Event::ShuttingDown { .. } => self.shutdown_told = true,
            _ => {}
        }
    }

    /// Chat text, which depends on what this connection was sent before.
    fn tell_chat(&mut self, argent: &Argent, envelope: &Envelope, out: &mut Outbox) {
        let frame = match &envelope.event {
            Event::RunDelta { run, seq, text, so_far, .. } => {
                let is_first = so_far.len() == text.len();
                self.chat.delta(run, *seq, so_far, is_first, envelope.at, Instant::now())
            }
            Event::InputRequested { run, prompt, options, .. } => argent
                .services
                .runs
                .live(&run.run_id)
                .map(|live| self.chat.question(run, &live.message, prompt, options, envelope.at, Instant::now())),
            _ => None,
        };
        if let Some(frame) = frame {
            self.write(&frame, None, None, out);
        }
    }

    fn run_ended(&mut self, run: &RunId, envelope: &Envelope, out: &mut Outbox) {
        self.chat.over(run);
        let outcome =
            || Arc::new(Outcome::of_event(envelope.at, &envelope.event).expect("the event is the end of a run"));
        for due in self.link.ended(run, outcome) {
            second_answer(&due, out);
        }
        self.link.leave(run);
    }

    fn answered(&mut self, answered: Answered, out: &mut Outbox) {
        if let Some(frame) = answered.frame {
            out.text(frame);
        }
        out.then(answered.then);
        for notice in self.link.take_notices() {
            self.write(&notice, None, None, out);
        }
        if let Some(due) = answered.second.and_then(|reply| self.link.acknowledged(&reply)) {
            second_answer(&due, out);
        }
    }
}

/// The second answer of `agent`.
fn second_answer(due: &Due, out: &mut Outbox) {
    let frame = match due.outcome.agent_answer(&due.session_id) {
        Ok(payload) => framing::success(&due.reply, payload.to_string().as_bytes()),
        Err(error) => framing::failure(&due.reply, &WireError::of("agent", &error)),
    };
    if let Some(frame) = frame {
        out.text(frame);
    }
}

impl Protocol for ArgentConnection {
    type Done = Done;

    fn calls_max(&self) -> usize {
        CALLS_MAX
    }

    fn frame_bytes_max(&self) -> usize {
        if matches!(self.phase, Phase::Open(_)) { FRAME_BYTES_MAX } else { FIRST_FRAME_BYTES_MAX }
    }

    fn ping(&self) -> Option<(Duration, Duration)> {
        Some((PING_EVERY, SILENCE_MAX))
    }

    fn tick_interval(&self) -> Option<Duration> {
        Some(self.tick_every)
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting(waiting) => Some(waiting.deadline),
            Phase::Between | Phase::Open(_) => None,
        }
    }

    fn opened(&mut self, out: &mut Outbox) {
        let Phase::Waiting(waiting) = &self.phase else { return };
        let payload = json!({ "nonce": waiting.before.nonce, "ts": self.argent.services.clock.now() });
        let body = framing::event_body("connect.challenge", &payload);
        out.text(framing::event(Form::Native, &body, Around::default()));
    }

    fn received(&mut self, text: Utf8Bytes, out: &mut Outbox) -> Received<Done> {
        self.read(text.as_str(), out)
    }

    fn received_binary(&mut self, data: Bytes, out: &mut Outbox) -> Received<Done> {
        // Read as text; what is no UTF-8 is no JSON either.
        let text = std::str::from_utf8(&data).unwrap_or_default();
        self.read(text, out)
    }

    fn completed(&mut self, done: Done, out: &mut Outbox) {
        match done {
            Done::Handshake { reply, result: Ok(admitted) } => {
                if let Some(frame) = framing::success(&reply, &admitted.hello) {
                    out.text(frame);
                }
                self.phase = Phase::Open(Box::new(Open::new(reply.form, *admitted)));
            }
            Done::Handshake { reply, result: Err(refusal) } => {
                if let Some(frame) = framing::failure(&reply, &refusal.error) {
                    out.text(frame);
                }
                out.close(refusal.close_code, &refusal.close_reason);
            }
            Done::One(answered) => {
                if let Phase::Open(open) = &mut self.phase {
                    open.answered(answered, out);
                }
            }
            Done::Many(answers) => {
                if let Phase::Open(open) = &mut self.phase {
                    open.answered(dispatch::join(answers), out);
                }
            }
        }
    }

    fn take_subscription(&mut self) -> Option<Option<Subscription>> {
        match &mut self.phase {
            Phase::Open(open) => open.subscription.take().map(Some),
            Phase::Waiting(_) | Phase::Between => None,
        }
    }

    fn delivered(&mut self, delivery: Delivery, out: &mut Outbox) {
        let Phase::Open(open) = &mut self.phase else { return };
        match delivery {
            Delivery::Event(envelope) => open.tell(&self.argent, &envelope, out),
            // The gap in the numbers tells the client that it missed something.
            Delivery::Dropped(count) => open.seq += count,
            Delivery::Resync { oldest, newest } => {
                let payload =
                    json!({ "oldestCursor": oldest, "cursor": newest, "ts": self.argent.services.clock.now() });
                let frame = Frame::new(Audience::Everybody, "events.resync", &payload);
                open.write(&frame, None, None, out);
            }
            Delivery::Closed => out.close(1012, "service restart"),
        }
    }

    fn tick(&mut self, out: &mut Outbox) {
        let Phase::Open(open) = &mut self.phase else { return };
        let frame = Frame::new(Audience::Everybody, "tick", &json!({ "ts": self.argent.services.clock.now() }));
        open.write(&frame, None, None, out);
        self.argent.health.tick();
    }

    fn late(&mut self, out: &mut Outbox) {
        out.close(1000, "");
    }

    fn check_credentials(&mut self, out: &mut Outbox) {
        let Phase::Open(open) = &self.phase else { return };
        let token = open.principal.token_id.as_ref();
        if token.is_some_and(|token| !self.argent.services.tokens.is_valid(token)) {
            out.close(4001, "gateway auth changed");
            self.phase = Phase::Between;
        }
    }

    fn stopping(&mut self, ending: Ending, out: &mut Outbox) {
        if let Phase::Open(open) = &mut self.phase
            && !open.shutdown_told
        {
            let frame = match ending {
                Ending::Stop => projection::shutdown("gateway stopping", None),
                Ending::Restart => projection::shutdown("gateway restarting", Some(0)),
            };
            open.write(&frame, None, None, out);
        }
        out.close(1012, "service restart");
    }
}
