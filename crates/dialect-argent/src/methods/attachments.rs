//! Files sent along with a message.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::{Content, OpError, Part};
use schemars::JsonSchema;
use serde::Deserialize;

/// Decoded bytes of one picture.
pub const IMAGE_BYTES_MAX: usize = 19_464_192;
/// Decoded bytes of one other file.
const FILE_BYTES_MAX: usize = 5_000_000;
/// Characters of one text file, and of all of them, that become part of the message.
const TEXT_CHARS_MAX: usize = 20_000;
const TEXTS_CHARS_MAX: usize = 80_000;
/// Files of one message.
const FILES_MAX: usize = 64;

/// Endings of files that are text whatever their type says.
const TEXT_ENDINGS: [&str; 24] = [
    "c", "cfg", "conf", "cpp", "css", "csv", "go", "h", "html", "ini", "java", "js", "json", "log", "md", "py", "rb",
    "rs", "sh", "toml", "ts", "txt", "xml", "yaml",
];

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// `image` or `file`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    #[serde(default)]
    pub mime_type: Option<String>,
    #[serde(default)]
    pub file_name: Option<String>,
    /// Base64, a data URL, or the text of a text file.
    pub content: String,
}

/// A message with its files.
pub struct Composed {
    pub content: Content,
    pub has_files: bool,
}

/// Puts a message and its files together: pictures as parts, text files below the text, others as
/// parts for models that read them. A picture that is none is left out with a line in the log.
pub fn compose(message: &str, attachments: &[Attachment]) -> Result<Composed, OpError> {
    if attachments.len() > FILES_MAX {
        return Err(OpError::invalid("attachments", format!("must NOT have more than {FILES_MAX} items")));
    }
    let mut text = message.to_owned();
    let mut parts = Vec::new();
    let mut left = TEXTS_CHARS_MAX;
    for (index, attachment) in attachments.iter().enumerate() {
        let file = File::new(index, attachment);
        if file.is_image() {
            parts.extend(file.image()?);
        } else if file.is_text() {
            file.append_to(&mut text, &mut left);
        } else {
            parts.push(file.binary()?);
        }
    }
    let has_files = !attachments.is_empty();
    if parts.is_empty() {
        return Ok(Composed { content: text.into(), has_files });
    }
    if !text.is_empty() {
        parts.insert(0, Part::Text { text });
    }
    Ok(Composed { content: parts.into(), has_files })
}

struct File<'a> {
    label: String,
    name: Option<&'a str>,
    mime: String,
    declared_image: bool,
    body: &'a str,
}

impl<'a> File<'a> {
    fn new(index: usize, attachment: &'a Attachment) -> Self {
        let name = attachment.file_name.as_deref().filter(|name| !name.is_empty());
        let mut mime = attachment.mime_type.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
        let mut body = attachment.content.trim();
        if let Some((head, data)) = body.strip_prefix("data:").and_then(|url| url.split_once(',')) {
            let declared = head.split(';').next().unwrap_or_default();
            if mime.is_empty() {
                mime = declared.to_ascii_lowercase();
            }
            body = data;
        }
        let label = name.map_or_else(|| format!("attachment-{}", index + 1), str::to_owned);
        let declared_image =
            mime.starts_with("image/") || (mime.is_empty() && attachment.kind.as_deref() == Some("image"));
        Self { label, name, mime, declared_image, body }
    }

    fn is_image(&self) -> bool {
        self.declared_image
    }

    fn is_text(&self) -> bool {
        let ending = self.name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
        self.mime.starts_with("text/")
            || ["json", "xml", "yaml", "javascript", "toml"].iter().any(|word| self.mime.ends_with(word))
            || (self.mime.is_empty() || self.mime == "application/octet-stream")
                && ending.is_some_and(|ending| TEXT_ENDINGS.contains(&ending.as_str()))
    }

    fn bytes(&self) -> Result<Vec<u8>, OpError> {
        let compact: String = self.body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let decoded = STANDARD.decode(&compact).or_else(|_| URL_SAFE_NO_PAD.decode(compact.trim_end_matches('=')));
        decoded.map_err(|_| OpError::conflict(format!("attachment {}: invalid base64 content", self.label)))
    }

    fn image(&self) -> Result<Option<Part>, OpError> {
        let bytes = self.bytes()?;
        self.check_size(bytes.len(), IMAGE_BYTES_MAX)?;
        let Some(mime_type) = sniff(&bytes) else {
            tracing::warn!(declared = %self.mime, "an attachment that was said to be a picture is none and was left out");
            return Ok(None);
        };
        Ok(Some(Part::Image { mime_type: mime_type.to_owned(), data: Some(STANDARD.encode(bytes)), url: None }))
    }

    fn binary(&self) -> Result<Part, OpError> {
        let bytes = self.bytes()?;
        self.check_size(bytes.len(), FILE_BYTES_MAX)?;
        if let Some(mime_type) = sniff(&bytes) {
            return Ok(Part::Image { mime_type: mime_type.to_owned(), data: Some(STANDARD.encode(bytes)), url: None });
        }
        let data = STANDARD.encode(bytes);
        if self.mime.starts_with("audio/") {
            return Ok(Part::Audio { mime_type: self.mime.clone(), data });
        }
        let mime_type = if self.mime.is_empty() { String::from("application/octet-stream") } else { self.mime.clone() };
        Ok(Part::File { name: self.label.clone(), mime_type, data })
    }

    fn check_size(&self, size: usize, max: usize) -> Result<(), OpError> {
        match size {
            0 => Err(OpError::conflict(format!("attachment {}: empty content", self.label))),
            size if size > max => {
                Err(OpError::conflict(format!("attachment {}: exceeds size limit ({size} > {max} bytes)", self.label)))
            }
            _ => Ok(()),
        }
    }

    /// Base64 of text is decoded; anything else is taken as the text itself.
    fn append_to(&self, text: &mut String, left: &mut usize) {
        let decoded = self.bytes().ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let is_printable =
            |text: &String| !text.is_empty() && !text.chars().any(|c| c.is_control() && !c.is_whitespace());
        let body = decoded.filter(is_printable).unwrap_or_else(|| self.body.to_owned());
        let chars = body.chars().count();
        let kept: String = body.chars().take(TEXT_CHARS_MAX.min(*left)).collect();
        let kept_chars = kept.chars().count();
        *left -= kept_chars;
        if !text.contains(HEADING) {
            text.push_str(if text.is_empty() { "" } else { "\n\n" });
            text.push_str(HEADING);
        }
        text.push_str(&format!("\n\n{}\n{kept}", self.label));
        if kept_chars < chars {
            text.push_str(&format!("\n[...truncated {} chars]", chars - kept_chars));
        }
    }
}

const HEADING: &str = "Attached file context:";

/// The type of a picture by its first bytes.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', b'i', b'c', ..] => Some("image/heic"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(mime: &str, name: &str, content: &str) -> Attachment {
        Attachment { kind: None, mime_type: Some(mime.into()), file_name: Some(name.into()), content: content.into() }
    }

    fn composed(attachments: &[Attachment]) -> Content {
        compose("look", attachments).unwrap().content
    }

    #[test]
    fn text_files_go_below_the_text_encoded_or_not() {
        let expected = Content::Text("look\n\nAttached file context:\n\na.md\nHigh water".into());
        assert_eq!(composed(&[attachment("text/markdown", "a.md", "High water")]), expected);
        assert_eq!(composed(&[attachment("", "a.md", &STANDARD.encode("High water"))]), expected);
        assert_eq!(composed(&[attachment("", "a.md", "data:text/markdown;base64,SGlnaCB3YXRlcg==")]), expected);
    }

    #[test]
    fn long_texts_are_clipped_and_say_so() {
        let Content::Text(text) = composed(&[attachment("text/plain", "a.txt", &"x y ".repeat(6000))]) else {
            panic!("text")
        };
        assert!(
            text.ends_with("[...truncated 3999 chars]") || text.ends_with("[...truncated 4000 chars]"),
            "{}",
            &text[text.len() - 40..]
        );
    }

    #[test]
    fn pictures_are_known_by_their_bytes_and_false_ones_left_out() {
        let png = [0x89, b'P', b'N', b'G', 1];
        let part = Part::Image { mime_type: "image/png".into(), data: Some(STANDARD.encode(png)), url: None };
        let both = vec![Part::Text { text: "look".into() }, part];
        assert_eq!(composed(&[attachment("image/jpeg", "a.jpg", &STANDARD.encode(png))]), Content::from(both));
        assert_eq!(
            composed(&[attachment("image/png", "a.png", &STANDARD.encode("no picture"))]),
            Content::Text("look".into())
        );
    }

    #[test]
    fn what_is_no_base64_is_refused_by_name() {
        let error = compose("x", &[attachment("application/pdf", "a.pdf", "%%%")]).err().unwrap();
        assert_eq!(error.message, "attachment a.pdf: invalid base64 content");
        let error = compose("x", &[attachment("image/png", "a.png", "")]).err().unwrap();
        assert_eq!(error.message, "attachment a.png: empty content");
    }
}
