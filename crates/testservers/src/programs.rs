//! Where the system's packages put their programs.

use std::path::{Path, PathBuf};

/// The folder of the newest installed PostgreSQL, with `initdb` and `postgres`.
///
/// # Panics
/// When none is installed.
pub fn postgres() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
        Some((version, path.join("bin")))
    });
    let mut folders: Vec<(u32, PathBuf)> = versions.collect();
    folders.sort();
    let newest_first = folders.into_iter().rev().map(|(_, folder)| folder);
    newest_first
        .chain(path_folders())
        .find(|folder| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file()))
        .expect("PostgreSQL is not installed; `apt-get install postgresql` (or scripts/setup.sh --test) installs it")
}

/// The program `nats-server`.
///
/// # Panics
/// When it is not installed.
pub fn nats() -> PathBuf {
    path_folders()
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("nats-server"))
        .find(|path| Path::is_file(path))
        .expect("NATS is not installed; `apt-get install nats-server` (or scripts/setup.sh --test) installs it")
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}
