//! The database of a gateway, into an archive and out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::manifest::{DATABASE, Manifest, StoreKind};
use crate::settings::StorePlace;

/// The copy of a SQLite database in an archive.
const FILE: &str = "patchbay.db";

/// What to do about a database that has a server.
const ELSEWHERE: &str = "the database is on a PostgreSQL server, which has backups of its own: use `pg_dump` for it, and \
    copy the home folder";

/// A copy of one moment, as files that nobody changes.
pub struct Taken {
    pub kind: StoreKind,
    pub schema: u32,
    pub cluster_id: Option<String>,
    pub rows: BTreeMap<String, u64>,
    /// Names in the archive, and where they are.
    pub files: Vec<(String, PathBuf)>,
}

/// Copies the database at `place` into the folder `staging`, whoever works with it meanwhile.
pub fn take(place: &StorePlace<'_>, staging: &Path) -> anyhow::Result<Taken> {
    let path = place.file().context(ELSEWHERE)?;
    if !path.is_file() {
        bail!("there is no database at {}; the first `patchbay serve` makes one", path.display());
    }
    let copy = staging.join(FILE);
    store_sqlite::backup(path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
    let contents = intact(&copy).with_context(|| format!("the copy of {}", path.display()))?;
    Ok(Taken {
        kind: StoreKind::Sqlite,
        schema: contents.schema,
        cluster_id: contents.cluster,
        rows: contents.rows,
        files: vec![(format!("{DATABASE}/{FILE}"), copy)],
    })
}

/// Checks every page of a SQLite database and counts what it holds.
fn intact(path: &Path) -> anyhow::Result<store_sqlite::Contents> {
    if let Err(findings) = store_sqlite::integrity(path) {
        bail!("it is damaged: {findings}");
    }
    Ok(store_sqlite::contents(path)?)
}

/// Checks an unpacked copy, in `folder`, against what the manifest says.
pub fn check(manifest: &Manifest, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(FILE);
    if !path.is_file() || manifest.files.iter().filter(|file| is_database(&file.path)).count() != 1 {
        bail!("it does not hold one database");
    }
    let contents = intact(&path).context("the database in it")?;
    if contents.schema != manifest.schema || contents.rows != manifest.rows {
        bail!("the database in it does not hold the rows that its manifest names");
    }
    Ok(())
}

fn is_database(path: &str) -> bool {
    path.split('/').next() == Some(DATABASE)
}

/// The version of the schema up to which this program reads.
pub fn known_schema(kind: StoreKind) -> u32 {
    match kind {
        StoreKind::Sqlite => store_sqlite::newest_version(),
    }
}

/// Makes the unpacked copy in `folder` ready for the next gateway; gives the file to be put in place.
pub fn prepare(folder: &Path, new_cluster: bool) -> anyhow::Result<PathBuf> {
    let path = folder.join(FILE);
    store_sqlite::settle(&path, new_cluster).context("the database of the backup")?;
    Ok(path)
}
