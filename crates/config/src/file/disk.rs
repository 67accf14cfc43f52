//! Writing a file as a whole: a reader, or a crash, sees all of it or nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::edit::EditError;

pub(super) fn io_error(path: &Path, source: io::Error) -> EditError {
    EditError::Io { path: path.to_owned(), source }
}

/// Writes so that a reader, or a crash, sees the old text or the new one and nothing between. The
/// mode of a file that exists is kept; a new one is for its owner alone. A link is followed.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
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
