//! From defaults, file, environment and flags to one checked configuration.

use std::path::{Path as FilePath, PathBuf};

use serde_json::Value;

use crate::assembly::Assembly;
use crate::environment::Environment;
use crate::flag::{Flag, FlagValue};
use crate::loaded::{Loaded, hash};
use crate::overlay::value_of_text;
use crate::path::Path;
use crate::problem::{Origin, Problem, Problems};
use crate::references::Files;
use crate::root::Root;
use crate::shape::Shape;
use crate::text::{self, Parsed};

/// What a configuration is put together from: defaults < file < environment < flags.
#[derive(Debug, Clone)]
pub struct Layers {
    home: PathBuf,
    file: PathBuf,
    environment: Environment,
    flags: Vec<Flag>,
}

impl Layers {
    /// `file` is the configuration file, which need not exist; `home` is where relative paths of
    /// `{ file = "…" }` begin and where former versions are kept.
    pub fn new(home: impl Into<PathBuf>, file: impl Into<PathBuf>, environment: Environment) -> Layers {
        Layers { home: home.into(), file: file.into(), environment, flags: Vec::new() }
    }

    /// Adds a setting from the command line; `name` is the flag as written there, for messages.
    /// The text is read as a variable's is. Later flags win.
    #[must_use]
    pub fn with_flag(mut self, name: impl Into<String>, path: Path, text: impl Into<String>) -> Layers {
        self.flags.push(Flag { name: name.into(), path, value: FlagValue::Text(text.into()) });
        self
    }

    /// As [`Layers::with_flag`], with a value that is not a text: the list that repeated flags make.
    #[must_use]
    pub fn with_flag_value(mut self, name: impl Into<String>, path: Path, value: Value) -> Layers {
        self.flags.push(Flag { name: name.into(), path, value: FlagValue::Tree(value) });
        self
    }

    pub fn file(&self) -> &FilePath {
        &self.file
    }

    pub fn home(&self) -> &FilePath {
        &self.home
    }

    /// Reads the file and lays everything together. A file that does not exist is an empty one.
    pub fn load<T: Root>(&self) -> Result<Loaded<T>, Problems> {
        let bytes = self.read()?;
        let mut loaded = self.load_bytes(bytes.as_deref().unwrap_or_default())?;
        loaded.source = bytes.map(|_| self.file.clone());
        Ok(loaded)
    }

    /// As [`Layers::load`], with `bytes` in the place of the file's content: what would come of it.
    pub fn load_bytes<T: Root>(&self, bytes: &[u8]) -> Result<Loaded<T>, Problems> {
        let origin = Origin::File(self.file.clone());
        let parsed = text::parse(bytes, &origin)?;
        let mut assembly = Assembly::new::<T>(parsed, origin);
        assembly.add_environment(&self.environment);
        assembly.add_flags(&self.flags);
        let mut loaded = assembly.finish(&self.environment, &self.home, Files::Read)?;
        loaded.source = Some(self.file.clone());
        loaded.hash = hash(bytes);
        Ok(loaded)
    }

    /// Checks a tree that nobody wrote down: over the defaults, without environment and flags as
    /// layers, and without opening files that it names.
    pub(crate) fn check_given<T: Root>(&self, parsed: Parsed) -> Result<Loaded<T>, Problems> {
        Assembly::new::<T>(parsed, Origin::Given).finish(&self.environment, &self.home, Files::Assume)
    }

    /// The file's content; `None` when it does not exist.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Problem> {
        match std::fs::read(&self.file) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Problem::new(Origin::File(self.file.clone()), "", format!("the file cannot be read: {error}")))
            }
        }
    }
}

/// What `text` means as the value of `path`, read as a variable's text is: a TOML value if it is one
/// and may stand there, else the text itself. For programs that take settings as words.
pub fn setting_value<T: Root>(path: &Path, text: &str) -> Value {
    value_of_text(text, path, &Shape::of::<T>())
}

#[cfg(test)]
mod tests;
