//! What an archive says about itself, and the rules that hold for its names.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::home;

/// The format of archives that this program writes; older ones it reads.
pub const FORMAT: u32 = 1;

/// The first entry.
pub const NAME: &str = "manifest.json";

/// The longest manifest, in bytes: some hundred thousand files.
pub const BYTES_MAX: u64 = 64 << 20;

/// The longest name of an entry, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// The folders of an archive.
pub const DATABASE: &str = "database";
pub const HOME: &str = "home";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// In UTC, as ISO 8601.
    pub made_at: String,
    pub store: StoreKind,
    /// The number of migrations of the database in it.
    pub schema: u32,
    /// The cluster's id, once a gateway was there.
    pub cluster_id: Option<String>,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// All entries but the manifest, in the order of the archive.
    pub files: Vec<FileEntry>,
}

/// The form of the rows in the archive, whatever database they come from and go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// `database/patchbay.db` is the file.
    Sqlite,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Below the archive's root, with `/` between its parts.
    pub path: String,
    pub bytes: u64,
    /// In lower-case hex.
    pub sha256: String,
}

/// What is looked at before the rest is believed to be of a form that we know.
#[derive(Deserialize)]
struct Format {
    format: u32,
    program: String,
}

impl Manifest {
    /// Reads the text of a manifest and checks all that can be checked without the other entries.
    pub fn parse(text: &[u8]) -> anyhow::Result<Manifest> {
        let Format { format, program } = serde_json::from_slice(text).context("its manifest is not one of a backup")?;
        if format == 0 || format > FORMAT {
            bail!(
                "this backup was made by patchbay {} in format {format}; this program knows formats up to {FORMAT}; use \
                 that program or a newer one",
                program.escape_debug()
            );
        }
        let manifest: Manifest = serde_json::from_slice(text).context("its manifest is not one of a backup")?;
        let mut seen = HashSet::new();
        for file in &manifest.files {
            check_path(&file.path)?;
            if !seen.insert(file.path.as_str()) {
                bail!("it names `{}` twice", file.path);
            }
        }
        Ok(manifest)
    }

    /// Refuses a database that a newer program wrote.
    pub fn check_schema(&self, known: u32) -> anyhow::Result<()> {
        if self.schema > known {
            bail!(
                "this backup was made by patchbay {} with schema {}; this program knows schemas up to {known}; use \
                 that program or a newer one",
                self.program.escape_debug(),
                self.schema
            );
        }
        Ok(())
    }

    /// The bytes of all entries.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    pub fn total_rows(&self) -> u64 {
        self.rows.values().sum()
    }
}

/// A name that stays inside the folder it is unpacked into, and that a backup may hold.
fn check_path(path: &str) -> anyhow::Result<()> {
    let parts: Vec<&str> = path.split('/').collect();
    let is_plain = path.len() <= PATH_BYTES_MAX
        && home::is_plain_name(path)
        && parts.iter().all(|part| !part.is_empty() && *part != "." && *part != "..")
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let belongs = match parts.as_slice() {
        [DATABASE, _] => true,
        [HOME, inner @ ..] if !inner.is_empty() => home::belongs(inner),
        _ => false,
    };
    if !is_plain || !belongs {
        bail!("it holds `{}`, which no backup does", path.escape_debug());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_inside_the_archive_and_of_a_home_are_taken() {
        for path in ["home/config.toml", "home/agents/main/a b/…", "database/patchbay.db", "home/backups/sessions/x"]
        {
            check_path(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        for path in [
            "",
            "home",
            "home/",
            "/home/x",
            "../x",
            "home/../x",
            "home/./x",
            "home//x",
            "home/x/",
            "x",
            "other/x",
            "database/a/b",
            "home/node.id",
            "home/gateway.json",
            "home/backups/other.tar.gz",
            "home/backups",
            "home/models/x",
            "home/x\0y",
            "home/agents/\u{1b}[31m",
        ] {
            assert!(check_path(path).is_err(), "{path:?} is taken");
        }
        assert!(check_path(&format!("home/{}", "x".repeat(PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn newer_formats_and_schemas_are_refused_with_what_helps() {
        let told = Manifest::parse(br#"{"format":2,"program":"9.1.0","surprise":[]}"#).unwrap_err().to_string();
        assert!(told.contains("made by patchbay 9.1.0 in format 2") && told.contains("up to 1"), "{told}");
        let manifest = Manifest {
            format: 1,
            program: String::from("9.1.0"),
            made_at: String::new(),
            store: StoreKind::Sqlite,
            schema: 7,
            cluster_id: None,
            rows: BTreeMap::new(),
            files: Vec::new(),
        };
        manifest.check_schema(7).unwrap();
        let told = manifest.check_schema(6).unwrap_err().to_string();
        let expected = "this backup was made by patchbay 9.1.0 with schema 7; this program knows schemas up to 6; use \
            that program or a newer one";
        assert_eq!(told, expected);
    }
}
