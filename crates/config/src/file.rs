//! The configuration file on disk: saved atomically, with its former versions kept.

mod history;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use model::Timestamp;

pub use self::history::{HISTORY_MAX, Version};
use crate::edit::{Edit, EditError};
use crate::layers::{Layers, Loaded, hash};
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

pub(crate) fn io_error(path: &Path, source: io::Error) -> EditError {
    EditError::Io { path: path.to_owned(), source }
}

/// Writes so that a reader, or a crash, sees the old text or the new one and nothing between. The
/// mode of a file that exists is kept; a new one is for its owner alone. A link is followed.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let draft = write_draft(&target, bytes)?;
    let finish = || {
        if let Ok(metadata) = fs::metadata(&target) {
            fs::set_permissions(&draft, metadata.permissions())?;
        }
        fs::rename(&draft, &target)
    };
    finish().inspect_err(|_| discard(&draft))?;
    sync_folder(&target)
}

/// Writes a file that does not exist yet; answers `false`, and changes nothing, when it does.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let draft = write_draft(path, bytes)?;
    // Unlike a rename, a link never replaces.
    let linked = fs::hard_link(&draft, path);
    discard(&draft);
    match linked {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// A synced file beside `target` that holds `bytes`.
fn write_draft(target: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let draft = loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let draft = target.with_file_name(format!(".{name}.{}-{number}.new", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft) {
            Ok(file) => break (draft, file),
            // Left behind by a crash of a process that had our id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    };
    let (draft, mut file) = draft;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| discard(&draft))?;
    Ok(draft)
}

fn discard(draft: &Path) {
    if let Err(error) = fs::remove_file(draft) {
        tracing::warn!(path = %draft.display(), %error, "could not remove a temporary file");
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests;
