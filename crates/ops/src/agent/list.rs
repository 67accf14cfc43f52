use model::{AgentId, OpError, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Call, Operation, Reply};

/// List the configured agents. There is always `main`.
#[derive(JsonSchema)]
pub struct AgentList;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// In the order of the configuration.
    pub agents: Vec<AgentView>,
    pub total: usize,
    /// The agent of calls that name none.
    pub default: AgentId,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct AgentView {
    pub id: AgentId,
    pub name: String,
    pub description: String,
    /// `provider/model`; `null` when none is configured.
    pub model: Option<String>,
    pub enabled: bool,
    pub is_default: bool,
}

impl Operation for AgentList {
    const NAME: &'static str = "agent.list";
    const SCOPE: Option<Scope> = Some(Scope::Read);
    type Params = Params;
    type Output = Output;

    async fn run(call: &Call, _: Params) -> Result<Reply<Output>, OpError> {
        let default = call.services.agents.default_agent().id.clone();
        let agents: Vec<AgentView> = call
            .services
            .agents
            .list()
            .iter()
            .map(|agent| AgentView {
                id: agent.id.clone(),
                name: agent.name.clone(),
                description: agent.description.clone(),
                model: call.services.models.model_of(agent).map(|model| model.to_string()),
                enabled: agent.enabled,
                is_default: agent.id == default,
            })
            .collect();
        Ok(Output { total: agents.len(), agents, default }.into())
    }
}
