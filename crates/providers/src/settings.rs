//! The `[providers.NAME]` sections of the configuration.
//!
//! Read [`ProviderSettings`] first. [`validate`] finds what types alone cannot refuse; it never asks
//! a vendor, so that a configuration is not refused because a model is not listed yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use model::Secret;
use reqwest::header::{HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Longest time limit that may be set: one hour.
pub const TIMEOUT_MS_MAX: u64 = 60 * 60 * 1000;

/// The wire that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// OpenAI chat completions, and everything compatible with it.
    Openai,
    /// OpenAI responses.
    OpenaiResponses,
    /// Anthropic messages.
    Anthropic,
    /// Google Gemini.
    Gemini,
    /// Ollama's own wire.
    Ollama,
    /// The model embedded in the gateway.
    Local,
}

impl ProviderKind {
    /// As written in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProviderKind::Openai => "openai",
            ProviderKind::OpenaiResponses => "openai-responses",
            ProviderKind::Anthropic => "anthropic",
            ProviderKind::Gemini => "gemini",
            ProviderKind::Ollama => "ollama",
            ProviderKind::Local => "local",
        }
    }

    /// Where the vendor is when `base_url` is not set; empty for `local`, which needs none.
    pub const fn default_base_url(self) -> &'static str {
        match self {
            ProviderKind::Openai | ProviderKind::OpenaiResponses => "https://api.openai.com/v1",
            ProviderKind::Anthropic => "https://api.anthropic.com",
            ProviderKind::Gemini => "https://generativelanguage.googleapis.com/v1beta",
            ProviderKind::Ollama => "http://127.0.0.1:11434",
            ProviderKind::Local => "",
        }
    }
}

/// One account at one vendor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// The wire it speaks. Most vendors offer `openai` at a base URL of their own.
    pub kind: ProviderKind,
    /// Where the API begins, without the name of a call: `https://openrouter.ai/api/v1`. By default the vendor's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The key, best as `{ env = "NAME" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// Further headers for every request; they take the place of ours of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// Models to offer beside those that the vendor lists, or facts about listed ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelSettings>,
    /// Whether to ask the vendor which models it has.
    #[serde(default = "yes")]
    pub discover: bool,
    /// `false` leaves the provider out without losing its section.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Longest time for a connection to come about, in milliseconds.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Longest wait for the first byte of an answer, in milliseconds.
    #[serde(default = "default_first_byte_timeout_ms")]
    pub first_byte_timeout_ms: u64,
    /// Longest silence inside an answer, in milliseconds.
    #[serde(default = "default_silence_timeout_ms")]
    pub silence_timeout_ms: u64,
}

const fn yes() -> bool {
    true
}

const fn default_connect_timeout_ms() -> u64 {
    10_000
}

const fn default_first_byte_timeout_ms() -> u64 {
    120_000
}

const fn default_silence_timeout_ms() -> u64 {
    90_000
}

impl ProviderSettings {
    /// The defaults of a kind.
    pub fn new(kind: ProviderKind) -> Self {
        Self {
            kind,
            base_url: None,
            api_key: None,
            headers: BTreeMap::new(),
            models: Vec::new(),
            discover: true,
            enabled: true,
            connect_timeout_ms: default_connect_timeout_ms(),
            first_byte_timeout_ms: default_first_byte_timeout_ms(),
            silence_timeout_ms: default_silence_timeout_ms(),
        }
    }

    /// The base URL in effect, without a slash at its end.
    pub fn effective_base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or(self.kind.default_base_url()).trim_end_matches('/')
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connect: Duration::from_millis(self.connect_timeout_ms),
            first_byte: Duration::from_millis(self.first_byte_timeout_ms),
            silence: Duration::from_millis(self.silence_timeout_ms),
        }
    }
}

/// How long to wait for a vendor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub connect: Duration,
    pub first_byte: Duration,
    pub silence: Duration,
}

/// A model of a provider: its id alone, or a table with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ModelSettings {
    /// The vendor's id.
    pub id: String,
    /// A name to show; the id by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tokens of input and output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u32>,
    /// Most tokens of one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Whether it sees pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<bool>,
    /// Whether it calls tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<bool>,
    /// Whether it can be asked to reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
    /// Whether it makes embeddings (and then does not chat).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<bool>,
}

/// A model of a provider, written out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ModelTable {
    /// The vendor's id.
    id: String,
    /// A name to show; the id by default.
    name: Option<String>,
    /// Tokens of input and output together.
    context_window: Option<u32>,
    /// Most tokens of one answer.
    max_output_tokens: Option<u32>,
    /// Whether it sees pictures.
    vision: Option<bool>,
    /// Whether it calls tools.
    tools: Option<bool>,
    /// Whether it can be asked to reason.
    thinking: Option<bool>,
    /// Whether it makes embeddings (and then does not chat).
    embeddings: Option<bool>,
}

impl From<&str> for ModelSettings {
    fn from(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }
}

impl From<ModelTable> for ModelSettings {
    fn from(table: ModelTable) -> Self {
        let ModelTable { id, name, context_window, max_output_tokens, vision, tools, thinking, embeddings } = table;
        Self { id, name, context_window, max_output_tokens, vision, tools, thinking, embeddings }
    }
}

impl<'de> Deserialize<'de> for ModelSettings {
    /// By hand, because an untagged enum would lose which key of a table is wrong.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdOrTable;

        impl<'de> Visitor<'de> for IdOrTable {
            type Value = ModelSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a model or a table with `id`")
            }

            fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<ModelSettings, E> {
                Ok(id.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ModelSettings, A::Error> {
                ModelTable::deserialize(MapAccessDeserializer::new(map)).map(ModelSettings::from)
            }
        }

        deserializer.deserialize_any(IdOrTable)
    }
}

impl JsonSchema for ModelSettings {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ModelSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = ModelTable::json_schema(generator);
        json_schema!({
            "description": "A model of a provider: its id alone, or a table with what is known of it.",
            "anyOf": [{ "type": "string", "minLength": 1 }, table]
        })
    }
}

/// What is wrong with the sections, as (key path such as `providers.openrouter.base_url`, message).
pub fn validate(providers: &BTreeMap<String, ProviderSettings>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (name, settings) in providers {
        if name.is_empty() || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
            problems
                .push((format!("providers.{name}"), format!("`{name}` cannot name a provider: no slash, no space")));
        }
        problems
            .extend(settings.validate().into_iter().map(|(key, message)| (format!("providers.{name}.{key}"), message)));
    }
    problems
}

impl ProviderSettings {
    /// What is wrong with this section, as (key path inside it, message). No message holds a secret.
    pub fn validate(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if let Some(url) = &self.base_url
            && let Err(message) = check_base_url(url)
        {
            problems.push(("base_url".to_owned(), message));
        }
        if let Some(key) = &self.api_key
            && (key.expose_secret().is_empty() || HeaderValue::from_str(key.expose_secret()).is_err())
        {
            problems.push((
                "api_key".to_owned(),
                "the key is empty or holds characters that no header may hold".to_owned(),
            ));
        }
        for (name, value) in &self.headers {
            if name.parse::<HeaderName>().is_err() {
                problems.push((format!("headers.{name}"), format!("`{name}` is not the name of a header")));
            } else if HeaderValue::from_str(value.expose_secret()).is_err() {
                problems
                    .push((format!("headers.{name}"), "the value holds characters that no header may hold".to_owned()));
            }
        }
        self.validate_models(&mut problems);
        for (key, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms),
            ("silence_timeout_ms", self.silence_timeout_ms),
        ] {
            if value == 0 || value > TIMEOUT_MS_MAX {
                problems.push((key.to_owned(), format!("{value} is not between 1 and {TIMEOUT_MS_MAX}")));
            }
        }
        problems
    }

    fn validate_models(&self, problems: &mut Vec<(String, String)>) {
        let mut seen = BTreeSet::new();
        for (index, model) in self.models.iter().enumerate() {
            let key = |field: &str| format!("models[{index}].{field}");
            if model.id.trim().is_empty() {
                problems.push((key("id"), "a model needs an id".to_owned()));
            } else if !seen.insert(&model.id) {
                problems.push((key("id"), format!("`{}` is listed twice", model.id)));
            }
            for (field, value) in
                [("context_window", model.context_window), ("max_output_tokens", model.max_output_tokens)]
            {
                if value == Some(0) {
                    problems.push((key(field), "0 tokens are too few".to_owned()));
                }
            }
        }
    }
}

fn check_base_url(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The text is left out of the message: it holds a password.
        return Err("a user name or password does not belong into the URL; take `api_key` or `headers`".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("`{text}` is not an http or https URL"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}` has a query or a fragment, which a base URL cannot have"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
