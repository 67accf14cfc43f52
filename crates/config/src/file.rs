//! The configuration file on disk: saved atomically, with its former versions kept.

mod disk;
mod history;

use std::fs;
use std::io;

use model::Timestamp;

pub(crate) use self::disk::write_new;
use self::disk::{io_error, replace};
pub use self::history::{HISTORY_MAX, Version};
use crate::edit::{Edit, EditError};
use crate::layers::Layers;
use crate::loaded::{Loaded, hash};
use crate::root::Root;

/// Reads, changes and restores the file that `layers` name. All of it blocks on the disk.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    layers: Layers,
}

/// A change that is on the disk.
#[derive(Debug)]
pub struct Saved<T> {
    /// What the layers give with the new text.
    pub loaded: Loaded<T>,
    /// The number under which the former version is kept; `None` when there was no file, or the
    /// text did not change and nothing was written.
    pub former: Option<u64>,
}

impl ConfigFile {
    pub fn new(layers: Layers) -> ConfigFile {
        ConfigFile { layers }
    }

    /// Begins a change on what is in the file now; a file that does not exist is empty.
    pub fn edit(&self) -> Result<Edit, EditError> {
        Edit::of(self.layers.file().to_owned(), self.read()?.unwrap_or_default())
    }

    /// Writes a change: the new text must be valid as a whole, in all its layers, and the file must
    /// still be what the edit began with. The former text is kept in the history under `now`.
    pub fn save<T: Root>(&self, edit: &Edit, now: Timestamp) -> Result<Saved<T>, EditError> {
        let text = edit.text();
        let loaded = self.layers.load_bytes(text.as_bytes()).map_err(EditError::Invalid)?;
        let _lock = history::lock(self.layers.home())?;
        let former = self.read()?;
        if hash(former.as_deref().unwrap_or_default()) != edit.base {
            return Err(EditError::Changed { path: self.layers.file().to_owned() });
        }
        if former.as_deref() == Some(text.as_bytes()) {
            return Ok(Saved { loaded, former: None });
        }
        let kept = former.map(|former| history::keep(self.layers.home(), &former, now)).transpose()?;
        self.write(text.as_bytes())?;
        Ok(Saved { loaded, former: kept })
    }

    /// The former versions, newest first.
    pub fn history(&self) -> Result<Vec<Version>, EditError> {
        history::list(self.layers.home())
    }

    /// The text of a former version.
    pub fn version_text(&self, number: u64) -> Result<String, EditError> {
        history::text(self.layers.home(), number)
    }

    /// Puts a former version in force again; what it replaces is kept in the history in turn.
    pub fn rollback<T: Root>(&self, number: u64, now: Timestamp) -> Result<Saved<T>, EditError> {
        let text = self.version_text(number)?;
        let bytes = self.read()?.unwrap_or_default();
        // The file may be beyond reading as text; that is no reason not to restore.
        let mut edit = Edit::of(self.layers.file().to_owned(), Vec::new())?;
        edit.base = hash(&bytes);
        edit.replace(&text);
        self.save(&edit, now)
    }

    /// Undoes a save that could not be applied, if nobody wrote in between: as if it had not been.
    pub(crate) fn take_back<T>(&self, saved: &Saved<T>, begun_with: Option<Vec<u8>>) -> Result<(), EditError> {
        let _lock = history::lock(self.layers.home())?;
        let now = self.read()?.unwrap_or_default();
        if hash(&now) != saved.loaded.hash {
            return Err(EditError::Changed { path: self.layers.file().to_owned() });
        }
        match begun_with {
            Some(bytes) => self.write(&bytes)?,
            None => fs::remove_file(self.layers.file()).map_err(|source| io_error(self.layers.file(), source))?,
        }
        saved.former.map_or(Ok(()), |number| history::forget(self.layers.home(), number))
    }

    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, EditError> {
        match fs::read(self.layers.file()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error(self.layers.file(), source)),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), EditError> {
        replace(self.layers.file(), bytes).map_err(|source| io_error(self.layers.file(), source))
    }
}

#[cfg(test)]
mod tests;
