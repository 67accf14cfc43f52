//! Files that are no backups, or no longer, or were made to do harm.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::backup::small;
use super::support::{Home, Run};

/// Tries to restore `file` into a home that is not there, which it must not be afterwards either.
#[track_caller]
fn refused(file: &Path) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new_at(folder.path().join("home"));
    let run = home.run(&["restore", file.to_str().unwrap()]).fails(1);
    assert!(!home.path().exists(), "something was restored: {run:?}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    run
}

#[test]
fn a_file_that_is_damaged_cut_short_or_something_else_is_refused() {
    let (_home, file) = small();
    let whole = std::fs::read(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("changed.tar.gz");
    for place in [1, 12, 100, whole.len() / 3, whole.len() / 2, whole.len() - 6, whole.len() - 2] {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        std::fs::write(&changed, bytes).unwrap();
        refused(&changed);
    }
    for length in [0, 1, 10, 300, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&changed, &whole[..length]).unwrap();
        refused(&changed);
    }
    std::fs::write(&changed, "this is a text").unwrap();
    let told = refused(&changed);
    assert!(told.err.contains("no backup of patchbay"), "{told:?}");
    let told = refused(&folder.path().join("nowhere.tar.gz"));
    assert!(told.err.contains("nowhere.tar.gz"), "{told:?}");
}

/// An archive of this manifest and these entries, whatever they are.
struct Forged {
    folder: tempfile::TempDir,
    manifest: Value,
    /// What its header says.
    manifest_bytes: Option<u64>,
    entries: Vec<(Header, Vec<u8>)>,
}

impl Forged {
    /// Says that it holds one file, `home/x` of 4 bytes, and a database of that size.
    fn new() -> Forged {
        let file = |path: &str| json!({ "path": path, "bytes": 4, "sha256": TEST });
        let manifest = json!({
            "format": 1, "program": "9.0.0", "made_at": "2026-05-04T10:00:00.000Z", "store": "sqlite", "schema": 1,
            "cluster_id": null, "rows": {}, "files": [file("home/x"), file("database/patchbay.db")],
        });
        Forged { folder: tempfile::tempdir().unwrap(), manifest, manifest_bytes: None, entries: Vec::new() }
    }

    fn entry(mut self, kind: EntryType, path: &str, content: &[u8]) -> Forged {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        if kind == EntryType::Symlink || kind == EntryType::Link {
            header.set_link_name("/etc/passwd").unwrap();
        }
        // As bytes, because the library refuses what this is about.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.entries.push((header, content.to_vec()));
        self
    }

    fn file(self, path: &str) -> Forged {
        self.entry(EntryType::Regular, path, b"test")
    }

    fn write(&self) -> PathBuf {
        let path = self.folder.path().join("forged.tar.gz");
        let mut tar = Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        let text = serde_json::to_vec(&self.manifest).unwrap();
        let mut header = Header::new_gnu();
        header.set_size(self.manifest_bytes.unwrap_or(text.len() as u64));
        tar.append_data(&mut header, "manifest.json", text.as_slice()).unwrap();
        for (header, content) in &self.entries {
            tar.append(header, content.as_slice()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        path
    }

    #[track_caller]
    fn is_refused(&self, words: &str) {
        let told = refused(&self.write());
        assert!(told.err.contains(words), "{words}: {told:?}");
    }
}

/// SHA-256 of `test`.
const TEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn an_archive_that_was_made_to_do_harm_is_refused() {
    let whole = || Forged::new().file("home/x").file("database/patchbay.db");
    whole().is_refused("the database in it");
    Forged::new().file("home/x").is_refused("it ends before `database/patchbay.db`");
    Forged::new().file("home/x").file("home/x").is_refused("twice");
    Forged::new().file("../x").is_refused("`../x`, which its manifest does not name");
    Forged::new().file("/x").is_refused("which its manifest does not name");
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo, EntryType::Directory] {
        Forged::new().entry(kind, "home/x", b"").is_refused("no plain file");
    }
    Forged::new().entry(EntryType::Regular, "home/x", b"other").is_refused("has 5 bytes, its manifest says 4");
    Forged::new().entry(EntryType::Regular, "home/x", b"TEST").is_refused("is not what its manifest says");
    for path in ["../x", "home/../../x", "/etc/x", "home/node.id", "home/restore.partial/x", "elsewhere/x"] {
        let mut forged = Forged::new().file(path);
        forged.manifest["files"][0]["path"] = json!(path);
        forged.is_refused("which no backup does");
    }
    // Far more between two files than names need, and a name without an end.
    whole().entry(EntryType::GNULongName, "././@LongLink", &vec![b'x'; 1 << 20]).is_refused("it is damaged");
    whole().entry(EntryType::XHeader, "x", &vec![b'x'; 1 << 20]).is_refused("it is damaged");
    // Nothing but zeros, which pack well, where the end should be.
    let forged = whole();
    let file = forged.write();
    let mut zeros = GzEncoder::new(File::options().append(true).open(&file).unwrap(), Compression::best());
    zeros.write_all(&vec![0; 1 << 20]).unwrap();
    zeros.finish().unwrap();
    let told = refused(&file);
    assert!(told.err.contains("it holds more than its manifest says"), "{told:?}");
    // A manifest without an end.
    Forged { manifest_bytes: Some(1 << 40), ..Forged::new() }.is_refused("its manifest is longer than 64 MiB");
}

#[test]
fn a_backup_of_a_newer_program_is_refused_with_what_helps() {
    let mut forged = Forged::new();
    forged.manifest["schema"] = json!(99);
    forged.is_refused("this backup was made by patchbay 9.0.0 with schema 99; this program knows schemas up to ");
    let mut forged = Forged::new();
    forged.manifest["format"] = json!(2);
    forged.is_refused("this backup was made by patchbay 9.0.0 in format 2; this program knows formats up to 1");
    // Nothing of what it says is meant for a terminal.
    forged.manifest["program"] = json!("9\u{1b}[2J");
    forged.is_refused("patchbay 9\\u{1b}[2J in format 2");
    let mut forged = Forged::new();
    forged.manifest["store"] = json!("oracle");
    forged.is_refused("its manifest is not one of a backup");
    let mut forged = Forged::new();
    forged.manifest["files"][0]["bytes"] = json!(1_u64 << 60);
    forged.is_refused("free");
}
