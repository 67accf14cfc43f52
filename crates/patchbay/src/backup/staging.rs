//! The folder in which a backup becomes what it is to be, before it gets its name.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::disk::with_path;

/// What its name begins with; the number of the process follows.
const PREFIX: &str = ".patchbay-backup-";

/// The same for the moment in which it is made.
const NEW: &str = ".patchbay-new-backup-";

/// A folder that is there as long as this.
pub struct Staging {
    path: PathBuf,
    /// Locked as long as its maker lives, however that ends.
    _lock: File,
}

impl Staging {
    /// Makes one in the folder `parent`, and removes those whose makers are gone.
    pub fn create_in(parent: &Path) -> io::Result<Staging> {
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        // Under another name until it is locked, so that nobody takes it for a dead one's.
        let new = parent.join(format!("{NEW}{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&new).map_err(|error| with_path(error, &new))?;
        let locked = File::open(&new).and_then(|lock| lock.lock().map(|()| lock));
        match locked.and_then(|lock| fs::rename(&new, &path).map(|()| lock)) {
            Ok(lock) => Ok(Staging { path, _lock: lock }),
            Err(error) => {
                // The first error is the one to tell.
                let _ = fs::remove_dir(&new);
                Err(with_path(error, &path))
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What matters is told already, and the next backup removes what stays.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Whether a folder of this name is the work of a backup.
pub fn is_one(name: &OsStr) -> bool {
    [PREFIX, NEW].iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
}

/// Removes what killed backups left. What cannot be removed is in nobody's way; it may be somebody else's.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_left = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
        if is_left {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_backup_left_is_removed_by_the_next_and_what_is_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |number: u32| folder.path().join(format!("{PREFIX}{number}"));
        let (dead, alive) = (path(u32::MAX), path(u32::MAX - 1));
        for path in [&dead, &alive] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("body"), "x").unwrap();
        }
        let lock = File::open(&alive).unwrap();
        lock.lock().unwrap();
        let staging = Staging::create_in(folder.path()).unwrap();
        assert_eq!(staging.path(), path(std::process::id()));
        assert!(!dead.exists() && alive.join("body").exists());
        let own = staging.path().to_owned();
        drop(staging);
        assert!(!own.exists());
    }
}
