use std::borrow::Cow;

use model::{OpError, Scope};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Call, Operation, Reply};

/// Give the parameters back unchanged, whatever they are; `null` when there are none.
#[derive(JsonSchema)]
pub struct Echo;

/// Any JSON value, byte for byte: a tree of it would lose digits of numbers and the order of keys.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verbatim(Box<RawValue>);

impl JsonSchema for Verbatim {
    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

impl Operation for Echo {
    const NAME: &'static str = "echo";
    const SCOPE: Option<Scope> = None;
    type Params = Verbatim;
    type Output = Verbatim;

    async fn run(_: &Call, params: Verbatim) -> Result<Reply<Verbatim>, OpError> {
        Ok(params.into())
    }
}
