//! Which files of a home folder are its content: what a backup takes, and what a restore puts aside.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

/// What belongs to this machine or this process, or can be fetched again.
const NOT_OURS: [&str; 9] = [
    "models",
    "logs",
    "gateway.json",
    "gateway.new",
    "handover.sock",
    "node.id",
    "node.new",
    "lost+found",
    super::swap::STAGING,
];

/// What of `backups/` is part of the home, not a backup of it.
const OWN_COPIES: [&str; 2] = ["sessions", "config"];

const BACKUPS: &str = "backups";

/// Behind the name of a database file: the log, its index, the rollback journal and the lock.
pub const DATABASE_SIDES: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

/// Whether a backup may hold what these parts of a path name.
pub fn belongs(parts: &[&str]) -> bool {
    match parts {
        [BACKUPS] => false,
        [BACKUPS, copy, inner @ ..] => OWN_COPIES.contains(copy) && !inner.is_empty(),
        [first, ..] => !NOT_OURS.contains(first),
        [] => false,
    }
}

/// What was found in a home.
#[derive(Debug, Default)]
pub struct Found {
    /// Paths below the home, in order.
    pub files: Vec<String>,
    /// What a backup cannot hold: links, sockets, names that are no text.
    pub passed_over: Vec<String>,
    pub bytes: u64,
}

/// The files of the home at `home`, without the database at `database` and its side files.
pub fn walk(home: &Path, database: Option<&Path>) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in top(home, database)? {
        visit(home, &entry, &mut found)?;
    }
    found.files.sort();
    Ok(found)
}

/// The parts of a home that are moved as a whole: names below it. `backups` stays, and parts of it go.
pub fn top(home: &Path, database: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for name in names(home)? {
        if name.as_os_str() == BACKUPS {
            let inner = names(&home.join(&name))?.into_iter().map(|inner| name.join(inner));
            entries.extend(inner.filter(|path| OWN_COPIES.iter().any(|copy| path.ends_with(copy))));
        } else if !NOT_OURS.iter().any(|other| name.as_os_str() == *other)
            && !database.is_some_and(|database| is_part_of_database(&home.join(&name), database))
        {
            entries.push(name);
        }
    }
    entries.sort();
    Ok(entries)
}

/// Whether `path` is the database or stands beside it as a part of it.
pub fn is_part_of_database(path: &Path, database: &Path) -> bool {
    let Some(rest) = path.as_os_str().as_encoded_bytes().strip_prefix(database.as_os_str().as_encoded_bytes()) else {
        return false;
    };
    rest.is_empty() || DATABASE_SIDES.iter().any(|side| side.as_bytes() == rest)
}

/// The names in a folder; none when it is not there or is no folder.
fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| PathBuf::from(entry.file_name()))).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn visit(home: &Path, below: &Path, found: &mut Found) -> io::Result<()> {
    let Some(text) = below.to_str() else {
        found.passed_over.push(below.to_string_lossy().into_owned());
        return Ok(());
    };
    let metadata = match fs::symlink_metadata(home.join(below)) {
        Ok(metadata) => metadata,
        // Files come and go while a gateway works.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(with_path(error, &home.join(below))),
    };
    let kind: FileType = metadata.file_type();
    if kind.is_dir() {
        let inner = names(&home.join(below)).map_err(|error| with_path(error, &home.join(below)))?;
        for name in inner {
            visit(home, &below.join(name), found)?;
        }
    } else if kind.is_file() {
        found.bytes += metadata.len();
        found.files.push(text.to_owned());
    } else {
        found.passed_over.push(text.to_owned());
    }
    Ok(())
}

/// An error that says which file it is about.
pub fn with_path(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_what_cannot_be_fetched_again_and_belongs_to_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        for path in [
            "config.toml",
            "admin.token",
            "agents/main/notes/a.txt",
            "models/w.gguf",
            "logs/x",
            "gateway.json",
            "node.id",
            "backups/old.tar.gz",
            "backups/sessions/s/1.jsonl",
            "backups/config/1.toml",
            "backups/before-restore-1/x",
            "patchbay.db",
            "patchbay.db-wal",
            "patchbay.db.lock",
            "patchbay.dbx",
        ] {
            fs::create_dir_all(home.join(path).parent().unwrap()).unwrap();
            fs::write(home.join(path), "four").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", home.join("agents/link")).unwrap();
        let found = walk(home, Some(&home.join("patchbay.db"))).unwrap();
        let expected = [
            "admin.token",
            "agents/main/notes/a.txt",
            "backups/config/1.toml",
            "backups/sessions/s/1.jsonl",
            "config.toml",
            "patchbay.dbx",
        ];
        assert_eq!(found.files, expected);
        assert_eq!((found.passed_over, found.bytes), (vec![String::from("agents/link")], 4 * 6));
        assert!(walk(&home.join("nowhere"), None).unwrap().files.is_empty());
    }
}
