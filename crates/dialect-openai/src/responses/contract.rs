//! The published shape of a request; it is read field by field in `request` and `items`.
#![allow(dead_code, reason = "only its schema is used")]

use schemars::JsonSchema;
use serde_json::{Map, Value};

/// Input to be answered.
#[derive(JsonSchema)]
pub(super) struct ResponseRequest {
    /// `agent/<id>`, `<provider>/<model>`, or an agent's id.
    #[schemars(length(min = 1))]
    model: String,
    /// What a user says, or items of a conversation in order.
    input: Input,
    /// System text for this answer alone.
    instructions: Option<String>,
    /// Go on from a response of the same token that is still kept.
    previous_response_id: Option<String>,
    stream: Option<bool>,
    stream_options: Option<StreamSettings>,
    /// False keeps nothing of the answer; true when absent.
    store: Option<bool>,
    #[schemars(range(min = 0, max = 2))]
    temperature: Option<f32>,
    #[schemars(range(min = 0, max = 1))]
    top_p: Option<f32>,
    #[schemars(range(min = 1))]
    max_output_tokens: Option<u32>,
    /// Without an effect.
    #[schemars(range(min = 1))]
    max_tool_calls: Option<u32>,
    /// Tools that the client runs itself. An agent has its own beside them, whose names they must not have.
    tools: Option<Vec<FunctionTool>>,
    /// `none`, `auto`, `required`, or a named function.
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    text: Option<TextForm>,
    reasoning: Option<ReasoningWish>,
    /// `auto` or `disabled`; without an effect.
    truncation: Option<String>,
    include: Option<Vec<String>>,
    metadata: Option<Map<String, Value>>,
    user: Option<String>,
    safety_identifier: Option<String>,
    prompt_cache_key: Option<String>,
    service_tier: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Input {
    Text(String),
    Items(Vec<InputItem>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum InputItem {
    Message(InputMessage),
    Item(TypedItem),
}

/// The type `message` may be left out.
#[derive(JsonSchema)]
struct InputMessage {
    role: InputRole,
    content: InputContent,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum InputRole {
    User,
    Assistant,
    System,
    Developer,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum InputContent {
    Text(String),
    Parts(Vec<InputPart>),
}

#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
enum InputPart {
    InputText {
        text: String,
    },
    InputImage {
        /// http, https, or a base64 data URL.
        image_url: String,
        detail: Option<String>,
    },
    InputFile {
        filename: Option<String>,
        /// Base64, or a base64 data URL.
        file_data: String,
    },
    OutputText {
        text: String,
    },
    Refusal {
        refusal: String,
    },
}

#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
enum TypedItem {
    /// A call of an earlier answer.
    FunctionCall { call_id: String, name: String, arguments: String },
    /// What the client's tool gave for a call.
    FunctionCallOutput { call_id: String, output: InputContent },
    /// Read over.
    Reasoning { id: Option<String> },
    /// An item of a response that is kept.
    ItemReference { id: String },
}

#[derive(JsonSchema)]
struct StreamSettings {
    /// Without an effect.
    include_obfuscation: Option<bool>,
}

#[derive(JsonSchema)]
struct FunctionTool {
    /// `function`
    r#type: String,
    name: String,
    description: Option<String>,
    /// JSON Schema of the arguments.
    parameters: Option<Map<String, Value>>,
    strict: Option<bool>,
}

#[derive(JsonSchema)]
struct TextForm {
    format: Option<OutputForm>,
    verbosity: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
enum OutputForm {
    Text,
    JsonObject,
    JsonSchema { name: String, description: Option<String>, schema: Option<Map<String, Value>>, strict: Option<bool> },
}

#[derive(JsonSchema)]
struct ReasoningWish {
    effort: Option<String>,
    /// `auto`, `concise` or `detailed`: what the model thinks becomes an item of the output.
    summary: Option<String>,
}
