//! The catalogue: what can stand as `model` in a request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use dialect::contract_http::Route;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;

use crate::OpenAi;
use crate::errors::{ApiError, ErrorBody, json_response};
use crate::route::{Routes, unknown, with_refusals};
use crate::target::{self, AGENT_PREFIX};

const ONE_PREFIX: &str = "/v1/models/";

/// List the models: those of the agents, the agents themselves as `agent/<id>`, then all others of
/// all providers.
#[derive(JsonSchema)]
struct ListModels;

/// Read one model. Its id may hold slashes, written as they are or as `%2F`; a model that a
/// configured provider does not list is there all the same.
#[derive(JsonSchema)]
struct ReadModel;

/// A model.
#[derive(Debug, Serialize, JsonSchema)]
struct Model {
    /// `provider/modelId`, or `agent/<id>`.
    id: String,
    object: &'static str,
    /// Always 0: nobody knows.
    created: u64,
    owned_by: String,
}

/// All models.
#[derive(Serialize, JsonSchema)]
struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

pub(crate) fn add(table: &mut Routes) {
    let all = Route::get::<ListModels>("/v1/models", "listModels").answer::<ModelList>(200, "the models");
    table.add(with_refusals(all), any(unknown).get(list));
    let one = Route::get::<ReadModel>("/v1/models/{*model}", "readModel")
        .answer::<Model>(200, "the model")
        .answer::<ErrorBody>(404, "no such model");
    table.add(with_refusals(one), any(unknown).get(read));
}

impl Model {
    fn new(id: String) -> Self {
        let owned_by = id.split_once('/').map_or(id.as_str(), |(owner, _)| owner).to_owned();
        Self { id, object: "model", created: 0, owned_by }
    }
}

async fn list(State(openai): State<Arc<OpenAi>>) -> Response {
    let services = openai.services();
    let agents = services.agents.list();
    let enabled = || agents.iter().filter(|agent| agent.enabled);
    let mut ids: Vec<String> = Vec::new();
    let mut add = |id: String| {
        if !ids.contains(&id) {
            ids.push(id);
        }
    };
    enabled().filter_map(|agent| services.models.model_of(agent)).for_each(|model| add(model.to_string()));
    enabled().for_each(|agent| add(format!("{AGENT_PREFIX}{}", agent.id)));
    let others = services.models.list(false).await;
    // The catalogue has no model twice; only those named above can be there again.
    let named = ids.len();
    let others = others.iter().map(|entry| entry.reference.to_string());
    let others: Vec<String> = others.filter(|id| !ids[..named].contains(id)).collect();
    ids.extend(others);
    let data = ids.into_iter().map(Model::new).collect();
    json_response(StatusCode::OK, &ModelList { object: "list", data })
}

async fn read(State(openai): State<Arc<OpenAi>>, request: Request) -> Response {
    // The raw path: the router's own decoding would refuse an undecodable id in other words.
    let id = request.uri().path().strip_prefix(ONE_PREFIX).unwrap_or_default();
    let id = percent_decode_str(id).decode_utf8().unwrap_or_default();
    let services = openai.services();
    let is_agents = |id: &str| {
        services
            .agents
            .list()
            .iter()
            .filter(|agent| agent.enabled)
            .any(|agent| services.models.model_of(agent).is_some_and(|model| model.to_string() == id))
    };
    if target::known(services, &id).is_some() || is_agents(&id) {
        return json_response(StatusCode::OK, &Model::new(id.into_owned()));
    }
    ApiError::not_found("Model not found").into_response()
}
