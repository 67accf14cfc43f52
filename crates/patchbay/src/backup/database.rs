//! The database of a gateway, into an archive and out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use store::StoreError;

use super::manifest::{DATABASE, Manifest, StoreKind};
use super::{INTERRUPTED, Progress};
use crate::settings::StorePlace;

/// The rows in an archive: a database of SQLite, wherever they were before.
const FILE: &str = "patchbay.db";

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
pub fn take(place: &StorePlace<'_>, staging: &Path, progress: &dyn Progress) -> anyhow::Result<Taken> {
    let copy = staging.join(FILE);
    let given: Option<BTreeMap<String, u64>> = match place {
        StorePlace::File(path) => {
            if !path.is_file() {
                bail!("there is no database at {}; the first `patchbay serve` makes one", path.display());
            }
            store_sqlite::backup(path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
            None
        }
        #[cfg(feature = "postgres")]
        StorePlace::Server(url) => Some(from_server(url, &copy, progress).context("cannot copy the database")?),
        #[cfg(not(feature = "postgres"))]
        StorePlace::Server(_) => bail!("this program was built without PostgreSQL"),
    };
    go_on(progress)?;
    let contents = intact(&copy).context("the copy of the database")?;
    if given.is_some_and(|given| given != contents.rows) {
        bail!("the copy of the database does not hold the rows that the server gave");
    }
    Ok(Taken {
        kind: StoreKind::Sqlite,
        schema: contents.schema,
        cluster_id: contents.cluster,
        rows: contents.rows,
        files: vec![(format!("{DATABASE}/{FILE}"), copy)],
    })
}

/// Fills the new file `copy` with the rows of a server; gives how many each table gave.
#[cfg(feature = "postgres")]
fn from_server(url: &str, copy: &Path, progress: &dyn Progress) -> anyhow::Result<BTreeMap<String, u64>> {
    use store::backend::portable::TABLES;

    let mut rows: BTreeMap<String, u64> = TABLES.iter().map(|table| (table.name.to_owned(), 0)).collect();
    let mut import = store_sqlite::Import::create(copy)?;
    store_postgres::export(url, &store_postgres::PostgresOptions::default(), &mut |table, row| {
        go_on(progress)?;
        *rows.entry(table.name.to_owned()).or_default() += 1;
        import.put(table, row)
    })?;
    import.finish()?;
    Ok(rows)
}

/// An error once nobody wants the rest.
pub fn go_on(progress: &dyn Progress) -> Result<(), StoreError> {
    if progress.is_stopped() { Err(StoreError::Unavailable(String::from(INTERRUPTED))) } else { Ok(()) }
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
