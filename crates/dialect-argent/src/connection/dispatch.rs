//! The one place where a call is let through: role, then scope, then whether the method exists;
//! its parameters are read last.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{ErrorKind, OpError, Principal};
use ops::{Call, Connection};
use tokio::time::Instant;

use crate::Argent;
use crate::errors::WireError;
use crate::framing::{self, Form, ReplyTo, Request};
use crate::link::{AgentCall, Link};
use crate::scopes::{self, Need};

/// Refusals in a row, within [`REFUSALS_WINDOW`], that end a connection.
const REFUSALS_MAX: u32 = 10;
const REFUSALS_WINDOW: Duration = Duration::from_secs(60);

/// What a call came to.
#[derive(Default)]
pub struct Answered {
    /// Absent when nobody waits for an answer.
    pub frame: Option<Vec<u8>>,
    /// What may start once the answer is on its way.
    pub then: Option<Box<dyn FnOnce() + Send>>,
    /// The call may have a second answer.
    pub second: Option<ReplyTo>,
}

pub enum Dispatched {
    Refused { frame: Option<Vec<u8>>, unauthorized: bool },
    Call(BoxFuture<'static, Answered>),
}

/// Calls refused for want of a role or a scope, one after the other.
#[derive(Default)]
pub struct Refusals {
    count: u32,
    since: Option<Instant>,
}

impl Refusals {
    /// Counts, or starts anew; `true` when there were too many.
    pub fn note(&mut self, unauthorized: bool, now: Instant) -> bool {
        let is_old = self.since.is_none_or(|since| now.duration_since(since) > REFUSALS_WINDOW);
        if !unauthorized || is_old {
            (self.count, self.since) = (0, None);
        }
        if unauthorized {
            self.count += 1;
            self.since.get_or_insert(now);
        }
        self.count >= REFUSALS_MAX
    }
}

pub fn dispatch(argent: &Argent, principal: &Arc<Principal>, link: &Arc<Link>, request: &Request<'_>) -> Dispatched {
    let reply = request.reply_to();
    let refuse = |error: &WireError| Dispatched::Refused {
        frame: framing::failure(&reply, error),
        unauthorized: error.is_unauthorized(),
    };
    if request.is_connect() {
        return refuse(&WireError::invalid_request("connect is only valid as the first request"));
    }
    let need = scopes::need(&request.method);
    if !scopes::may_call(principal.kind, &request.method, need) {
        return refuse(&WireError::unauthorized_role(scopes::role_word(principal.kind)));
    }
    if let Need::Scope(scope) = need
        && !principal.scopes.contains(scope)
    {
        return refuse(&WireError::missing_scope(scope));
    }
    let Some(method) = argent.table.get(&request.method) else {
        return refuse(&WireError::unknown_method(&request.method));
    };
    if request.params.is_some_and(|raw| !raw.get().starts_with('{') && raw.get() != "null") {
        return refuse(&WireError::invalid_params(method.name, "must be object"));
    }
    let has_second = method.name == "agent" && reply.form == Form::Native;
    let connection: Arc<dyn Connection> = if has_second {
        Arc::new(AgentCall { link: Arc::clone(link), reply: reply.clone() })
    } else {
        Arc::clone(link) as Arc<dyn Connection>
    };
    let call = Call {
        services: Arc::clone(&argent.services),
        principal: Arc::clone(principal),
        connection: Some(connection),
        dialect: "argent",
    };
    let work = method.call(call, request.params.map(ToOwned::to_owned));
    let name = method.name;
    Dispatched::Call(
        async move {
            match work.await {
                Ok(answer) => Answered {
                    frame: framing::success(&reply, &answer.json),
                    then: answer.then,
                    second: has_second.then_some(reply),
                },
                Err(error) => {
                    log(name, &error);
                    Answered { frame: framing::failure(&reply, &WireError::of(name, &error)), ..Answered::default() }
                }
            }
        }
        .boxed(),
    )
}

/// The answers of a batch as one; nothing when nobody waits for any of them.
pub fn join(answers: Vec<Answered>) -> Answered {
    let mut frame = vec![b'['];
    let mut thens = Vec::new();
    for answered in answers {
        if let Some(one) = answered.frame {
            if frame.len() > 1 {
                frame.push(b',');
            }
            frame.extend_from_slice(&one);
        }
        thens.extend(answered.then);
    }
    let frame = (frame.len() > 1).then(|| {
        frame.push(b']');
        frame
    });
    let then = (!thens.is_empty()).then(|| {
        Box::new(move || {
            for then in thens {
                then();
            }
        }) as Box<dyn FnOnce() + Send>
    });
    Answered { frame, then, second: None }
}

fn log(method: &'static str, error: &OpError) {
    if error.kind == ErrorKind::Internal {
        tracing::error!(method, cause = ?std::error::Error::source(error), "a call failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_refusals_in_a_row_within_a_minute_are_too_many() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        assert!((0..9).all(|_| !refusals.note(true, now)));
        assert!(refusals.note(true, now));
        let mut refusals = Refusals::default();
        assert!((0..9).all(|_| !refusals.note(true, now)));
        assert!(!refusals.note(false, now));
        assert!((0..9).all(|_| !refusals.note(true, now)));
        assert!(!refusals.note(true, now + Duration::from_secs(61)));
    }
}
