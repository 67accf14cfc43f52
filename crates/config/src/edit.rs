//! Changing the text of a configuration while keeping its comments, order and formatting.

mod assign;
mod error;
mod remove;

use std::path::PathBuf;

use model::REDACTED;
use serde_json::{Map, Value};
use toml_edit::DocumentMut;

pub use self::error::EditError;
use self::error::value_error;
use crate::loaded::hash;
use crate::path::{Path, Segment};
use crate::problem::Origin;
use crate::text;

/// A text being changed. Nothing reaches the disk before [`crate::ConfigFile::save`].
#[derive(Debug, Clone)]
pub struct Edit {
    origin: Origin,
    text: String,
    /// Whether the text came with carriage returns; it is worked on without and gets them back.
    windows_lines: bool,
    /// The hash of what was read, to notice others' changes.
    pub(crate) base: String,
}

impl Edit {
    pub(crate) fn of(file: PathBuf, bytes: Vec<u8>) -> Result<Edit, EditError> {
        let origin = Origin::File(file);
        let base = hash(&bytes);
        let text = String::from_utf8(bytes).map_err(|error| {
            let problems = text::parse(error.as_bytes(), &origin).err().unwrap_or_default();
            EditError::Invalid(problems)
        })?;
        let mut edit = Edit { origin, text: String::new(), windows_lines: false, base };
        edit.replace(&text);
        Ok(edit)
    }

    /// SHA-256 in hex of the text that was read.
    pub fn base_hash(&self) -> &str {
        &self.base
    }

    /// The text as it would be written.
    pub fn text(&self) -> String {
        if self.windows_lines { self.text.replace('\n', "\r\n") } else { self.text.clone() }
    }

    /// Replaces the whole text.
    pub fn replace(&mut self, text: &str) {
        let breaks = text.matches('\n').count();
        self.windows_lines = breaks > 0 && text.matches("\r\n").count() == breaks;
        self.text = if self.windows_lines { text.replace("\r\n", "\n") } else { text.to_owned() };
    }

    /// What the file says at `path`, before defaults and references; `None` when it says nothing.
    pub fn get(&self, path: &str) -> Result<Option<Value>, EditError> {
        let path: Path = path.parse()?;
        Ok(path.find(&self.tree()?).cloned())
    }

    /// Sets `path` to `value`, making tables as needed; what already says so is left untouched.
    ///
    /// `null` unsets. `"[REDACTED]"` where a secret stands keeps the secret, so that what was shown
    /// can be sent back; elsewhere it is refused.
    pub fn set(&mut self, path: &str, value: &Value) -> Result<(), EditError> {
        self.set_at(&path.parse()?, value)
    }

    pub fn set_at(&mut self, path: &Path, value: &Value) -> Result<(), EditError> {
        let tree = self.tree()?;
        let old = path.find(&tree);
        let value = keep_secrets(value.clone(), old, path)?;
        if value.is_null() {
            return self.unset_at(path).map(|_| ());
        }
        if old == Some(&value) {
            return Ok(());
        }
        self.text = match path.segments() {
            [] => self.replaced_tree(&value)?,
            [Segment::Key(first), rest @ ..] if !tree.contains_key_at_root(first) => {
                let fresh = assign::fresh_under(rest, &value, path)?;
                self.with_new_root_key(first, fresh)?
            }
            _ => {
                let mut document = self.document()?;
                assign::put(document.as_table_mut(), path, &value)?;
                document.to_string()
            }
        };
        Ok(())
    }

    /// Takes `path` out of the file, so that its default holds. Answers whether it was there.
    /// Comments on lines above it stay; those on its own lines go with it.
    pub fn unset(&mut self, path: &str) -> Result<bool, EditError> {
        self.unset_at(&path.parse()?)
    }

    pub fn unset_at(&mut self, path: &Path) -> Result<bool, EditError> {
        if path.is_root() || path.find(&self.tree()?).is_none() {
            return Ok(false);
        }
        self.text = remove::removed(&self.text, path).map_err(|reason| value_error(path, reason))?;
        Ok(true)
    }

    /// Lays `patch` over `path` as a JSON merge patch: tables meet key by key, `null` unsets,
    /// everything else replaces.
    pub fn merge(&mut self, path: &Path, patch: &Value) -> Result<(), EditError> {
        match patch {
            Value::Object(map) if !map.is_empty() && crate::references::reference(patch).is_none() => {
                map.iter().try_for_each(|(key, value)| self.merge(&path.key(key.as_str()), value))
            }
            value => self.set_at(path, value),
        }
    }

    fn tree(&self) -> Result<Value, EditError> {
        text::parse(self.text.as_bytes(), &self.origin)
            .map(|parsed| Value::Object(parsed.tree))
            .map_err(EditError::Invalid)
    }

    fn document(&self) -> Result<DocumentMut, EditError> {
        self.text.parse().map_err(|error: toml_edit::TomlError| {
            let problem = crate::problem::Problem::new(self.origin.clone(), "", error.message().to_owned());
            EditError::Invalid(problem.into())
        })
    }

    /// Appends a key that the document does not have yet. A table goes after everything else, the
    /// trailing comments too; a value may do so only while there are no tables.
    fn with_new_root_key(&self, key: &str, item: toml_edit::Item) -> Result<String, EditError> {
        let mut document = self.document()?;
        let has_headers = document.iter().any(|(_, item)| !item.is_value());
        if item.is_value() && has_headers {
            document.insert(key, item);
            return Ok(document.to_string());
        }
        let apart = !item.is_value();
        let mut block = DocumentMut::new();
        block.insert(key, item);
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if apart && !text.is_empty() && !text.ends_with("\n\n") {
            text.push('\n');
        }
        text.push_str(block.to_string().trim_start_matches('\n'));
        Ok(text)
    }

    fn replaced_tree(&self, value: &Value) -> Result<String, EditError> {
        let Value::Object(map) = value else {
            return Err(value_error(&Path::root(), "the whole configuration is a table"));
        };
        let mut document = self.document()?;
        assign::assign_table(document.as_table_mut(), false, map, &Path::root())?;
        Ok(document.to_string())
    }
}

trait RootKeys {
    fn contains_key_at_root(&self, key: &str) -> bool;
}

impl RootKeys for Value {
    fn contains_key_at_root(&self, key: &str) -> bool {
        self.as_object().is_some_and(|map: &Map<String, Value>| map.contains_key(key))
    }
}

/// Puts what the file says in the place of every placeholder of a secret.
fn keep_secrets(value: Value, old: Option<&Value>, path: &Path) -> Result<Value, EditError> {
    match value {
        Value::String(text) if text == REDACTED => old.cloned().ok_or_else(|| {
            value_error(path, "has no secret to keep; give the secret itself instead of its placeholder")
        }),
        // An address is shown with its password masked; what was shown may come back as it is.
        Value::String(text) if text.contains(REDACTED) => match old {
            Some(old) if shown_as(old) == Some(text.as_str().into()) => Ok(old.clone()),
            _ => Err(value_error(path, "holds the placeholder of a secret; give the secret itself")),
        },
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| {
                let old = old.and_then(|old| old.get(&key));
                let value = keep_secrets(value, old, &path.key(key.as_str()))?;
                Ok((key, value))
            });
            kept.collect::<Result<Map<_, _>, EditError>>().map(Value::Object)
        }
        Value::Array(items) => {
            let kept = items
                .into_iter()
                .enumerate()
                .map(|(at, item)| keep_secrets(item, old.and_then(|old| old.get(at)), &path.index(at)));
            kept.collect::<Result<Vec<_>, EditError>>().map(Value::Array)
        }
        other => Ok(other),
    }
}

fn shown_as(old: &Value) -> Option<Value> {
    old.is_string().then(|| crate::redact::redacted(old))
}

#[cfg(test)]
mod tests;
