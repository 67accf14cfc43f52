//! The request of a response, read and checked whole.

use std::sync::Arc;

use model::{NewMessage, Role};
use providers::Sampling;
use serde_json::{Map, Value, json};

use super::content::places_of;
use super::items::Reader;
use super::kept::Referred;
use super::object::{ReasoningSettings, ResponseObject, TextSettings};
use crate::chat::format::Format;
use crate::chat::head::Head;
use crate::chat::request::{self as chat, Request, StreamWish};
use crate::chat::tools::{self, Tools};
use crate::check::{Fields, Issues};
use crate::errors::ApiError;

/// Every field that the OpenAI API documents.
const KNOWN: [&str; 29] = [
    "model",
    "input",
    "instructions",
    "previous_response_id",
    "stream",
    "stream_options",
    "store",
    "temperature",
    "top_p",
    "max_output_tokens",
    "max_tool_calls",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "truncation",
    "top_logprobs",
    // Refused unless they ask for nothing.
    "background",
    "prompt",
    "conversation",
    // Without an effect here.
    "include",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "moderation",
];

/// What is asked for.
pub(super) struct Asked {
    /// In the form that agents and providers take.
    pub chat: Request,
    /// All that was said, the input last, without `instructions`.
    pub conversation: Vec<Arc<NewMessage>>,
    pub shows_reasoning: bool,
    echo: Echo,
}

/// What the answer repeats of the request.
struct Echo {
    instructions: Option<String>,
    previous_response_id: Option<String>,
    effort: Option<String>,
    summary: Option<String>,
    store: bool,
    temperature: Option<f64>,
    top_p: Option<f64>,
    format: Value,
    tool_choice: Value,
    tools: Vec<Value>,
    truncation: String,
    user: Option<String>,
    metadata: Map<String, Value>,
}

impl Asked {
    /// `referred` is what it refers to and its caller may have.
    pub fn read(body: &Value, referred: &Referred) -> Result<Self, ApiError> {
        let mut issues = Issues::default();
        let Some(fields) = Fields::new(body, "", &mut issues) else {
            issues.result()?;
            return Err(ApiError::bad_json());
        };
        let previous_response_id = fields.string("previous_response_id", &mut issues);
        let earlier = match previous_response_id {
            Some(id) => referred.response(id).ok_or_else(|| not_found(id))?.conversation.clone(),
            None => Vec::new(),
        };
        let mut reader =
            Reader { earlier: &earlier, referred, issues: &mut issues, messages: Vec::new(), places: Vec::new() };
        reader.input(&fields);
        let (input, mut parts) = (reader.messages, reader.places);
        parts.extend(places_of(earlier.iter().map(|message| &message.content)));
        let said: Vec<Arc<NewMessage>> = earlier.into_iter().chain(input.iter().cloned().map(Arc::new)).collect();
        let asked = Self::from_fields(&fields, said, parts, &mut issues);
        issues.result()?;
        let is_asking = |message: &&NewMessage| matches!(message.role, Role::User | Role::Tool);
        let last = input.iter().rfind(is_asking);
        if !last.is_some_and(|last| last.role == Role::Tool || !last.content.is_empty()) {
            return Err(ApiError::bad_request("No user message found in input"));
        }
        asked.ok_or_else(ApiError::bad_json)
    }

    fn from_fields(
        fields: &Fields<'_>,
        conversation: Vec<Arc<NewMessage>>,
        parts: Vec<crate::chat::messages::PartPlace>,
        issues: &mut Issues,
    ) -> Option<Self> {
        fields.only(&KNOWN, issues);
        let model = fields.filled_string("model", issues);
        let streams = fields.boolean("stream", issues).unwrap_or(false);
        let instructions = fields.string("instructions", issues);
        let Tools { tools, tool_choice, parallel_tool_calls, names_functions } = tools::read_flat(fields, issues);
        let text = fields.object("text", issues);
        let format = text.as_ref().and_then(|text| {
            text.only(&["format", "verbosity"], issues);
            text.choice("verbosity", &["low", "medium", "high"], issues);
            Format::read_flat(&text.object("format", issues)?, issues)
        });
        let reasoning = fields.object("reasoning", issues);
        let thinking = reasoning.as_ref().and_then(|reasoning| chat::thinking(reasoning, "effort", issues));
        let summary = reasoning.as_ref().and_then(|reasoning| summary(reasoning, issues));
        let sampling = sampling(fields, issues);
        check_others(fields, issues);
        let echo = Echo {
            instructions: instructions.map(str::to_owned),
            previous_response_id: text_of(fields, "previous_response_id"),
            effort: reasoning.as_ref().and_then(|reasoning| text_of(reasoning, "effort")),
            summary,
            store: fields.boolean("store", issues).unwrap_or(true),
            temperature: fields.get("temperature").and_then(Value::as_f64),
            top_p: fields.get("top_p").and_then(Value::as_f64),
            format: text.and_then(|text| text.get("format").cloned()).unwrap_or_else(|| json!({ "type": "text" })),
            tool_choice: fields.get("tool_choice").cloned().unwrap_or_else(|| "auto".into()),
            tools: fields.get("tools").and_then(Value::as_array).cloned().unwrap_or_default(),
            truncation: fields.choice("truncation", &["auto", "disabled"], issues).unwrap_or("disabled").to_owned(),
            user: fields.string("user", issues).map(str::to_owned),
            metadata: fields.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default(),
        };
        let said = conversation.iter().map(|message| (**message).clone());
        let chat = Request {
            model: model?.to_owned(),
            messages: instructions.map(NewMessage::system).into_iter().chain(said).collect(),
            parts,
            stream: streams.then_some(StreamWish { usage: true, null_usage: false }),
            choices: 1,
            sampling,
            thinking,
            tools,
            tool_choice,
            parallel_tool_calls,
            names_functions,
            format,
        };
        Some(Self { chat, conversation, shows_reasoning: echo.summary.is_some(), echo })
    }

    /// The response as it begins.
    pub fn object(&self, head: &Head) -> ResponseObject {
        let echo = &self.echo;
        ResponseObject {
            id: head.id.clone(),
            object: "response",
            created_at: head.created,
            status: "in_progress",
            error: None,
            incomplete_details: None,
            instructions: echo.instructions.clone(),
            max_output_tokens: self.chat.sampling.max_output_tokens,
            model: head.model.clone(),
            output: Vec::new(),
            parallel_tool_calls: self.chat.parallel_tool_calls.unwrap_or(true),
            previous_response_id: echo.previous_response_id.clone(),
            reasoning: ReasoningSettings { effort: echo.effort.clone(), summary: echo.summary.clone() },
            store: echo.store,
            temperature: echo.temperature,
            text: TextSettings { format: echo.format.clone() },
            tool_choice: echo.tool_choice.clone(),
            tools: echo.tools.clone(),
            top_p: echo.top_p,
            truncation: echo.truncation.clone(),
            usage: None,
            user: echo.user.clone(),
            metadata: echo.metadata.clone(),
        }
    }
}

fn not_found(id: &str) -> ApiError {
    let error = ApiError::bad_request(format!("Previous response with id '{id}' not found."));
    ApiError { code: Some("previous_response_not_found"), ..error.with_param("previous_response_id") }
}

fn text_of(fields: &Fields<'_>, key: &str) -> Option<String> {
    fields.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// How the thoughts shall be told; `generate_summary` is its older name.
fn summary(reasoning: &Fields<'_>, issues: &mut Issues) -> Option<String> {
    reasoning.only(&["effort", "summary", "generate_summary"], issues);
    let words = ["auto", "concise", "detailed"];
    let [new, old] = ["summary", "generate_summary"].map(|key| reasoning.choice(key, &words, issues));
    new.or(old).map(str::to_owned)
}

#[allow(clippy::cast_possible_truncation, reason = "sampling values need no more digits")]
fn sampling(fields: &Fields<'_>, issues: &mut Issues) -> Sampling {
    let max_output_tokens = fields.integer("max_output_tokens", 1, i64::from(u32::MAX), issues);
    Sampling {
        temperature: fields.number("temperature", 0.0, 2.0, issues).map(|value| value as f32),
        top_p: fields.number("top_p", 0.0, 1.0, issues).map(|value| value as f32),
        max_output_tokens: max_output_tokens.and_then(|tokens| u32::try_from(tokens).ok()),
        ..Sampling::default()
    }
}

/// Fields that nothing behind these answers has a use for, but whose form is documented.
fn check_others(fields: &Fields<'_>, issues: &mut Issues) {
    if fields.boolean("background", issues) == Some(true) {
        issues.add("background", "nothing is answered in the background here; use `stream`");
    }
    for (key, why) in [
        ("prompt", "no prompts are kept here; send `instructions`"),
        ("conversation", "no conversations are kept here; use `previous_response_id`"),
    ] {
        if fields.get(key).is_some() {
            issues.add(key, why);
        }
    }
    if fields.integer("top_logprobs", 0, 20, issues).is_some_and(|count| count > 0) {
        issues.add("top_logprobs", "this model gives no log probabilities");
    }
    for (index, item) in fields.array("include", issues).unwrap_or_default().iter().enumerate() {
        match item.as_str() {
            None => issues.add(format!("include.{index}"), crate::check::expected("string", Some(item))),
            Some("message.output_text.logprobs") => {
                issues.add(format!("include.{index}"), "this model gives no log probabilities");
            }
            Some(_) => {}
        }
    }
    if let Some(options) = fields.object("stream_options", issues) {
        options.boolean("include_obfuscation", issues);
        options.only(&["include_obfuscation"], issues);
    }
    fields.integer("max_tool_calls", 1, i64::from(u32::MAX), issues);
    fields.object("metadata", issues);
    for key in ["service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"] {
        fields.string(key, issues);
    }
}
