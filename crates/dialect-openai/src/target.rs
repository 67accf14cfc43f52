//! Who answers for a model id: an agent, or a model of a provider.

use std::sync::Arc;

use model::{Agent, AgentId, ModelRef};
use providers::Provider;
use services::Services;

use crate::errors::ApiError;
use crate::settings::UnknownModel;

/// Start of ids that mean an agent.
pub(crate) const AGENT_PREFIX: &str = "agent/";

pub(crate) enum Target {
    Agent(Arc<Agent>),
    /// The provider with its own name for the model.
    Model(Arc<dyn Provider>, ModelRef),
}

/// `agent/<id>`, `<provider>/<anything>` whether listed or not, or an agent's bare id; every other
/// id is `unknown`'s matter.
pub(crate) fn resolve(services: &Services, model: &str, unknown: UnknownModel) -> Result<Target, ApiError> {
    if let Some(target) = known(services, model) {
        return Ok(target);
    }
    match unknown {
        // A name that can only mean an agent is never answered by another one.
        UnknownModel::Default if !model.starts_with(AGENT_PREFIX) => Ok(Target::Agent(services.agents.default_agent())),
        UnknownModel::Default | UnknownModel::Reject => Err(ApiError::model_not_found(model)),
    }
}

pub(crate) fn known(services: &Services, model: &str) -> Option<Target> {
    if let Some(id) = model.strip_prefix(AGENT_PREFIX) {
        return agent(services, id).map(Target::Agent);
    }
    match provider(services, model) {
        Some((provider, reference)) => Some(Target::Model(provider, reference)),
        None => agent(services, model).map(Target::Agent),
    }
}

/// The provider whose name stands before the first slash.
pub(crate) fn provider(services: &Services, model: &str) -> Option<(Arc<dyn Provider>, ModelRef)> {
    let reference: ModelRef = model.parse().ok()?;
    let provider = services.models.registry().get(&reference.provider)?;
    Some((provider, reference))
}

fn agent(services: &Services, id: &str) -> Option<Arc<Agent>> {
    services.agents.get(&AgentId::parse(id).ok()?).filter(|agent| agent.enabled)
}
