//! Former versions of the file: `backups/config/<number>-<time>.toml` in the home folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Timestamp;

use super::disk::{io_error, write_new};
use crate::edit::EditError;
use crate::loaded::hash;

/// Older versions are removed.
pub const HISTORY_MAX: usize = 50;

/// A text that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Counts up and is never used again while newer versions are kept.
    pub number: u64,
    /// When it was replaced.
    pub replaced_at: Timestamp,
    pub bytes: u64,
    /// SHA-256 in hex.
    pub hash: String,
    pub path: PathBuf,
}

fn folder(home: &Path) -> PathBuf {
    home.join("backups").join("config")
}

/// Held while a save compares and writes, so that two programs do not both think they were first.
pub(super) fn lock(home: &Path) -> Result<File, EditError> {
    let folder = folder(home);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|source| io_error(&folder, source))?;
    let path = folder.join(".lock");
    let open = || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|source| io_error(&path, source))
}

/// Keeps `bytes` as the newest version and removes what is too old. Needs the lock.
pub(super) fn keep(home: &Path, bytes: &[u8], now: Timestamp) -> Result<u64, EditError> {
    let mut files = files(home)?;
    let number = files.first().map_or(1, |newest| newest.number + 1);
    let path = folder(home).join(format!("{number:06}-{}.toml", now.as_ms()));
    write_new(&path, bytes).map_err(|source| io_error(&path, source))?;
    for old in files.drain(..).skip(HISTORY_MAX - 1) {
        fs::remove_file(&old.path).map_err(|source| io_error(&old.path, source))?;
    }
    Ok(number)
}

pub(super) fn list(home: &Path) -> Result<Vec<Version>, EditError> {
    let describe = |file: Kept| {
        let bytes = fs::read(&file.path).map_err(|source| io_error(&file.path, source))?;
        let Kept { number, replaced_at, path } = file;
        Ok(Version { number, replaced_at, bytes: bytes.len() as u64, hash: hash(&bytes), path })
    };
    files(home)?.into_iter().map(describe).collect()
}

pub(super) fn text(home: &Path, number: u64) -> Result<String, EditError> {
    let file = files(home)?.into_iter().find(|file| file.number == number).ok_or(EditError::NoVersion(number))?;
    fs::read_to_string(&file.path).map_err(|source| io_error(&file.path, source))
}

pub(super) fn forget(home: &Path, number: u64) -> Result<(), EditError> {
    let file = files(home)?.into_iter().find(|file| file.number == number);
    file.map_or(Ok(()), |file| fs::remove_file(&file.path).map_err(|source| io_error(&file.path, source)))
}

struct Kept {
    number: u64,
    replaced_at: Timestamp,
    path: PathBuf,
}

/// Newest first. Files that are not named like a version are left alone.
fn files(home: &Path) -> Result<Vec<Kept>, EditError> {
    let folder = folder(home);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io_error(&folder, source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| io_error(&folder, source))?.path();
        files.extend(kept(path));
    }
    files.sort_by_key(|file| std::cmp::Reverse(file.number));
    Ok(files)
}

fn kept(path: PathBuf) -> Option<Kept> {
    let (number, time) = path.file_name()?.to_str()?.strip_suffix(".toml")?.split_once('-')?;
    let (number, time) = (number.parse().ok()?, time.parse().ok()?);
    Some(Kept { number, replaced_at: Timestamp::from_ms(time), path })
}
