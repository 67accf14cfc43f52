//! The table of routes.

use crate::route::Routes;
use crate::{chat, embeddings, models, responses};

pub(crate) fn table() -> Routes {
    let mut table = Routes::default();
    models::add(&mut table);
    chat::add(&mut table);
    responses::add(&mut table);
    embeddings::add(&mut table);
    table
}
