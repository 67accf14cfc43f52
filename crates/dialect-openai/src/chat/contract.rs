//! The published shape of a request; it is read field by field in `request`.
#![allow(dead_code, reason = "only its schema is used")]

use schemars::JsonSchema;
use serde_json::{Map, Value};

/// A conversation to be answered.
#[derive(JsonSchema)]
pub(super) struct ChatCompletionRequest {
    /// `agent/<id>`, `<provider>/<model>`, or an agent's id.
    #[schemars(length(min = 1))]
    model: String,
    #[schemars(length(min = 1))]
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[schemars(range(min = 0, max = 2))]
    temperature: Option<f32>,
    #[schemars(range(min = 0, max = 1))]
    top_p: Option<f32>,
    /// Older name of `max_completion_tokens`, which wins over it.
    #[schemars(range(min = 1))]
    max_tokens: Option<u32>,
    #[schemars(range(min = 1))]
    max_completion_tokens: Option<u32>,
    /// A string, or 1 to 4 strings.
    stop: Option<Stop>,
    /// Answers to the one conversation.
    #[schemars(range(min = 1, max = 8))]
    n: Option<u32>,
    seed: Option<i64>,
    #[schemars(range(min = -2, max = 2))]
    presence_penalty: Option<f32>,
    #[schemars(range(min = -2, max = 2))]
    frequency_penalty: Option<f32>,
    logit_bias: Option<Map<String, Value>>,
    /// Refused where the model gives none.
    logprobs: Option<bool>,
    #[schemars(range(min = 0, max = 20))]
    top_logprobs: Option<u32>,
    reasoning_effort: Option<Effort>,
    verbosity: Option<String>,
    modalities: Option<Vec<String>>,
    prediction: Option<Map<String, Value>>,
    service_tier: Option<String>,
    /// Tools that the client runs itself. An agent has its own beside them, whose names they must not have.
    tools: Option<Vec<Tool>>,
    /// `none`, `auto`, `required`, or a named function.
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    /// The form before `tools`.
    functions: Option<Vec<Function>>,
    /// The form before `tool_choice`.
    function_call: Option<Value>,
    response_format: Option<ResponseForm>,
    user: Option<String>,
    safety_identifier: Option<String>,
    prompt_cache_key: Option<String>,
    metadata: Option<Map<String, Value>>,
    store: Option<bool>,
}

#[derive(JsonSchema)]
struct Message {
    role: MessageRole,
    /// Text, or parts; may be absent beside calls.
    content: Option<MessageContent>,
    name: Option<String>,
    /// Of an assistant's message.
    tool_calls: Option<Vec<Value>>,
    /// Of a tool's message.
    tool_call_id: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum MessageRole {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum MessageContent {
    Text(String),
    Parts(Vec<MessagePart>),
}

#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
enum MessagePart {
    Text { text: String },
    ImageUrl { image_url: Value },
    InputAudio { input_audio: Value },
    File { file: Value },
    Refusal { refusal: String },
}

#[derive(JsonSchema)]
struct StreamOptions {
    /// False leaves out the last chunk, which tells the usage.
    include_usage: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
}

#[derive(JsonSchema)]
struct Tool {
    /// `function`
    r#type: String,
    function: Function,
}

#[derive(JsonSchema)]
struct Function {
    name: String,
    description: Option<String>,
    /// JSON Schema of the arguments.
    parameters: Option<Map<String, Value>>,
    strict: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
enum ResponseForm {
    Text,
    JsonObject,
    JsonSchema { json_schema: NamedSchema },
}

#[derive(JsonSchema)]
struct NamedSchema {
    name: String,
    description: Option<String>,
    schema: Option<Map<String, Value>>,
    strict: Option<bool>,
}
