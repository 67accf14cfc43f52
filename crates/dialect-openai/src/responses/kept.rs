//! Responses that can be read again and gone on with for an hour, each by the token that asked for it, at
//! any node and after a restart.

use std::collections::HashMap;
use std::sync::Arc;

use model::{NewMessage, OpError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::KeptThings;
use services::kept::{Shelf, Thing};

const KEPT_MS: i64 = 3_600_000;
/// What several conversations share counts for each of them.
const RESPONSES: Shelf = Shelf { kind: "response", count_max: 1000, bytes_max: 64 * 1024 * 1024, kept_ms: KEPT_MS };
const ITEMS: Shelf = Shelf { kind: "response_item", count_max: 10_000, bytes_max: 64 * 1024 * 1024, kept_ms: KEPT_MS };
/// How many items of earlier answers one request may refer to.
const REFERENCES_MAX: usize = 1000;

/// A response with what a request needs that goes on from it.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptResponse {
    /// The whole object as it was sent.
    pub object: String,
    /// All that was said, its own answer last, without `instructions`.
    pub conversation: Vec<Arc<NewMessage>>,
    /// Ids of the items of its output.
    pub items: Vec<String>,
}

/// Puts a response away with the items of its output by their ids.
pub(super) async fn keep(
    things: &Arc<KeptThings>,
    owner: &str,
    id: &str,
    (object, conversation): (String, Vec<Arc<NewMessage>>),
    items: Vec<(String, Option<NewMessage>)>,
    at: model::Timestamp,
) -> Result<(), OpError> {
    let ids = items.iter().map(|(id, _)| id.clone()).collect();
    let items = items.iter().map(|(id, message)| Thing::new(id.as_str(), owner, message, at)).collect();
    things.keep(&ITEMS, items).await?;
    let response = KeptResponse { object, conversation, items: ids };
    things.keep(&RESPONSES, vec![Thing::new(id, owner, &response, at)]).await
}

pub(super) async fn get(things: &KeptThings, owner: &str, id: &str) -> Result<Option<KeptResponse>, OpError> {
    things.get(&RESPONSES, owner, id).await
}

/// `false` when there is none of this owner.
pub(super) async fn remove(things: &KeptThings, owner: &str, id: &str) -> Result<bool, OpError> {
    let items = |response: &KeptResponse| response.items.iter().map(|id| (&ITEMS, id.clone())).collect();
    Ok(things.forget(&RESPONSES, (owner, id), items).await?.is_some())
}

/// What a request refers to, as far as its caller can.
#[derive(Default)]
pub(super) struct Referred {
    responses: HashMap<String, KeptResponse>,
    items: HashMap<String, Option<NewMessage>>,
}

impl Referred {
    pub async fn by(body: &Value, things: &KeptThings, owner: &str) -> Result<Referred, OpError> {
        let mut referred = Referred::default();
        if let Some(id) = body["previous_response_id"].as_str()
            && let Some(response) = get(things, owner, id).await?
        {
            referred.responses.insert(id.to_owned(), response);
        }
        let items = body["input"].as_array().into_iter().flatten();
        let references =
            items.filter(|item| item["type"] == "item_reference" || (item["type"].is_null() && item["role"].is_null()));
        for id in references.filter_map(|item| item["id"].as_str()).take(REFERENCES_MAX) {
            if let Some(message) = things.get(&ITEMS, owner, id).await? {
                referred.items.insert(id.to_owned(), message);
            }
        }
        Ok(referred)
    }

    pub fn response(&self, id: &str) -> Option<&KeptResponse> {
        self.responses.get(id)
    }

    /// What an item of an earlier output says; the inner `None` for one that says nothing.
    pub fn item(&self, id: &str) -> Option<&Option<NewMessage>> {
        self.items.get(id)
    }
}
