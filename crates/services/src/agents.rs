//! The configured agents. There is always `main`.

use std::sync::{Arc, PoisonError, RwLock};

use model::{Agent, AgentId, Noun, OpError};

pub struct Agents {
    /// In the order of the configuration; never empty.
    agents: RwLock<Arc<[Arc<Agent>]>>,
}

impl Agents {
    /// `agents` must hold at least one agent; the first enabled one, or `main`, is the default.
    pub fn new(agents: Vec<Agent>) -> Self {
        Self { agents: RwLock::new(agents.into_iter().map(Arc::new).collect()) }
    }

    /// Puts a new configuration in place; runs in progress keep what they began with.
    pub fn replace(&self, agents: Vec<Agent>) {
        *self.agents.write().unwrap_or_else(PoisonError::into_inner) = agents.into_iter().map(Arc::new).collect();
    }

    pub fn list(&self) -> Arc<[Arc<Agent>]> {
        Arc::clone(&self.agents.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn get(&self, id: &AgentId) -> Option<Arc<Agent>> {
        self.list().iter().find(|agent| agent.id == *id).cloned()
    }

    /// Like [`Agents::get`], for callers that need it: unknown and disabled agents are errors.
    pub fn require(&self, id: &AgentId) -> Result<Arc<Agent>, OpError> {
        let agent = self.get(id).ok_or_else(|| OpError::not_found(Noun::Agent, id))?;
        if agent.enabled {
            Ok(agent)
        } else {
            Err(OpError::conflict(format!("agent `{id}` is disabled; set `agents.{id}.enabled = true` to use it")))
        }
    }

    /// `main` when it is enabled, else the first enabled agent, else the first.
    pub fn default_agent(&self) -> Arc<Agent> {
        let agents = self.list();
        let main = agents.iter().find(|agent| agent.enabled && agent.id.as_str() == "main");
        let chosen = main.or_else(|| agents.iter().find(|agent| agent.enabled)).or_else(|| agents.first());
        Arc::clone(chosen.expect("the configuration always yields an agent"))
    }
}
