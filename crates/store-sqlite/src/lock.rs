//! One process at a time.
//!
//! Two gateways on one database would each believe that they alone give out cursors and continue
//! runs. The lock belongs to the open file, so it goes away with the process however that ends.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use store::StoreError;

/// Others have no business with the file.
#[cfg(unix)]
const OWNER_ONLY: u32 = 0o600;

/// Held as long as the database is open.
#[derive(Debug)]
pub struct OwnerLock {
    _file: File,
}

impl OwnerLock {
    /// Locks `<database>.lock` and leaves our process id in it.
    pub fn acquire(database: &Path) -> Result<Self, StoreError> {
        let path = lock_path(database);
        let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
        let mut file = options.open(&path).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(database, &mut file)),
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
        // A file from before may be open to others.
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(OWNER_ONLY)).map_err(unavailable)?;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(unavailable)?;
        Ok(Self { _file: file })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(".lock");
    PathBuf::from(name)
}

fn in_use(database: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    // Where a locked file cannot be read, or its owner has not written yet, the number is missing.
    let owner = match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => String::from("another process"),
    };
    StoreError::Unavailable(format!(
        "{} is in use by {owner}; stop it first, or use another folder",
        database.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_by_the_name_of_the_first() {
        let folder = tempfile::tempdir().expect("folder");
        let database = folder.path().join("x.db");
        let first = OwnerLock::acquire(&database).expect("free");
        let refused = OwnerLock::acquire(&database).expect_err("taken").to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
        drop(first);
        OwnerLock::acquire(&database).expect("free again");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_alone_also_when_it_was_not() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("folder");
        let database = folder.path().join("x.db");
        let mode = || std::fs::metadata(lock_path(&database)).expect("file").permissions().mode() & 0o777;
        drop(OwnerLock::acquire(&database).expect("free"));
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(lock_path(&database), PermissionsExt::from_mode(0o644)).expect("own file");
        drop(OwnerLock::acquire(&database).expect("free"));
        assert_eq!(mode(), 0o600);
    }
}
