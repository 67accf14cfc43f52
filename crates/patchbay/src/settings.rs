//! The whole configuration: the sections of all crates, composed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Validate, Violation};
use dialect_aleph::AlephSettings;
use dialect_argent::ArgentSettings;
use dialect_comis::ComisSettings;
use model::{Agent, AgentId, AgentIdentity, ModelRef, Thinking};
use providers::{ProviderKind, ProviderSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use server::settings::{AuthSettings, ListenSettings, default_listeners};
use services::{Limits, SessionRules};

/// The configuration of a gateway. Every key has a default; an empty file is a valid one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Addresses to listen on; the three defaults are on loopback.
    pub listen: Vec<ListenSettings>,
    pub auth: AuthSettings,
    pub store: StoreSettings,
    pub bus: BusSettings,
    pub cluster: ClusterSettings,
    /// Accounts at model providers, by a name of your choosing.
    pub providers: BTreeMap<String, ProviderSettings>,
    pub models: ModelsSettings,
    /// The agents, by id. There is always `main`.
    pub agents: BTreeMap<String, AgentSettings>,
    pub sessions: SessionRules,
    pub limits: Limits,
    pub log: LogSettings,
    pub aleph: AlephSettings,
    pub comis: ComisSettings,
    pub argent: ArgentSettings,
    #[cfg(feature = "local")]
    pub local: local_model::LocalSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: default_listeners(),
            auth: AuthSettings::default(),
            store: StoreSettings::default(),
            bus: BusSettings::default(),
            cluster: ClusterSettings::default(),
            providers: BTreeMap::new(),
            models: ModelsSettings::default(),
            agents: BTreeMap::new(),
            sessions: SessionRules::default(),
            limits: Limits::default(),
            log: LogSettings::default(),
            aleph: AlephSettings::default(),
            comis: ComisSettings::default(),
            argent: ArgentSettings::default(),
            #[cfg(feature = "local")]
            local: local_model::LocalSettings::default(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:PATH`, relative to the home folder, for one gateway; `postgres://user:password@host:5432/database`
    /// for any number of them. There, `?sslmode=` is `disable`, `prefer`, `require`, `verify-ca` or
    /// `verify-full`, `&sslrootcert=` names the file of certificates to trust, and `?host=/folder` a socket of
    /// this machine. `${NAME}` keeps the password out of the file.
    pub url: String,
}

/// The address may hold a password.
impl std::fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSettings").finish_non_exhaustive()
    }
}

/// What the address of a database leads to.
#[derive(Clone, PartialEq, Eq)]
pub enum StorePlace<'a> {
    File(PathBuf),
    /// The address holds a password.
    Server(&'a str),
}

impl StorePlace<'_> {
    /// The file, when it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            StorePlace::File(path) => Some(path),
            StorePlace::Server(_) => None,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { url: String::from("sqlite:patchbay.db") }
    }
}

impl StoreSettings {
    /// Where the database is.
    pub fn place(&self, home: &Path) -> StorePlace<'_> {
        if self.is_server() {
            return StorePlace::Server(&self.url);
        }
        StorePlace::File(home.join(self.url.strip_prefix("sqlite:").unwrap_or(&self.url)))
    }

    fn is_server(&self) -> bool {
        ["postgres://", "postgresql://"].into_iter().any(|scheme| self.url.starts_with(scheme))
    }

    /// What is wrong with the address, without repeating it.
    pub fn problem(&self) -> Option<String> {
        #[cfg(feature = "postgres")]
        if self.is_server() {
            return store_postgres::problem(&self.url);
        }
        let forms = if cfg!(feature = "postgres") {
            "must be `sqlite:PATH` or `postgres://user:password@host:5432/database`"
        } else if self.is_server() {
            "this program was built without PostgreSQL; it must be `sqlite:PATH`"
        } else {
            "must be `sqlite:PATH`"
        };
        (!self.url.starts_with("sqlite:")).then(|| forms.to_owned())
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// `local`: nodes that share a database tell each other of what is new through it.
    /// `nats://user:password@host:4222`, `nats://token@host` or `tls://…` for a NATS server from version 2.9.10
    /// on; several servers of one NATS cluster with commas between. A `/part` at the end keeps several clusters
    /// of gateways apart on one server.
    pub url: String,
}

/// The address may hold a password.
impl std::fmt::Debug for BusSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BusSettings").finish_non_exhaustive()
    }
}

impl Default for BusSettings {
    fn default() -> Self {
        Self { url: String::from("local") }
    }
}

impl BusSettings {
    /// What is wrong with the address, without repeating it.
    fn problem(&self) -> Option<String> {
        if self.url == "local" {
            return None;
        }
        #[cfg(feature = "nats")]
        return link_nats::Address::parse(&self.url).err().map(|bad| format!("{bad}, or be `local`"));
        #[cfg(not(feature = "nats"))]
        Some(String::from("this program was built without NATS; it must be `local`"))
    }
}

/// What the nodes of a cluster expect of each other. A gateway on SQLite is alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// How long, in seconds, this node may be silent before others take over what it drives; 1 to 300.
    #[schemars(range(min = 1, max = 300))]
    pub lease_secs: u64,
    /// What this node is called; no two nodes of a cluster have one name. By default a name that is
    /// made once for each home folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { lease_secs: services::cluster::DEFAULT_LEASE.as_secs(), node: None }
    }
}

/// Which models are used where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelsSettings {
    /// `provider/model` of agents that name none. By default a model of a provider that has a key,
    /// else one of a running Ollama, else the embedded model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<ModelRef>,
    /// `provider/model` that makes embeddings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<ModelRef>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// For people; the id when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub description: String,
    /// `provider/model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    /// Tried in order when the model fails.
    pub fallbacks: Vec<ModelRef>,
    /// What the agent is told about itself, before its documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    pub thinking: Thinking,
    /// The only folder its file tools reach; `agents/<id>` in the home folder when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<PathBuf>,
    /// Names of the tools it may use; all built-in ones when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    pub enabled: bool,
    pub identity: IdentitySettings,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            name: None,
            description: String::new(),
            model: None,
            fallbacks: Vec::new(),
            system_prompt: None,
            thinking: Thinking::default(),
            workspace: None,
            tools: None,
            enabled: true,
            identity: IdentitySettings::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
    /// A URL, a data URL, or one letter or emoji.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,providers=debug`.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: String::from("info") }
    }
}

impl Settings {
    /// The agents, `main` first when it is not configured.
    pub fn agents(&self, home: &Path) -> Vec<Agent> {
        let mut agents: Vec<Agent> = self
            .agents
            .iter()
            .filter_map(|(id, settings)| Some(settings.agent(AgentId::parse(id).ok()?, home)))
            .collect();
        if !agents.iter().any(|agent| agent.id == AgentId::main()) {
            agents.insert(0, AgentSettings::default().agent(AgentId::main(), home));
        }
        agents
    }
}

impl AgentSettings {
    fn agent(&self, id: AgentId, home: &Path) -> Agent {
        let workspace = self.workspace.clone().unwrap_or_else(|| Path::new("agents").join(id.as_str()));
        Agent {
            name: self.name.clone().unwrap_or_else(|| id.to_string()),
            description: self.description.clone(),
            model: self.model.clone(),
            fallbacks: self.fallbacks.clone(),
            system_prompt: self.system_prompt.clone(),
            thinking: self.thinking,
            workspace: home.join(workspace),
            tools: self.tools.clone(),
            enabled: self.enabled,
            identity: AgentIdentity {
                name: self.identity.name.clone(),
                emoji: self.identity.emoji.clone(),
                avatar: self.identity.avatar.clone(),
                theme: self.identity.theme.clone(),
            },
            id,
        }
    }
}

impl Validate for Settings {
    /// `cargo xtask check` holds the committed text against the types; until it is written anew, while
    /// settings are being changed, debug builds go by the types.
    fn schema_text() -> Option<&'static str> {
        (!cfg!(debug_assertions)).then_some(include_str!("../../../schema/config.schema.json"))
    }

    fn validate(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut fail = |key: String, message: String| found.push(Violation::new(key, message));
        if self.listen.is_empty() {
            fail("listen".into(), "there must be at least one listener".into());
        }
        for (index, listen) in self.listen.iter().enumerate() {
            if !self.auth.required && !listen.address.ip().is_loopback() {
                fail(
                    format!("listen[{index}].address"),
                    format!("{} is reachable from other machines, so auth.required must stay true", listen.address),
                );
            }
        }
        if let Some(problem) = self.store.problem() {
            fail("store.url".into(), problem);
        }
        if let Some(message) = self.bus.problem() {
            fail("bus.url".into(), message);
        }
        if !(1..=300).contains(&self.cluster.lease_secs) {
            fail("cluster.lease_secs".into(), "must be 1 to 300".into());
        }
        if self.cluster.node.as_ref().is_some_and(|name| !(1..=64).contains(&name.trim().chars().count())) {
            fail("cluster.node".into(), "must have 1 to 64 characters".into());
        }
        for (index, token) in self.auth.token.iter().enumerate() {
            if !(1..=64).contains(&token.id.chars().count()) {
                fail(format!("auth.token[{index}].id"), "must have 1 to 64 characters".into());
            }
            if self.auth.token[..index].iter().any(|other| other.id == token.id) {
                fail(format!("auth.token[{index}].id"), format!("`{}` is used twice", token.id));
            }
            if token.secret.expose_secret().len() < 16 {
                fail(format!("auth.token[{index}].secret"), "must have at least 16 characters".into());
            }
            if token.scopes.contains(&model::Scope::Mcp) && token.scopes.len() > 1 {
                fail(format!("auth.token[{index}].scopes"), "`mcp` stands alone".into());
            }
        }
        for (id, agent) in &self.agents {
            if AgentId::parse(id).map(|parsed| parsed.as_str() != id).unwrap_or(true) {
                fail(
                    format!("agents.{id}"),
                    "an agent's id has 1 to 64 characters of a-z 0-9 _ - and starts with a letter or digit".into(),
                );
            }
            for name in agent.tools.iter().flatten().filter(|name| tools::Registry::built_in().get(name).is_none()) {
                let known = tools::Registry::built_in().names().join(", ");
                fail(format!("agents.{id}.tools"), format!("there is no tool `{name}`; there are {known}"));
            }
        }
        for (name, provider) in &self.providers {
            if provider.kind == ProviderKind::Local && name != "local" {
                fail(format!("providers.{name}.kind"), "the embedded models are always the provider `local`".into());
            }
        }
        for problem in self.comis.problems() {
            fail(format!("comis.{}", problem.key), problem.message);
        }
        for (key, message) in providers::settings::validate(&self.providers) {
            fail(format!("providers.{key}"), message);
        }
        found
    }

    fn warnings(&self) -> Vec<Violation> {
        let known = |provider: &str| {
            self.providers.contains_key(provider)
                || ["local", "openai", "anthropic", "gemini", "ollama"].contains(&provider)
        };
        let mut found = Vec::new();
        let mut check = |key: String, model: &ModelRef| {
            if !known(&model.provider) {
                found.push(Violation::new(key, format!("no provider `{}` is configured", model.provider)));
            }
        };
        if let Some(model) = &self.models.default {
            check("models.default".into(), model);
        }
        for (id, agent) in &self.agents {
            if let Some(model) = &agent.model {
                check(format!("agents.{id}.model"), model);
            }
            for model in &agent.fallbacks {
                check(format!("agents.{id}.fallbacks"), model);
            }
        }
        found
    }
}
