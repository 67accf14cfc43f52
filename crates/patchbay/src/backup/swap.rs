//! Renames that belong together.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::disk::with_path;

/// The folder inside a home in which a restore works.
pub const STAGING: &str = "restore.partial";

/// Renames that were made, to be undone if a later one fails.
#[derive(Default)]
pub struct Swap {
    made: Vec<Moved>,
}

struct Moved {
    from: PathBuf,
    to: PathBuf,
    /// On another disk; what it was made from is still there.
    is_copy: bool,
}

impl Swap {
    /// Moves `from` to `to`, where nothing may be; makes the folder above it. A file may go to another disk.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if to.symlink_metadata().is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", to.display())));
        }
        if let Some(parent) = to.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|error| with_path(error, parent))?;
        }
        let is_copy = match fs::rename(from, to) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices && from.is_file() => {
                copy(from, to).map_err(|error| with_path(error, to))?;
                true
            }
            Err(error) => return Err(with_path(error, to)),
        };
        self.made.push(Moved { from: from.to_owned(), to: to.to_owned(), is_copy });
        Ok(())
    }

    /// Puts everything back where it was, last first; goes on after a failure and tells the first.
    pub fn undo(self) -> io::Result<()> {
        let mut failed = None;
        for Moved { from, to, is_copy } in self.made.into_iter().rev() {
            let undone = if is_copy { fs::remove_file(&to) } else { fs::rename(&to, &from) };
            if let Err(error) = undone {
                failed.get_or_insert(with_path(error, &to));
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// A copy that has its name only once it is whole and on the disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let copied = fs::copy(from, &partial)
        .and_then(|_| fs::File::open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, to));
    if copied.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_renamed_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b", "c"] {
            fs::write(path(name), name).unwrap();
        }
        let mut swap = Swap::default();
        swap.rename(&path("a"), &path("aside/deep/a")).unwrap();
        swap.rename(&path("b"), &path("a")).unwrap();
        assert_eq!(swap.rename(&path("c"), &path("a")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(path("a")).unwrap(), "b");
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        swap.rename(&path("c"), &elsewhere.path().join("deep/c")).unwrap();
        assert_eq!(fs::read_to_string(elsewhere.path().join("deep/c")).unwrap(), "c");
        swap.undo().unwrap();
        assert!(!elsewhere.path().join("deep/c").exists());
        for name in ["a", "b", "c"] {
            assert_eq!(fs::read_to_string(path(name)).unwrap(), name);
        }
    }
}
