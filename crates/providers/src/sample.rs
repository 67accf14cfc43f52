//! A request with everything in it, for the tests of what adapters send.

use model::{Content, NewMessage, Part, Reasoning, Thinking, ToolCall};
use serde_json::{Value, json};

use crate::chat::{ChatRequest, ResponseFormat, Sampling, ToolSpec};

fn image() -> Part {
    Part::Image { mime_type: "image/png".into(), data: Some("aW1n".into()), url: None }
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
}

/// System text, a picture, two parallel calls after a thought with `blocks`, their results (one with
/// a picture, one failed), a reply, a file, a late system message.
pub(crate) fn conversation(blocks: Vec<Value>) -> Vec<NewMessage> {
    let user = Content::from(vec![Part::Text { text: "What is this?".into() }, image()]);
    let mut asks = NewMessage::assistant("Let me see.");
    asks.tool_calls = vec![call("c1", "look", r#"{"at":"it"}"#), call("c2", "clock", "")];
    asks.reasoning = Some(Reasoning { text: "Hm.".into(), blocks });
    let shot = Content::from(vec![Part::Text { text: "seen".into() }, image()]);
    let mut failed = NewMessage::tool_result("c2", "no clock here");
    failed.metadata.insert("is_error".into(), true.into());
    let files = Content::from(vec![
        Part::File { name: "a.txt".into(), mime_type: "text/plain".into(), data: "aGk=".into() },
        Part::File { name: "b.pdf".into(), mime_type: "application/pdf".into(), data: "cGRm".into() },
        Part::Audio { mime_type: "audio/wav".into(), data: "d2F2".into() },
    ]);
    vec![
        NewMessage::system("Be brief."),
        NewMessage::system("Be kind."),
        NewMessage::user(user),
        asks,
        NewMessage::tool_result("c1", shot),
        failed,
        NewMessage::assistant("A horse."),
        NewMessage::user(files),
        NewMessage::system("The user is in a hurry."),
    ]
}

pub(crate) fn request(model: &str, blocks: Vec<Value>) -> ChatRequest {
    let parameters = json!({"type": "object", "properties": {"at": {"type": "string"}}});
    ChatRequest {
        model: model.into(),
        messages: conversation(blocks),
        tools: vec![ToolSpec { name: "look".into(), description: "Looks.".into(), parameters: parameters.into() }],
        parallel_tool_calls: Some(false),
        thinking: Some(Thinking::High),
        sampling: Sampling {
            temperature: Some(0.7),
            top_p: Some(0.9),
            max_output_tokens: Some(20_000),
            stop: vec!["END".into()],
            seed: Some(7),
            presence_penalty: Some(0.1),
            frequency_penalty: Some(0.2),
        },
        response_format: Some(ResponseFormat::JsonSchema {
            name: "answer".into(),
            schema: json!({"type": "object"}),
            strict: true,
        }),
        extra: [("vendor_field".to_owned(), json!({"x": 1}))].into_iter().collect(),
        ..ChatRequest::default()
    }
}

/// The schema of the one tool.
pub(crate) fn parameters() -> Value {
    json!({"type": "object", "properties": {"at": {"type": "string"}}})
}
