//! Which files of a home folder are its content: what a backup takes, and what a restore puts aside.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::with_path;
use super::staging;

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
const DATABASE_SIDES: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

/// Whether a backup may hold what these parts of a path name.
pub fn belongs(parts: &[&str]) -> bool {
    match parts {
        [BACKUPS] => false,
        [BACKUPS, copy, inner @ ..] => OWN_COPIES.contains(copy) && !inner.is_empty(),
        [first, ..] => is_content(OsStr::new(first)),
        [] => false,
    }
}

/// Whether a name can be shown as it is: one with control characters may be meant for a terminal.
pub fn is_plain_name(path: &str) -> bool {
    !path.contains(char::is_control)
}

/// Whether what has this name, directly in the home, is part of it.
fn is_content(name: &OsStr) -> bool {
    NOT_OURS.iter().all(|other| name != *other) && !staging::is_one(name)
}

/// What was found in a home.
#[derive(Debug, Default)]
pub struct Found {
    /// Paths below the home, in order.
    pub files: Vec<String>,
    /// What a backup cannot hold: links, sockets, names that are no text or hold control characters.
    pub passed_over: Vec<String>,
    pub bytes: u64,
}

/// The files of the home at `home`, without the database at `database` and its side files.
pub fn walk(home: &Path, database: Option<&Path>) -> io::Result<Found> {
    let mut found = Found::default();
    let database = database.and_then(|database| below(home, database));
    for entry in top(home)? {
        visit(home, &entry, database.as_deref(), &mut found)?;
    }
    found.files.sort();
    found.passed_over.sort();
    Ok(found)
}

/// The parts of a home that are moved as a whole: names below it. `backups` stays, and parts of it go.
pub fn top(home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for name in names(home)? {
        if name.as_os_str() == BACKUPS {
            let inner = names(&home.join(&name))?.into_iter().map(|inner| name.join(inner));
            entries.extend(inner.filter(|path| OWN_COPIES.iter().any(|copy| path.ends_with(copy))));
        } else if is_content(name.as_os_str()) {
            entries.push(name);
        }
    }
    entries.sort();
    Ok(entries)
}

/// What the database is called below the home, however its folder was named; `None` when it is elsewhere.
fn below(home: &Path, database: &Path) -> Option<PathBuf> {
    let (folder, home) = (database.parent()?.canonicalize().ok()?, home.canonicalize().ok()?);
    Some(folder.strip_prefix(home).ok()?.join(database.file_name()?))
}

/// Whether `path` is the database or stands beside it as a part of it.
fn is_part_of_database(path: &Path, database: &Path) -> bool {
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

fn visit(home: &Path, below: &Path, database: Option<&Path>, found: &mut Found) -> io::Result<()> {
    if database.is_some_and(|database| is_part_of_database(below, database)) {
        return Ok(());
    }
    let Some(text) = below.to_str().filter(|text| is_plain_name(text)) else {
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
            visit(home, &below.join(name), database, found)?;
        }
    } else if kind.is_file() {
        found.bytes += metadata.len();
        found.files.push(text.to_owned());
    } else {
        found.passed_over.push(text.to_owned());
    }
    Ok(())
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
        fs::write(home.join("agents/main/\u{1b}[31m"), "four").unwrap();
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
        assert_eq!(
            (found.passed_over, found.bytes),
            (["agents/link", "agents/main/\u{1b}[31m"].map(String::from).into(), 4 * 6)
        );
        assert!(walk(&home.join("nowhere"), None).unwrap().files.is_empty());
    }

    #[test]
    fn the_database_is_left_out_wherever_it_is_and_however_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("data")).unwrap();
        std::os::unix::fs::symlink(&home, folder.path().join("other")).unwrap();
        for path in ["x.db", "x.db-wal", "data/x.db", "data/x.db.lock"] {
            fs::write(home.join(path), "four").unwrap();
        }
        let files = |database: PathBuf| walk(&home, Some(&database)).unwrap().files;
        assert_eq!(files(home.join("data/x.db")), ["x.db", "x.db-wal"]);
        assert_eq!(files(home.join("./data/../data/x.db")), ["x.db", "x.db-wal"]);
        assert_eq!(files(folder.path().join("other/x.db")), ["data/x.db", "data/x.db.lock"]);
        assert_eq!(files(folder.path().join("x.db")).len(), 4);
    }
}
