//! A root struct with everything that sections do: nesting, maps of sections, lists of tables,
//! enums with and without content, secrets, ranges.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use model::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::layers::Layers;
use crate::root::{Validate, Violation};

/// The sample's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sample {
    /// Where to listen.
    pub listen: Vec<Listen>,
    pub auth: Auth,
    pub store: StoreSection,
    pub agents: BTreeMap<String, AgentSection>,
    pub providers: BTreeMap<String, ProviderSection>,
    pub logs: Logs,
    pub extra: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    pub dialect: Dialect,
    pub address: String,
    #[serde(default)]
    pub backlog: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// JSON-RPC.
    Aleph,
    Comis,
    Argent,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    pub required: bool,
    pub token: Vec<Token>,
    pub password: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub id: String,
    pub secret: Secret,
    #[serde(default)]
    pub scopes: Vec<model::Scope>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    pub url: String,
    #[schemars(range(min = 1, max = 64))]
    pub readers: u8,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSection {
    pub model: Option<String>,
    pub fallbacks: Vec<String>,
    #[schemars(range(min = 1))]
    pub max_turns: Option<u32>,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u32>,
    pub thinking: Option<Thinking>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Thinking {
    Low,
    Medium,
    High,
}

/// No `deny_unknown_fields`: serde cannot combine it with a tag, the schema closes it all the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ProviderSection {
    Openai { base_url: Option<String>, api_key: Option<Secret> },
    Ollama(Ollama),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ollama {
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Logs {
    pub level: Option<String>,
    #[serde(flatten)]
    pub rotation: Rotation,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Rotation {
    pub keep_days: u32,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self { url: "sqlite:patchbay.db".into(), readers: 4 }
    }
}

impl Default for Sample {
    fn default() -> Self {
        let main = AgentSection { max_turns: Some(20), ..AgentSection::default() };
        Self {
            listen: vec![Listen { dialect: Dialect::Aleph, address: "127.0.0.1:18790".into(), backlog: 16 }],
            auth: Auth { required: true, ..Auth::default() },
            store: StoreSection::default(),
            agents: BTreeMap::from([("main".to_owned(), main)]),
            providers: BTreeMap::from([(
                "local".to_owned(),
                ProviderSection::Ollama(Ollama { host: "localhost".into(), headers: BTreeMap::new() }),
            )]),
            logs: Logs::default(),
            extra: BTreeMap::new(),
        }
    }
}

impl Validate for Auth {
    fn validate(&self) -> Vec<Violation> {
        let short = self.token.iter().enumerate().filter(|(_, token)| token.secret.expose_secret().len() < 8);
        // Shows the secret on purpose, as a careless owner might: the engine must take it out.
        short
            .map(|(at, token)| {
                Violation::new(
                    format!("token[{at}].secret"),
                    format!("`{}` is too short", token.secret.expose_secret()),
                )
            })
            .collect()
    }

    fn warnings(&self) -> Vec<Violation> {
        if self.required { Vec::new() } else { vec![Violation::new("required", "anyone on this machine may call")] }
    }
}

impl Validate for Sample {
    fn validate(&self) -> Vec<Violation> {
        Violation::under("auth", self.auth.validate()).collect()
    }

    fn warnings(&self) -> Vec<Violation> {
        Violation::under("auth", self.auth.warnings()).collect()
    }
}

/// A text that uses every section and has comments everywhere.
pub const TEXT: &str = r#"# Head of the file.
# Second line of the head.

[[listen]]
dialect = "aleph"     # ours
address = "127.0.0.1:1"

# the other dialect
[[listen]]
dialect = "comis"
address = "127.0.0.1:2"
backlog = 0x10

[auth]
required = true
# before the tokens
[[auth.token]]
id = "ci" # continuous
secret = { env = "CI_TOKEN" }
scopes = [
  "read", # to look
  # to change
  "write",
]

# Agents follow.
[agents.main]
# which model
model = 'openai/gpt' # after the model
max_turns = 1_000

[agents.side]
fallbacks = ["a/b"]

[providers.openai]
kind = "openai"
api_key = "sk-${NAME}-x"

# The end.
"#;

pub fn environment(pairs: &[(&str, &str)]) -> Environment {
    let always = [("CI_TOKEN", "ci-token-value"), ("NAME", "substituted")];
    always.into_iter().chain(pairs.iter().copied()).collect()
}

/// A home folder that holds `text` as its configuration.
pub struct Home {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
    pub file: PathBuf,
}

impl Home {
    pub fn empty() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Home { file: path.join("config.toml"), path, _folder: folder }
    }

    pub fn with(text: &str) -> Home {
        let home = Home::empty();
        home.write(text);
        home
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    pub fn layers(&self) -> Layers {
        self.layers_with(&[])
    }

    pub fn layers_with(&self, pairs: &[(&str, &str)]) -> Layers {
        Layers::new(&self.path, &self.file, environment(pairs))
    }
}

/// Layers whose file is never looked at.
pub fn layers_of_nothing() -> Layers {
    Layers::new(FilePath::new("/nonexistent"), FilePath::new("config.toml"), environment(&[]))
}
