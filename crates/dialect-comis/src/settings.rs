//! `[comis]`: what only this dialect knows.

use std::net::IpAddr;

use dialect::http::{Grant, Grants, HttpRules};
use model::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::tokens::ConfiguredToken;

/// Shortest secret of a token, in characters.
pub const SECRET_CHARS_MIN: usize = 32;

/// `[comis]`: limits of HTTP and WebSocket, cross-origin pages, and tokens in Comis's own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ComisSettings {
    pub rate_limit: RateLimit,
    pub ws_message_rate_limit: MessageRateLimit,
    /// Largest body of a POST to `/api`, `/v1` and `/rpc`, in bytes.
    #[schemars(range(min = 1))]
    pub http_body_limit_bytes: usize,
    /// Most calls in one JSON-RPC batch.
    #[schemars(range(min = 1))]
    pub max_batch_size: usize,
    /// How often a WebSocket connection gets a `heartbeat`, in milliseconds; 0 = never.
    pub ws_heartbeat_ms: u64,
    /// Longest WebSocket message, in UTF-16 code units.
    #[schemars(range(min = 1))]
    pub ws_max_message_bytes: usize,
    /// Origins whose pages may call `/api`, or `*`; empty = none, and no cross-origin headers at all.
    pub cors_origins: Vec<String>,
    /// Addresses of proxies whose `X-Forwarded-For` names the client.
    pub trusted_proxies: Vec<IpAddr>,
    /// Leaves out the warning about a listener without TLS.
    pub allow_insecure_http: bool,
    pub web: Web,
    /// Tokens in the words of Comis; the same store of tokens serves every dialect.
    pub tokens: Vec<Token>,
    pub events: Events,
    pub openai: OpenAi,
    pub agent_to_agent: AgentToAgent,
}

impl Default for ComisSettings {
    fn default() -> Self {
        Self {
            rate_limit: RateLimit::default(),
            ws_message_rate_limit: MessageRateLimit::default(),
            http_body_limit_bytes: 1 << 20,
            max_batch_size: 50,
            ws_heartbeat_ms: 30_000,
            ws_max_message_bytes: 1 << 20,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            allow_insecure_http: false,
            web: Web::default(),
            tokens: Vec::new(),
            events: Events::default(),
            openai: OpenAi::default(),
            agent_to_agent: AgentToAgent::default(),
        }
    }
}

/// Requests of one token, or of one address without a token, in a fixed window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    #[schemars(range(min = 1))]
    pub window_ms: u64,
    #[schemars(range(min = 1))]
    pub max_requests: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { window_ms: 60_000, max_requests: 100 }
    }
}

/// Messages of one WebSocket connection in a sliding window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MessageRateLimit {
    #[schemars(range(min = 1))]
    pub max_messages: usize,
    #[schemars(range(min = 1))]
    pub window_ms: u64,
}

impl Default for MessageRateLimit {
    fn default() -> Self {
        Self { max_messages: 60, window_ms: 60_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// `false` takes away `/api/*` with its event stream; `/health`, `/ws`, `/rpc` and `/v1` stay.
    pub enabled: bool,
}

impl Default for Web {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// A bearer token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Unique; names the client in errors and limits.
    pub id: String,
    /// 32 characters or more; absent = the environment variable `GATEWAY_TOKEN_<ID>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// `rpc`, `api`, `admin`, `mcp-client` (alone) or `*`; empty grants nothing.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// `GET /api/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// 0 turns replay off: a client that comes back is told to load its state anew. Any other
    /// number turns it on; what was missed comes from the log, however much it is.
    pub buffer_size: u64,
    pub content: EventContent,
}

impl Default for Events {
    fn default() -> Self {
        Self { buffer_size: 1000, content: EventContent::Full }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventContent {
    Full,
    /// Without the text of messages.
    Metadata,
}

/// The OpenAI-compatible routes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAi {
    pub unknown_model: UnknownModel,
}

impl Default for OpenAi {
    fn default() -> Self {
        Self { unknown_model: UnknownModel::Default }
    }
}

/// `session.send` and `session.spawn`: how agents may use each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentToAgent {
    /// `false` refuses both methods.
    pub enabled: bool,
    /// Agents that may talk to each other; empty = all. An agent may always talk to itself.
    pub allow_agents: Vec<String>,
    /// Turns of a ping-pong at most; 1 to 50.
    #[schemars(range(min = 1, max = 50))]
    pub max_ping_pong_turns: u32,
    /// How long an answer is waited for when the caller does not say, in milliseconds; 1 to 600000.
    #[schemars(range(min = 1, max = 600_000))]
    pub wait_timeout_ms: u64,
    /// Sub-agents of one agent that run at the same time.
    #[schemars(range(min = 1))]
    pub max_children: u32,
    /// Sub-agents of one agent that may wait for a place; beyond it `session.spawn` is refused.
    pub max_queued: u32,
    /// How long a sub-agent waits for a place before it is cancelled, in milliseconds.
    #[schemars(range(min = 1))]
    pub queue_timeout_ms: u64,
    /// Model calls of one sub-agent at most.
    #[schemars(range(min = 1))]
    pub sub_agent_max_steps: u32,
}

impl Default for AgentToAgent {
    fn default() -> Self {
        Self {
            enabled: true,
            allow_agents: Vec::new(),
            max_ping_pong_turns: 3,
            wait_timeout_ms: 60_000,
            max_children: 5,
            max_queued: 10,
            queue_timeout_ms: 120_000,
            sub_agent_max_steps: 50,
        }
    }
}

/// What a model id that nothing knows comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownModel {
    /// The default agent answers.
    Default,
    /// 404.
    Reject,
}

/// A rule that the settings break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path below `comis`.
    pub key: String,
    /// Never holds a secret.
    pub message: String,
}

impl ComisSettings {
    /// Rules beyond types.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: String, message: String| problems.push(Problem { key, message });
        let at_least_one = [
            ("rate_limit.window_ms", self.rate_limit.window_ms),
            ("rate_limit.max_requests", self.rate_limit.max_requests),
            ("ws_message_rate_limit.window_ms", self.ws_message_rate_limit.window_ms),
            ("ws_message_rate_limit.max_messages", self.ws_message_rate_limit.max_messages as u64),
            ("http_body_limit_bytes", self.http_body_limit_bytes as u64),
            ("max_batch_size", self.max_batch_size as u64),
            ("ws_max_message_bytes", self.ws_max_message_bytes as u64),
            ("agent_to_agent.max_ping_pong_turns", u64::from(self.agent_to_agent.max_ping_pong_turns)),
            ("agent_to_agent.wait_timeout_ms", self.agent_to_agent.wait_timeout_ms),
            ("agent_to_agent.max_children", u64::from(self.agent_to_agent.max_children)),
            ("agent_to_agent.queue_timeout_ms", self.agent_to_agent.queue_timeout_ms),
            ("agent_to_agent.sub_agent_max_steps", u64::from(self.agent_to_agent.sub_agent_max_steps)),
        ];
        for (key, _) in at_least_one.iter().filter(|(_, value)| *value == 0) {
            problem((*key).to_owned(), String::from("must be at least 1"));
        }
        let at_most = [
            ("agent_to_agent.max_ping_pong_turns", u64::from(self.agent_to_agent.max_ping_pong_turns), 50),
            ("agent_to_agent.wait_timeout_ms", self.agent_to_agent.wait_timeout_ms, 600_000),
        ];
        for (key, _, most) in at_most.iter().filter(|(_, value, most)| value > most) {
            problem((*key).to_owned(), format!("must be at most {most}"));
        }
        for (index, token) in self.tokens.iter().enumerate() {
            let key = |field: &str| format!("tokens[{index}].{field}");
            if token.id.is_empty() {
                problem(key("id"), String::from("must not be empty"));
            } else if self.tokens[..index].iter().any(|other| other.id == token.id) {
                problem(key("id"), format!("`{}` is taken by another token", token.id));
            }
            let chars = token.secret.as_ref().map(|secret| secret.expose_secret().chars().count());
            if let Some(chars) = chars.filter(|chars| *chars < SECRET_CHARS_MIN) {
                problem(key("secret"), format!("has {chars} characters; at least {SECRET_CHARS_MIN} are needed"));
            }
            if token.scopes.iter().any(String::is_empty) {
                problem(key("scopes"), String::from("a scope must not be empty"));
            }
            if token.scopes.len() > 1 && token.scopes.iter().any(|scope| scope == Grant::McpClient.word()) {
                problem(
                    key("scopes"),
                    String::from("[scope_disjointness] `mcp-client` must be the only scope of its token"),
                );
            }
        }
        problems
    }

    /// The tokens as the gateway keeps them, and the names of the variables that are missing for
    /// tokens without a secret: nobody can use those.
    pub fn configured_tokens(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> (Vec<ConfiguredToken>, Vec<String>) {
        let (mut tokens, mut missing) = (Vec::new(), Vec::new());
        for token in &self.tokens {
            let variable = format!("GATEWAY_TOKEN_{}", token.id.to_uppercase().replace('-', "_"));
            let Some(secret) = token.secret.clone().or_else(|| environment(&variable).map(Secret::new)) else {
                missing.push(variable);
                continue;
            };
            let grants = Grants::from_words(token.scopes.iter().map(String::as_str));
            tokens.push(ConfiguredToken {
                id: token.id.clone(),
                secret,
                scopes: grants.scopes(),
                role: String::from("operator"),
                words: token.scopes.clone(),
            });
        }
        (tokens, missing)
    }
}

impl HttpRules for ComisSettings {
    fn rate_window_ms(&self) -> u64 {
        self.rate_limit.window_ms
    }

    fn rate_max_requests(&self) -> u64 {
        self.rate_limit.max_requests
    }

    fn body_bytes_max(&self) -> usize {
        self.http_body_limit_bytes
    }

    fn origins(&self) -> &[String] {
        &self.cors_origins
    }

    fn trusted_proxies(&self) -> &[IpAddr] {
        &self.trusted_proxies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_defaults_are_those_of_the_published_api_and_hold_its_rules() {
        let settings: ComisSettings = serde_json::from_value(json!({})).unwrap();
        assert_eq!(settings, ComisSettings::default());
        assert_eq!(settings.problems(), []);
        assert!(serde_json::from_value::<ComisSettings>(json!({ "prot": 1 })).is_err());
        let text = serde_json::to_value(&settings).unwrap();
        assert_eq!(serde_json::from_value::<ComisSettings>(text).unwrap(), settings);
    }

    #[test]
    fn broken_rules_are_named_by_their_key() {
        let settings: ComisSettings = serde_json::from_value(json!({
            "max_batch_size": 0,
            "tokens": [
                { "id": "a", "secret": "short", "scopes": ["rpc"] },
                { "id": "a", "scopes": ["mcp-client", "rpc"] },
                { "id": "", "scopes": [""] },
            ],
        }))
        .unwrap();
        let problems = settings.problems();
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "max_batch_size",
                "tokens[0].secret",
                "tokens[1].id",
                "tokens[1].scopes",
                "tokens[2].id",
                "tokens[2].scopes"
            ]
        );
        assert!(problems[3].message.contains("[scope_disjointness]"));
        assert!(problems.iter().all(|problem| !problem.message.contains("short")));
    }

    #[test]
    fn a_secret_may_come_from_the_environment() {
        let settings: ComisSettings = serde_json::from_value(json!({
            "tokens": [{ "id": "ci-bot", "scopes": ["rpc", "admin"] }, { "id": "gone", "scopes": ["rpc"] }],
        }))
        .unwrap();
        let (tokens, missing) =
            settings.configured_tokens(|name| (name == "GATEWAY_TOKEN_CI_BOT").then(|| "s".repeat(40)));
        assert_eq!(missing, ["GATEWAY_TOKEN_GONE"]);
        assert_eq!(tokens.len(), 1);
        assert_eq!((tokens[0].id.as_str(), tokens[0].scopes.to_text().as_str()), ("ci-bot", "read,write,admin"));
        assert_eq!(tokens[0].secret.expose_secret(), "s".repeat(40));
    }
}
