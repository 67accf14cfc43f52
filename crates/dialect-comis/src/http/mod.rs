//! The HTTP routes, one file for each family. A file holds a route's contract and its handler.

mod agents;
mod chat;
mod chat_stream;
mod events;
pub(crate) mod health;
mod history;
mod rpc;
mod shared;

pub(crate) use history::{Said, said};
pub(crate) use shared::Routes;

/// All routes but `/health`, whose words depend on the listener.
pub(crate) fn routes() -> Routes {
    let mut table = Routes::default();
    health::add_api(&mut table);
    agents::add(&mut table);
    history::add(&mut table);
    chat::add(&mut table);
    chat_stream::add(&mut table);
    events::add(&mut table);
    rpc::add(&mut table);
    table
}
