//! What disks say, and disks that are too small.

use std::io;
use std::path::Path;

use anyhow::bail;
use store::StoreError;

/// An error that says which file it is about.
pub fn with_path(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A disk that is too small is told before it is full.
pub fn check(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let space = rustix::fs::statvfs(folder)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < bytes {
        bail!("it needs {bytes} bytes, and {} has {free} free", folder.display());
    }
    Ok(())
}

/// The error, and what it comes from when `folder` cannot be written to.
pub fn explain(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    if error.chain().any(is_full) { error.context(format!("{} takes no more", folder.display())) } else { error }
}

fn is_full(cause: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};

    let is_kind =
        |error: &io::Error| matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | ReadOnlyFilesystem);
    cause.downcast_ref().is_some_and(is_kind) || matches!(cause.downcast_ref(), Some(StoreError::NotWritable(_)))
}
