//! The request of a chat completion, read and checked whole.
//!
//! Used where the answer is made here: for agents, and for providers of another wire.

use model::{NewMessage, Thinking};
use providers::{Sampling, ToolChoice, ToolSpec};
use serde_json::Value;

use super::format::Format;
use super::messages::{self, PartPlace};
use super::tools::{self, Tools};
use crate::check::{Fields, Issues};
use crate::errors::ApiError;

/// Most answers to one request.
const CHOICES_MAX: i64 = 8;

/// Every field that the OpenAI API documents.
const KNOWN: [&str; 36] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "stop",
    "n",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "audio",
    "prediction",
    "service_tier",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "web_search_options",
    // Without an effect here.
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "metadata",
    "store",
    "moderation",
];

#[derive(Debug)]
pub(crate) struct Request {
    /// As the client calls it.
    pub model: String,
    /// System text and conversation in order.
    pub messages: Vec<NewMessage>,
    /// Where parts stand that not every model can take.
    pub parts: Vec<PartPlace>,
    pub stream: Option<StreamWish>,
    pub choices: u32,
    pub sampling: Sampling,
    pub thinking: Option<Thinking>,
    pub tools: Vec<ToolSpec>,
    pub tool_choice: ToolChoice,
    pub parallel_tool_calls: Option<bool>,
    /// Calls are told in the form before tools: `function_call`.
    pub names_functions: bool,
    pub format: Option<Format>,
}

/// How a stream tells its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamWish {
    /// A chunk of usage at the end.
    pub usage: bool,
    /// Earlier chunks say that they have none.
    pub null_usage: bool,
}

impl Request {
    pub fn read(body: &Value) -> Result<Self, ApiError> {
        let mut issues = Issues::default();
        let request = Fields::new(body, "", &mut issues).and_then(|fields| Self::from_fields(&fields, &mut issues));
        issues.result()?;
        let request = request.ok_or_else(ApiError::bad_json)?;
        if !request.messages.iter().any(messages::asks) {
            return Err(ApiError::bad_request("No user message found in messages array"));
        }
        Ok(request)
    }

    fn from_fields(fields: &Fields<'_>, issues: &mut Issues) -> Option<Self> {
        let model = fields.filled_string("model", issues);
        let (messages, parts) = messages::read(fields, issues);
        let stream = stream(fields, issues);
        let choices = fields.integer("n", 1, CHOICES_MAX, issues).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        let sampling = sampling(fields, issues);
        let thinking = thinking(fields, "reasoning_effort", issues);
        let Tools { tools, tool_choice, parallel_tool_calls, names_functions } = tools::read(fields, issues);
        let format = fields.object("response_format", issues).and_then(|format| Format::read(&format, issues));
        check_others(fields, issues);
        fields.only(&KNOWN, issues);
        let (model, choices) = (model?.to_owned(), choices);
        Some(Self {
            model,
            messages,
            parts,
            stream,
            choices,
            sampling,
            thinking,
            tools,
            tool_choice,
            parallel_tool_calls,
            names_functions,
            format,
        })
    }
}

fn stream(fields: &Fields<'_>, issues: &mut Issues) -> Option<StreamWish> {
    let options = fields.object("stream_options", issues);
    let include = options.as_ref().and_then(|options| options.boolean("include_usage", issues));
    if let Some(options) = options {
        options.boolean("include_obfuscation", issues);
        options.only(&["include_usage", "include_obfuscation"], issues);
    }
    let streams = fields.boolean("stream", issues).unwrap_or(false);
    streams.then_some(StreamWish { usage: include.unwrap_or(true), null_usage: include == Some(true) })
}

#[allow(clippy::cast_possible_truncation, reason = "sampling values need no more digits")]
fn sampling(fields: &Fields<'_>, issues: &mut Issues) -> Sampling {
    let temperature = fields.number("temperature", 0.0, 2.0, issues).map(|value| value as f32);
    let max_tokens = fields.integer("max_tokens", 1, i64::from(u32::MAX), issues);
    let max_completion_tokens = fields.integer("max_completion_tokens", 1, i64::from(u32::MAX), issues);
    Sampling {
        temperature,
        top_p: fields.number("top_p", 0.0, 1.0, issues).map(|value| value as f32),
        max_output_tokens: max_completion_tokens.or(max_tokens).and_then(|tokens| u32::try_from(tokens).ok()),
        stop: stop(fields, issues),
        seed: fields.integer("seed", i64::MIN, i64::MAX, issues),
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0, issues).map(|value| value as f32),
        frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0, issues).map(|value| value as f32),
    }
}

fn stop(fields: &Fields<'_>, issues: &mut Issues) -> Vec<String> {
    let wrong = "Invalid input: expected string or array of 1 to 4 strings";
    match fields.get("stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if (1..=4).contains(&items.len()) && items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(_) => {
            issues.add(fields.at("stop"), wrong);
            Vec::new()
        }
    }
}

/// How hard a model shall think, under `key`.
pub(crate) fn thinking(fields: &Fields<'_>, key: &str, issues: &mut Issues) -> Option<Thinking> {
    let words = ["none", "minimal", "low", "medium", "high", "xhigh"];
    let word = fields.choice(key, &words, issues)?;
    Some(match word {
        "none" => Thinking::Off,
        "minimal" => Thinking::Minimal,
        "low" => Thinking::Low,
        "medium" => Thinking::Medium,
        "high" => Thinking::High,
        _ => Thinking::Xhigh,
    })
}

/// Fields that no model behind these answers has a use for, but whose form is documented.
fn check_others(fields: &Fields<'_>, issues: &mut Issues) {
    let wants_logprobs = fields.boolean("logprobs", issues).unwrap_or(false);
    if wants_logprobs {
        issues.add("logprobs", "this model gives no log probabilities");
    }
    if fields.integer("top_logprobs", 0, 20, issues).is_some() && !wants_logprobs {
        issues.add("top_logprobs", "needs `logprobs` to be true");
    }
    fields.object("logit_bias", issues);
    fields.choice("verbosity", &["low", "medium", "high"], issues);
    if let Some(modalities) = fields.array("modalities", issues) {
        for (index, modality) in modalities.iter().enumerate() {
            if modality.as_str() != Some("text") {
                issues.add(format!("modalities.{index}"), "this model answers with text only");
            }
        }
    }
    fields.object("prediction", issues);
    fields.object("metadata", issues);
    fields.boolean("store", issues);
    for key in ["service_tier", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"] {
        fields.string(key, issues);
    }
}

#[cfg(test)]
mod tests;
