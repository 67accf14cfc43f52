//! `agents.list`, `agent.identity.get`.

use std::path::Path;

use model::{Agent, OpError};
use ops::{Call, Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NoParams, agent_named};
use crate::keys;
use crate::link::link;

/// List the configured agents, in the order of the configuration. There is always one.
#[derive(JsonSchema)]
pub struct AgentsList;

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListOutput {
    default_id: String,
    main_key: &'static str,
    /// `per-sender`
    scope: &'static str,
    agents: Vec<AgentView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AgentView {
    id: String,
    name: String,
    identity: IdentityView,
    /// `agent`
    kind: &'static str,
    /// For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct IdentityView {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    theme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ModelView {
    /// `provider/model`
    primary: String,
    fallbacks: Vec<String>,
}

pub async fn list(call: Call, _: NoParams) -> Result<Reply<ListOutput>, OpError> {
    let shows_paths = call.principal.scopes.contains(model::Scope::Admin);
    let agents = call.services.agents.list();
    let view = |agent: &Agent| AgentView {
        id: agent.id.to_string(),
        name: agent.name.clone(),
        identity: IdentityView {
            name: agent.identity.name.clone(),
            theme: agent.identity.theme.clone(),
            emoji: agent.identity.emoji.clone(),
            avatar: agent.identity.avatar.clone(),
        },
        kind: "agent",
        workspace: shows_paths.then(|| agent.workspace.display().to_string()),
        model: call.services.models.model_of(agent).map(|model| ModelView {
            primary: model.to_string(),
            fallbacks: agent.fallbacks.iter().map(ToString::to_string).collect(),
        }),
    };
    let enabled = agents.iter().filter(|agent| agent.enabled);
    Ok(ListOutput {
        default_id: call.services.agents.default_agent().id.to_string(),
        main_key: keys::MAIN,
        scope: "per-sender",
        agents: enabled.map(|agent| view(agent)).collect(),
    }
    .into())
}

/// Tell an agent's name, avatar and emoji: from the configuration, else from the document
/// IDENTITY.md in its workspace, else defaults.
#[derive(JsonSchema)]
pub struct AgentIdentityGet;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityParams {
    #[serde(default)]
    agent_id: Option<String>,
    /// Decides the agent.
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    agent_id: String,
    name: String,
    /// A URL, a data URL, or one letter or emoji.
    avatar: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<String>,
}

const NAME_CHARS_MAX: usize = 50;
const AVATAR_CHARS_MAX: usize = 200;
const EMOJI_CHARS_MAX: usize = 16;
/// A longer document is no identity.
const DOCUMENT_BYTES_MAX: u64 = 64 * 1024;

pub async fn identity(call: Call, params: IdentityParams) -> Result<Reply<Identity>, OpError> {
    let link = link(&call)?;
    let written = params.session_key.as_deref().or(params.key.as_deref()).filter(|key| !key.trim().is_empty());
    let agent_id = match written {
        Some(_) => super::session_named(&call, link, written, params.agent_id.as_deref(), "sessionKey")?.agent(),
        None => agent_named(&call, params.agent_id.as_deref())?,
    };
    let agent = call.services.agents.get(&agent_id).ok_or_else(|| OpError::not_found(model::Noun::Agent, &agent_id))?;
    let document = read_document(&agent.workspace).await;
    Ok(identity_of(&agent, &document).into())
}

async fn read_document(workspace: &Path) -> String {
    let path = workspace.join("IDENTITY.md");
    match tokio::fs::metadata(&path).await {
        Ok(facts) if facts.is_file() && facts.len() <= DOCUMENT_BYTES_MAX => {
            tokio::fs::read_to_string(&path).await.unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn identity_of(agent: &Agent, document: &str) -> Identity {
    let pick = |configured: Option<&String>, field: &str, max: usize| {
        let found = configured.cloned().or_else(|| field_of(document, field));
        found.map(|text| text.trim().chars().take(max).collect::<String>()).filter(|text| !text.is_empty())
    };
    let is_shown = |avatar: &String| {
        ["http://", "https://", "data:"].iter().any(|scheme| avatar.starts_with(scheme)) || avatar.chars().count() <= 4
    };
    Identity {
        agent_id: agent.id.to_string(),
        name: pick(agent.identity.name.as_ref(), "name", NAME_CHARS_MAX).unwrap_or_else(|| String::from("Assistant")),
        // A file in the workspace is served nowhere, so it is no avatar.
        avatar: pick(agent.identity.avatar.as_ref(), "avatar", AVATAR_CHARS_MAX)
            .filter(is_shown)
            .unwrap_or_else(|| String::from("A")),
        emoji: pick(agent.identity.emoji.as_ref(), "emoji", EMOJI_CHARS_MAX),
    }
}

/// `- Name: Pilot`, with or without emphasis.
fn field_of(document: &str, field: &str) -> Option<String> {
    document.lines().find_map(|line| {
        let line = line.trim().strip_prefix(['-', '*'])?.replace("**", "");
        let (name, value) = line.split_once(':')?;
        (name.trim().eq_ignore_ascii_case(field) && !value.trim().is_empty()).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_documents_are_lists_of_fields() {
        let document = "# Who I am\n- **Name:** Pilot\n* Emoji: 🛟\n- Avatar:\n";
        assert_eq!(field_of(document, "name").as_deref(), Some("Pilot"));
        assert_eq!(field_of(document, "emoji").as_deref(), Some("🛟"));
        assert_eq!(field_of(document, "avatar"), None);
    }
}
