//! Listeners and what every one of them serves.
//!
//! A listener speaks one dialect on `/` and `/ws`; the HTTP surface is the same on all of them. The
//! dialects are handed in by the binary as a [`Surface`]; this crate knows none of them by name.

mod accept;
mod accepted;
mod bind;
mod guard;
mod ops_routes;
pub mod settings;
mod surface;
mod tls;
mod waiting;

pub use accept::Connections;
pub use bind::{BindError, Bound, Inherited, adopt, bind};
pub use settings::{AuthSettings, ListenSettings, TlsSettings};
pub use surface::{Contract, DialectSurface, Surface, Upgrade};
pub use waiting::{WaitingRoom, Words};
