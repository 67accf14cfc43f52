//! Subscriptions of a connection.

pub mod list;
pub mod subscribe;
pub mod unsubscribe;

use serde::{Deserialize, Deserializer};

/// A list of patterns; a single string stands for a list of one.
pub(crate) fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
