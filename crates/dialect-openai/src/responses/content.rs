//! The content of input items: text, or parts of several kinds.

use model::{Content, Part};
use serde_json::Value;

use crate::chat::messages::{PartKind, PartPlace, data_url, mime_of, plain};
use crate::check::{Fields, Issues, expected, one_of};

/// What users and systems can say.
pub(super) const INPUT: [&str; 3] = ["input_text", "input_image", "input_file"];
/// What models said before.
pub(super) const OUTPUT: [&str; 3] = ["output_text", "refusal", "input_text"];
/// What tools can say.
pub(super) const RESULT: [&str; 1] = ["input_text"];

/// Reads the content under `key`; places of parts that not every model can take go to `places`.
pub(super) fn read(
    fields: &Fields<'_>,
    key: &str,
    allowed: &[&str],
    places: &mut Vec<PartPlace>,
    issues: &mut Issues,
) -> Option<Content> {
    match fields.get(key) {
        Some(Value::String(text)) => Some(text.as_str().into()),
        Some(Value::Array(items)) => {
            let path = fields.at(key);
            let read = |(index, item)| part(item, format!("{path}.{index}"), allowed, places, issues);
            Some(plain(items.iter().enumerate().filter_map(read).collect()))
        }
        other => {
            issues.add(fields.at(key), expected("string", other));
            None
        }
    }
}

fn part(
    item: &Value,
    path: String,
    allowed: &[&str],
    places: &mut Vec<PartPlace>,
    issues: &mut Issues,
) -> Option<Part> {
    let fields = Fields::new(item, path, issues)?;
    let kind = fields.get("type").and_then(Value::as_str).filter(|kind| allowed.contains(kind));
    let Some(kind) = kind else {
        issues.add(fields.at("type"), one_of(allowed));
        return None;
    };
    let (part, kind) = match kind {
        "refusal" => return Some(Part::Text { text: fields.required_string("refusal", issues)?.to_owned() }),
        "input_image" => image(&fields, issues)?,
        "input_file" => file(&fields, issues)?,
        _ => return Some(Part::Text { text: fields.required_string("text", issues)?.to_owned() }),
    };
    places.push(PartPlace { path: fields.path().to_owned(), kind });
    Some(part)
}

fn image(fields: &Fields<'_>, issues: &mut Issues) -> Option<(Part, PartKind)> {
    fields.choice("detail", &["auto", "low", "high", "original"], issues);
    if fields.get("image_url").is_none() && fields.get("file_id").is_some() {
        issues.add(fields.at("file_id"), "uploaded files are not kept here; send `image_url`");
        return None;
    }
    let url = fields.filled_string("image_url", issues)?;
    if url.starts_with("http://") || url.starts_with("https://") {
        let part = Part::Image { mime_type: mime_of(url).to_owned(), data: None, url: Some(url.to_owned()) };
        return Some((part, PartKind::ImageUrl));
    }
    let Some((mime_type, data)) = data_url(url) else {
        issues.add(fields.at("image_url"), "Invalid URL: expected http, https or a base64 data URL");
        return None;
    };
    Some((Part::Image { mime_type, data: Some(data), url: None }, PartKind::ImageData))
}

fn file(fields: &Fields<'_>, issues: &mut Issues) -> Option<(Part, PartKind)> {
    for (key, why) in [("file_id", "uploaded files are not kept here"), ("file_url", "files are not fetched here")] {
        if fields.get("file_data").is_none() && fields.get(key).is_some() {
            issues.add(fields.at(key), format!("{why}; send `file_data`"));
            return None;
        }
    }
    let data = fields.filled_string("file_data", issues)?;
    let name = fields.string("filename", issues).unwrap_or("file");
    let (mime_type, data) = match data_url(data) {
        Some(known) => known,
        None if data.starts_with("data:") => {
            issues.add(fields.at("file_data"), "Invalid URL: expected a base64 data URL");
            return None;
        }
        None => (mime_of(name).to_owned(), data.to_owned()),
    };
    let kind = PartKind::File { mime_type: mime_type.clone() };
    Some((Part::File { name: name.to_owned(), mime_type, data }, kind))
}

/// Where parts of an earlier conversation stand, as far as a request can tell: in what it goes on from.
pub(super) fn places_of<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Vec<PartPlace> {
    let parts = contents.into_iter().filter_map(|content| match content {
        Content::Parts(parts) => Some(parts.iter()),
        Content::Text(_) => None,
    });
    let kinds = parts.flatten().filter_map(|part| match part {
        Part::Text { .. } => None,
        Part::Image { url: Some(_), .. } => Some(PartKind::ImageUrl),
        Part::Image { .. } => Some(PartKind::ImageData),
        Part::Audio { .. } => Some(PartKind::Audio),
        Part::File { mime_type, .. } => Some(PartKind::File { mime_type: mime_type.clone() }),
    });
    kinds.map(|kind| PartPlace { path: String::from("previous_response_id"), kind }).collect()
}
