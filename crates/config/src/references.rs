//! `${NAME}` inside texts, and the tables `{ env = "NAME" }` and `{ file = "PATH" }` in their place.

use std::fs::File;
use std::io::Read;
use std::path::Path as FilePath;

use serde_json::Value;

use crate::check::FAULTS_MAX;
use crate::environment::Environment;
use crate::fault::{Fault, FaultKind};
use crate::path::Path;
use crate::shape::Shape;
use crate::text;

/// A secret of a file; keys and certificates are far smaller.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Stands for the content of a file that is not to be read.
const UNREAD: &str = "unread";

/// Whether files that a value names are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    Read,
    /// For a configuration that a caller hands over: asking for a check must not tell what files exist.
    Assume,
}

pub(crate) struct Resolver<'a> {
    pub shape: &'a Shape,
    pub environment: &'a Environment,
    pub home: &'a FilePath,
    pub files: Files,
    pub faults: Vec<Fault>,
    /// What was put in; no message may show it.
    pub taken: Vec<String>,
}

impl Resolver<'_> {
    /// Replaces every reference in `value`, which stands at `path`. What cannot be resolved stays
    /// as it is and is a fault.
    pub fn resolve(&mut self, value: &mut Value, path: &Path) {
        if let Some((kind, name)) = reference(value).filter(|_| self.shape.accepts_string(path)) {
            let found = if kind == "env" { self.variable(name, path) } else { self.content(name, path) };
            if let Some(found) = found {
                self.taken.push(found.clone());
                *value = Value::String(found);
            }
            return;
        }
        match value {
            Value::Object(map) => map.iter_mut().for_each(|(key, child)| self.resolve(child, &path.key(key.as_str()))),
            Value::Array(items) => {
                items.iter_mut().enumerate().for_each(|(index, item)| self.resolve(item, &path.index(index)));
            }
            Value::String(text) if text.contains("${") => {
                if let Some(expanded) = self.expand(text, path) {
                    *value = self.fitting(expanded, path);
                }
            }
            _ => {}
        }
    }

    /// A text where no text may stand is read as the value it spells: `port = "${PORT}"`.
    fn fitting(&self, text: String, path: &Path) -> Value {
        let spelled = || text::parse_value(&text).filter(|value| self.shape.accepts_type_of(path, value));
        match self.shape.nodes_at(path).is_empty() || self.shape.accepts_string(path) {
            true => Value::String(text),
            false => spelled().unwrap_or(Value::String(text)),
        }
    }

    fn expand(&mut self, text: &str, path: &Path) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                // `$${` is a literal `${`.
                expanded.push_str(&rest[..at - 1]);
                expanded.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            expanded.push_str(&rest[..at]);
            let after = &rest[at + 2..];
            let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let Some(name) = name else {
                let fault = Fault::new(FaultKind::Reference, path, "`${` is not followed by a variable's name and `}`");
                self.faults.push(fault.hint(Some("write `$${` for a literal `${`".to_owned())));
                return None;
            };
            let found = self.variable(name, path)?;
            expanded.push_str(&found);
            self.taken.push(found);
            rest = &after[name.len() + 1..];
        }
        expanded.push_str(rest);
        Some(expanded)
    }

    fn variable(&mut self, name: &str, path: &Path) -> Option<String> {
        let found = self.environment.get(name).map(str::to_owned);
        if found.is_none() {
            self.fault(path, format!("environment variable `{name}` is not set"));
        }
        found
    }

    fn content(&mut self, name: &str, path: &Path) -> Option<String> {
        if self.files == Files::Assume {
            return Some(UNREAD.to_owned());
        }
        let place = self.home.join(name);
        match read_text(&place) {
            Ok(content) => Some(content),
            Err(reason) => {
                self.fault(path, format!("file `{}` {reason}", place.display()));
                None
            }
        }
    }

    fn fault(&mut self, path: &Path, message: String) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        self.faults.push(Fault::new(FaultKind::Reference, path, message));
    }
}

/// The kind and name of a table that is exactly a reference.
pub(crate) fn reference(value: &Value) -> Option<(&str, &str)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let (kind, name) = map.iter().next()?;
    matches!(kind.as_str(), "env" | "file").then_some(())?;
    Some((kind, name.as_str()?))
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn read_text(place: &FilePath) -> Result<String, String> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // Opening a pipe would wait for a writer, so what the path is comes first.
    let is_file = std::fs::metadata(place).map_err(unreadable)?.is_file();
    if !is_file {
        return Err("is not a regular file".to_owned());
    }
    let mut text = String::new();
    File::open(place).map_err(unreadable)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
