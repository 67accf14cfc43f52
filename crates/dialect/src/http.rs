//! What the HTTP routes of all dialects share: who asks and from where, how often and how much.
//!
//! One [`Gate`] serves every route of a process, so that one caller has one window of requests
//! whatever it asks for. The gate knows tokens and limits; which scope a route wants and how an
//! error is worded is the route's business. Put [`limit`] around routers, read the [`Asker`] from
//! the request's extensions, and bodies with [`read_body`].

mod body;
mod caller;
mod gate;
pub mod query;
mod rate;

pub use body::{BodyError, read_body};
pub use caller::{Asker, Caller, Grant, Grants, bearer};
pub use gate::{Gate, HttpRules, Peer, client_ip, limit, refusal, written};
pub use query::{first, pairs};
pub use rate::{Admission, RATE_KEYS_MAX, RateLimiter};
