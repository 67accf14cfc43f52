//! Parts of messages in the forms that several vendors share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Content, NewMessage, Part, Role};

use crate::chat::ChatRequest;

/// `data:image/png;base64,…`
pub(crate) fn data_url(mime_type: &str, data: &str) -> String {
    format!("data:{mime_type};base64,{data}")
}

/// What stands in place of a part that a wire cannot carry. The model should know that something was
/// there, and a request should not fail over an old attachment.
pub(crate) fn left_out(part: &Part) -> String {
    match part {
        Part::Text { text } => text.clone(),
        Part::Image { mime_type, .. } => format!("[a picture ({mime_type}) that cannot be shown to this model]"),
        Part::Audio { mime_type, .. } => format!("[a sound ({mime_type}) that cannot be played to this model]"),
        Part::File { name, mime_type, .. } => {
            format!("[the file `{name}` ({mime_type}), which cannot be given to this model]")
        }
    }
}

/// The text of a file whose type says that it is text.
pub(crate) fn file_text(mime_type: &str, data: &str) -> Option<String> {
    let is_text = mime_type.starts_with("text/") || matches!(mime_type, "application/json" | "application/xml");
    if !is_text {
        return None;
    }
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}

/// The parts of a content; plain text is one part, empty text none.
pub(crate) fn parts(content: &Content) -> Vec<Part> {
    match content {
        Content::Text(text) if text.is_empty() => Vec::new(),
        Content::Text(text) => vec![Part::Text { text: text.to_string() }],
        Content::Parts(parts) => parts.to_vec(),
    }
}

/// The system text at the head of the request, and the conversation after it.
///
/// System messages further down stay in the conversation; a wire without them calls them the user's.
pub(crate) fn split_system(request: &ChatRequest) -> (Option<String>, &[NewMessage]) {
    let head = request.messages.iter().take_while(|message| message.role == Role::System).count();
    let (system, conversation) = request.messages.split_at(head);
    let texts: Vec<_> = system.iter().map(|message| message.content.text()).filter(|text| !text.is_empty()).collect();
    ((!texts.is_empty()).then(|| texts.join("\n\n")), conversation)
}

/// Arguments as an object: what a wire with real JSON in its calls wants. Text that is no object is
/// kept under `arguments`, so that the model sees its own mistake.
pub(crate) fn arguments_object(arguments: &str) -> serde_json::Value {
    if arguments.trim().is_empty() {
        return serde_json::json!({});
    }
    match serde_json::from_str(arguments) {
        Ok(serde_json::Value::Object(fields)) => fields.into(),
        Ok(_) | Err(_) => serde_json::json!({ "arguments": arguments }),
    }
}

/// Whether a tool message tells of a failure, as its writer marked it.
pub(crate) fn is_failed_result(message: &NewMessage) -> bool {
    message.metadata.get("is_error").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// A number as JSON writes it: `0.7`, where a plain widening would give 0.699999988079071.
pub(crate) fn decimal(number: f32) -> serde_json::Value {
    number.to_string().parse::<f64>().map_or(serde_json::Value::Null, Into::into)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_keep_their_decimals() {
        assert_eq!([decimal(0.7), decimal(1.0), decimal(f32::NAN)], [json!(0.7), json!(1.0), json!(null)]);
    }

    #[test]
    fn arguments_are_always_an_object() {
        assert_eq!(arguments_object(r#"{"a":1}"#), json!({"a": 1}));
        assert_eq!(arguments_object(" "), json!({}));
        assert_eq!(arguments_object("[1"), json!({"arguments": "[1"}));
    }

    #[test]
    fn only_the_head_is_system_text() {
        let messages =
            vec![NewMessage::system("a"), NewMessage::system("b"), NewMessage::user("c"), NewMessage::system("d")];
        let request = ChatRequest { messages, ..ChatRequest::default() };
        let (system, rest) = split_system(&request);
        assert_eq!((system.as_deref(), rest.len()), (Some("a\n\nb"), 2));
    }

    #[test]
    fn text_files_are_read() {
        assert_eq!(file_text("text/plain", "aGk="), Some("hi".into()));
        assert_eq!(file_text("application/pdf", "aGk="), None);
        assert_eq!(file_text("text/plain", "/w=="), None);
    }
}
