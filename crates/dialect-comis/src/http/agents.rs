//! The configured agents.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use dialect::contract_http::Route;
use model::{Agent, ModelRef};
use schemars::JsonSchema;
use serde::Serialize;

use super::shared::{Routes, with_refusals};
use crate::Comis;
use crate::errors::json_response;

/// List the configured agents with the model each of them uses.
#[derive(JsonSchema)]
struct ListAgents;

#[derive(Debug, Serialize, JsonSchema)]
struct Agents {
    agents: Vec<AgentEntry>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AgentEntry {
    id: String,
    name: String,
    /// `unknown` when no model is configured.
    provider: String,
    /// `unknown` when no model is configured.
    model: String,
    /// `active` or `suspended`.
    status: &'static str,
}

pub(super) fn add(table: &mut Routes) {
    let route = Route::get::<ListAgents>("/api/agents", "listAgents").answer::<Agents>(200, "the agents");
    table.add(with_refusals(route), get(list));
}

async fn list(State(comis): State<Arc<Comis>>) -> Response {
    let services = comis.services();
    let agents = services.agents.list();
    let agents = agents.iter().map(|agent| entry(agent, services.models.model_of(agent))).collect();
    json_response(StatusCode::OK, &Agents { agents })
}

fn entry(agent: &Agent, model: Option<ModelRef>) -> AgentEntry {
    let unknown = || String::from("unknown");
    AgentEntry {
        id: agent.id.to_string(),
        name: if agent.name.is_empty() { String::from("Comis") } else { agent.name.clone() },
        provider: model.as_ref().map_or_else(unknown, |model| model.provider.to_string()),
        model: model.as_ref().map_or_else(unknown, |model| model.model.to_string()),
        status: if agent.enabled { "active" } else { "suspended" },
    }
}
