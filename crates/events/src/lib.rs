//! The event bus: durable events in commit order, ephemeral ones between them, to any number of
//! listeners.
//!
//! [`EventBus::subscribe`] gives a [`Subscription`] that first reads what was missed, then follows
//! live, without a gap and without a repeat. The bus keeps a ring of the newest events; what is durable and
//! older comes page by page from the [`Log`]. Knows no wire and no database.

mod bus;
mod link;
mod log;
mod ring;
mod subscription;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use bus::EventBus;
pub use link::{Heard, Link, LinkError};
pub use log::{Bounds, Log, LogError};
pub use ring::{LIVE_BYTES_MAX, LIVE_EVENTS_MAX, RECENT_EVENTS_MAX};
pub use subscription::{Delivery, Subscription};

#[cfg(test)]
mod tests;
