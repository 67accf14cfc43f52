//! Where a value stands in the configuration tree, and how that is written.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// One step down the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    Key(String),
    Index(usize),
}

/// A path as people write it: `agents.main.model`, `auth.token[0].scopes`, `models."gpt-4.1".family`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a key path: {reason}")]
pub struct InvalidPath {
    pub text: String,
    pub reason: &'static str,
}

impl Path {
    /// The whole configuration; displays as nothing.
    pub const fn root() -> Path {
        Path(Vec::new())
    }

    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Path {
        self.child(Segment::Key(key.into()))
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Path {
        self.child(Segment::Index(index))
    }

    #[must_use]
    pub fn child(&self, segment: Segment) -> Path {
        let mut segments = self.0.clone();
        segments.push(segment);
        Path(segments)
    }

    /// The path one step up; `None` for the root.
    pub fn parent(&self) -> Option<Path> {
        self.0.split_last().map(|(_, above)| Path(above.to_vec()))
    }

    pub fn starts_with(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The nearest name: `scopes` for `auth.token[0].scopes[1]`.
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
    }

    /// The value at this path, if there is one.
    pub fn find<'v>(&self, tree: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(tree, |value, segment| match segment {
            Segment::Key(key) => value.as_object()?.get(key),
            Segment::Index(index) => value.as_array()?.get(*index),
        })
    }

    pub(crate) fn find_mut<'v>(&self, tree: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(tree, |value, segment| match segment {
            Segment::Key(key) => value.as_object_mut()?.get_mut(key),
            Segment::Index(index) => value.as_array_mut()?.get_mut(*index),
        })
    }
}

impl From<Vec<Segment>> for Path {
    fn from(segments: Vec<Segment>) -> Path {
        Path(segments)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if place == 0 => f.write_str(&quoted(key))?,
                Segment::Key(key) => write!(f, ".{}", quoted(key))?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        toml_edit::Key::new(key).display_repr().into_owned()
    }
}

impl FromStr for Path {
    type Err = InvalidPath;

    /// Reads what `Display` writes. A bare segment may hold anything but dots, brackets, quotes and
    /// white space; everything else goes in TOML quotes.
    fn from_str(text: &str) -> Result<Path, InvalidPath> {
        let invalid = |reason| InvalidPath { text: text.to_owned(), reason };
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            let (key, after) = read_key(rest).map_err(invalid)?;
            segments.push(Segment::Key(key));
            rest = after;
            while let Some(after) = rest.strip_prefix('[') {
                let (digits, after) = after.split_once(']').ok_or_else(|| invalid("`[` without `]`"))?;
                let index = digits.parse().map_err(|_| invalid("an index is a number, as in `listen[0]`"))?;
                segments.push(Segment::Index(index));
                rest = after;
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => return Ok(Path(segments)),
                None => return Err(invalid("a dot is missing between two keys")),
            }
        }
    }
}

fn read_key(text: &str) -> Result<(String, &str), &'static str> {
    let end = match text.chars().next() {
        None => return Err("a key is empty"),
        Some(quote @ ('"' | '\'')) => {
            let end = closing_quote(text, quote).ok_or("a quote is not closed")?;
            let keys = toml_edit::Key::parse(&text[..end]).map_err(|_| "a quoted key is not valid")?;
            let [key] = keys.as_slice() else { return Err("a quoted key is not valid") };
            return Ok((key.get().to_owned(), &text[end..]));
        }
        Some(_) => text.find(['.', '[']).unwrap_or(text.len()),
    };
    let (key, rest) = text.split_at(end);
    match key {
        "" => Err("a key is empty"),
        key if key.contains(|c: char| c.is_whitespace() || matches!(c, ']' | '"' | '\'')) => {
            Err("a key with spaces, quotes or brackets must be quoted")
        }
        key => Ok((key.to_owned(), rest)),
    }
}

/// The byte position after the quote that closes the one `text` opens with.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
