//! The messages of a request: roles, parts, calls and their results.

use std::collections::VecDeque;

use model::{Content, NewMessage, Part, Role, ToolCall};
use serde_json::Value;

use crate::check::{Fields, Issues, expected, one_of};

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];
const PARTS: [&str; 5] = ["text", "image_url", "input_audio", "file", "refusal"];

/// A part that not every model can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartPlace {
    /// `messages.0.content.1`
    pub path: String,
    pub kind: PartKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartKind {
    ImageData,
    ImageUrl,
    Audio,
    File { mime_type: String },
}

/// Whether a message calls for an answer.
pub(crate) fn asks(message: &NewMessage) -> bool {
    match message.role {
        // A tool may have nothing to say.
        Role::Tool => true,
        Role::User => !message.content.is_empty(),
        Role::System | Role::Assistant => false,
    }
}

/// What is found while reading messages in order.
struct Reader<'i> {
    issues: &'i mut Issues,
    places: Vec<PartPlace>,
    /// Calls of the form before tools that wait for their result: (id, name).
    functions: VecDeque<(String, String)>,
}

pub(crate) fn read(fields: &Fields<'_>, issues: &mut Issues) -> (Vec<NewMessage>, Vec<PartPlace>) {
    if fields.get("messages").is_none() {
        issues.add("messages", expected("array", None));
    }
    let Some(items) = fields.array("messages", issues) else { return (Vec::new(), Vec::new()) };
    if items.is_empty() {
        issues.add("messages", "Too small: expected array to have >=1 items");
    }
    let mut reader = Reader { issues, places: Vec::new(), functions: VecDeque::new() };
    let messages = items.iter().enumerate().filter_map(|(index, item)| reader.message(item, index)).collect();
    (messages, reader.places)
}

impl Reader<'_> {
    fn message(&mut self, item: &Value, index: usize) -> Option<NewMessage> {
        let fields = Fields::new(item, format!("messages.{index}"), self.issues)?;
        let role = fields.get("role").and_then(Value::as_str).filter(|role| ROLES.contains(role));
        let Some(role) = role else {
            self.issues.add(fields.at("role"), one_of(&ROLES));
            return None;
        };
        fields.string("name", self.issues);
        match role {
            "system" | "developer" => {
                fields.only(&["role", "content", "name"], self.issues);
                Some(NewMessage::system(self.content(&fields, &["text"])?))
            }
            "user" => {
                fields.only(&["role", "content", "name"], self.issues);
                Some(NewMessage::user(self.content(&fields, &["text", "image_url", "input_audio", "file"])?))
            }
            "assistant" => self.assistant(&fields, index),
            "tool" => {
                fields.only(&["role", "content", "tool_call_id", "name"], self.issues);
                let id = fields.filled_string("tool_call_id", self.issues);
                let content = self.content(&fields, &["text"]);
                Some(NewMessage::tool_result(id?, content?))
            }
            _ => self.function(&fields),
        }
    }

    fn assistant(&mut self, fields: &Fields<'_>, index: usize) -> Option<NewMessage> {
        let known = [
            "role",
            "content",
            "name",
            "refusal",
            "audio",
            "tool_calls",
            "function_call",
            "annotations",
            "reasoning_content",
        ];
        fields.only(&known, self.issues);
        let mut calls = self.calls(fields);
        if let Some(call) = fields.object("function_call", self.issues) {
            let name = call.filled_string("name", self.issues);
            let arguments = call.required_string("arguments", self.issues);
            if let (Some(name), Some(arguments)) = (name, arguments) {
                let id = format!("call_function_{index}");
                self.functions.push_back((id.clone(), name.to_owned()));
                calls.push(ToolCall { id, name: name.to_owned(), arguments: arguments.to_owned() });
            }
        }
        let refusal = fields.string("refusal", self.issues);
        let content = match fields.get("content") {
            Some(_) => self.content(fields, &["text", "refusal"])?,
            None if !calls.is_empty() => Content::default(),
            None => match refusal {
                Some(refusal) => refusal.into(),
                None => {
                    self.issues.add(fields.at("content"), expected("string", None));
                    return None;
                }
            },
        };
        Some(NewMessage { tool_calls: calls, ..NewMessage::assistant(content) })
    }

    fn calls(&mut self, fields: &Fields<'_>) -> Vec<ToolCall> {
        let items = fields.array("tool_calls", self.issues).unwrap_or_default();
        let read = |(number, item): (usize, &Value)| {
            let call = Fields::new(item, format!("{}.{number}", fields.at("tool_calls")), self.issues)?;
            let id = call.filled_string("id", self.issues);
            call.choice("type", &["function"], self.issues);
            if call.get("function").is_none() {
                self.issues.add(call.at("function"), expected("object", None));
            }
            let function = call.object("function", self.issues)?;
            let name = function.filled_string("name", self.issues);
            let arguments = function.required_string("arguments", self.issues);
            Some(ToolCall { id: id?.to_owned(), name: name?.to_owned(), arguments: arguments?.to_owned() })
        };
        items.iter().enumerate().filter_map(read).collect()
    }

    /// A result in the form before tools, which names the function and not the call.
    fn function(&mut self, fields: &Fields<'_>) -> Option<NewMessage> {
        fields.only(&["role", "content", "name"], self.issues);
        let name = fields.filled_string("name", self.issues)?;
        let content = self.content(fields, &["text"])?;
        let Some(place) = self.functions.iter().position(|(_, called)| called == name) else {
            self.issues.add(fields.at("name"), format!("no earlier message calls the function {name:?}"));
            return None;
        };
        let (id, _) = self.functions.remove(place)?;
        Some(NewMessage::tool_result(id, content))
    }

    fn content(&mut self, fields: &Fields<'_>, allowed: &[&str]) -> Option<Content> {
        match fields.get("content") {
            Some(Value::String(text)) => Some(text.as_str().into()),
            Some(Value::Array(items)) => {
                let path = fields.at("content");
                if items.is_empty() {
                    self.issues.add(path.clone(), "Too small: expected array to have >=1 items");
                }
                let read = |(index, item)| self.part(item, format!("{path}.{index}"), allowed);
                let parts: Vec<Part> = items.iter().enumerate().filter_map(read).collect();
                Some(plain(parts))
            }
            other => {
                self.issues.add(fields.at("content"), expected("string", other));
                None
            }
        }
    }

    fn part(&mut self, item: &Value, path: String, allowed: &[&str]) -> Option<Part> {
        let fields = Fields::new(item, path, self.issues)?;
        let kind = fields.get("type").and_then(Value::as_str).filter(|kind| PARTS.contains(kind));
        let Some(kind) = kind.filter(|kind| allowed.contains(kind)) else {
            self.issues.add(fields.at("type"), one_of(allowed));
            return None;
        };
        match kind {
            "text" => Some(Part::Text { text: fields.required_string("text", self.issues)?.to_owned() }),
            "refusal" => Some(Part::Text { text: fields.required_string("refusal", self.issues)?.to_owned() }),
            "image_url" => self.image(&fields),
            "input_audio" => self.audio(&fields),
            _ => self.file(&fields),
        }
    }

    fn image(&mut self, fields: &Fields<'_>) -> Option<Part> {
        let image = self.inner(fields, "image_url")?;
        let url = image.filled_string("url", self.issues)?;
        image.choice("detail", &["auto", "low", "high", "original"], self.issues);
        if url.starts_with("http://") || url.starts_with("https://") {
            self.place(fields, PartKind::ImageUrl);
            return Some(Part::Image { mime_type: mime_of(url).to_owned(), data: None, url: Some(url.to_owned()) });
        }
        let Some((mime_type, data)) = data_url(url) else {
            self.issues.add(image.at("url"), "Invalid URL: expected http, https or a base64 data URL");
            return None;
        };
        self.place(fields, PartKind::ImageData);
        Some(Part::Image { mime_type, data: Some(data), url: None })
    }

    fn audio(&mut self, fields: &Fields<'_>) -> Option<Part> {
        let audio = self.inner(fields, "input_audio")?;
        let data = audio.filled_string("data", self.issues);
        if audio.get("format").is_none() {
            self.issues.add(audio.at("format"), one_of(&["wav", "mp3"]));
        }
        let format = audio.choice("format", &["wav", "mp3"], self.issues)?;
        let mime_type = if format == "wav" { "audio/wav" } else { "audio/mpeg" };
        self.place(fields, PartKind::Audio);
        Some(Part::Audio { mime_type: mime_type.to_owned(), data: data?.to_owned() })
    }

    fn file(&mut self, fields: &Fields<'_>) -> Option<Part> {
        let file = self.inner(fields, "file")?;
        if file.get("file_data").is_none() && file.get("file_id").is_some() {
            self.issues.add(file.at("file_id"), "uploaded files are not kept here; send `file_data`");
            return None;
        }
        let data = file.filled_string("file_data", self.issues)?;
        let name = file.string("filename", self.issues).unwrap_or("file");
        let (mime_type, data) = match data_url(data) {
            Some(known) => known,
            None if data.starts_with("data:") => {
                self.issues.add(file.at("file_data"), "Invalid URL: expected a base64 data URL");
                return None;
            }
            None => (mime_of(name).to_owned(), data.to_owned()),
        };
        self.place(fields, PartKind::File { mime_type: mime_type.clone() });
        Some(Part::File { name: name.to_owned(), mime_type, data })
    }

    fn inner<'v>(&mut self, fields: &Fields<'v>, key: &str) -> Option<Fields<'v>> {
        if fields.get(key).is_none() {
            self.issues.add(fields.at(key), expected("object", None));
        }
        fields.object(key, self.issues)
    }

    fn place(&mut self, fields: &Fields<'_>, kind: PartKind) {
        self.places.push(PartPlace { path: fields.path().to_owned(), kind });
    }
}

/// Parts that are all text are one text.
pub(crate) fn plain(parts: Vec<Part>) -> Content {
    let is_text = parts.iter().all(|part| matches!(part, Part::Text { .. }));
    let content = Content::from(parts);
    if is_text { content.text().into_owned().into() } else { content }
}

/// Type and base64 text of a `data:` URL.
pub(crate) fn data_url(url: &str) -> Option<(String, String)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime_type = head.strip_suffix(";base64")?.split(';').next()?;
    let is_base64 = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte));
    (mime_type.contains('/') && !data.is_empty() && is_base64)
        .then(|| (mime_type.to_ascii_lowercase(), data.to_owned()))
}

/// A type by the end of a name.
pub(crate) fn mime_of(name: &str) -> &'static str {
    let path = name.split(['?', '#']).next().unwrap_or_default();
    let end = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match end.as_str() {
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "txt" | "md" | "csv" | "log" => "text/plain",
        "json" => "application/json",
        "xml" => "application/xml",
        "html" | "htm" => "text/html",
        _ if name.starts_with("http") => "image/jpeg",
        _ => "application/octet-stream",
    }
}
