//! Paths as models write them, checked before any of them meets the disk.

use std::fmt;

use crate::tool::ToolError;

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// Longest name of a file or folder, in bytes; what Linux file systems allow.
pub const NAME_BYTES_MAX: usize = 255;
/// Most names in one path.
pub const DEPTH_MAX: usize = 32;

/// A path below the workspace as a list of plain names: no `..`, no separators, nothing absolute.
/// Empty = the workspace itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InsidePath {
    names: Vec<String>,
}

impl InsidePath {
    /// Accepts names joined by `/`; `.` and doubled slashes are passed over.
    pub fn parse(text: &str) -> Result<Self, ToolError> {
        let shown = shown(text);
        let refuse = |reason: &str| Err(ToolError::Refused(format!("the path `{shown}` is refused: {reason}")));
        if text.len() > PATH_BYTES_MAX {
            return refuse("it is longer than 1024 bytes");
        }
        if text.chars().any(|c| c.is_control() || is_bidi_control(c)) {
            return refuse("it has control characters");
        }
        if text.starts_with('/') {
            return refuse("give a path relative to the workspace, without a leading `/`");
        }
        if text.contains('\\') {
            return refuse("put `/` between folders, not `\\`");
        }
        let names: Vec<String> =
            text.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect();
        if names.first().is_some_and(|name| name == "~") {
            return refuse("`~` is not in the workspace");
        }
        if names.iter().any(|name| name == "..") {
            return refuse("`..` is not allowed");
        }
        if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return refuse("one of its names is longer than 255 bytes");
        }
        if names.len() > DEPTH_MAX {
            return refuse("it is deeper than 32 folders");
        }
        Ok(Self { names })
    }

    /// As [`InsidePath::parse`], for the path of a file: it must have a name and no `/` at its end.
    pub fn parse_file(text: &str) -> Result<Self, ToolError> {
        let path = Self::parse(text)?;
        if path.names.is_empty() || text.ends_with('/') || text.ends_with("/.") {
            return Err(ToolError::Refused(format!("the path `{}` names a folder, not a file", shown(text))));
        }
        Ok(path)
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The folders on the way and the last name; `None` for the workspace itself.
    pub fn split_last(&self) -> Option<(&str, &[String])> {
        self.names.split_last().map(|(name, folders)| (name.as_str(), folders))
    }
}

impl fmt::Display for InsidePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() { f.write_str(".") } else { f.write_str(&self.names.join("/")) }
    }
}

/// Characters that turn the direction of the text around: a name with them reads as another one.
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Fit for a message: short, on one line, without control characters.
pub fn shown(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(120)
        .map(|c| if c.is_control() || is_bidi_control(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(120).is_some() {
        out.push('…');
    }
    out
}
