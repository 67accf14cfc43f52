//! The database that rows are restored into.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use anyhow::Context;
use anyhow::bail;
use store_sqlite::OwnerLock;

use super::Progress;
use super::disk::with_path;
use super::swap::Swap;
use crate::settings::StorePlace;

/// Held until all is in place, so that no gateway starts in between.
pub enum Target {
    File {
        path: PathBuf,
        _owner: OwnerLock,
    },
    #[cfg(feature = "postgres")]
    Server {
        /// The address without its password.
        shown: String,
        import: Box<store_postgres::Import>,
    },
}

impl Target {
    /// Takes hold of the database at `place`. One on a server must be empty; a file may still be put aside.
    pub fn hold(place: &StorePlace<'_>) -> anyhow::Result<Target> {
        match place {
            StorePlace::File(path) => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(|error| with_path(error, parent))?;
                }
                Ok(Target::File { path: path.clone(), _owner: OwnerLock::acquire(path)? })
            }
            #[cfg(feature = "postgres")]
            StorePlace::Server(url) => {
                let import = store_postgres::Import::begin(url, &store_postgres::PostgresOptions::default());
                let import = Box::new(import.context("the database to restore into, which --store chooses")?);
                let shown = store_postgres::PostgresStore::shown(url).unwrap_or_default();
                Ok(Target::Server { shown, import })
            }
            #[cfg(not(feature = "postgres"))]
            StorePlace::Server(_) => bail!("this program was built without PostgreSQL; name a file with --store"),
        }
    }

    /// Gives a server all rows of the file `ready`, which it keeps only once [`Target::take`] was called.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "only a server is given rows"))]
    pub fn fill(&mut self, ready: &Path, progress: &dyn Progress) -> anyhow::Result<()> {
        match self {
            Target::File { .. } => Ok(()),
            #[cfg(feature = "postgres")]
            Target::Server { import, .. } => {
                use super::database;

                store_sqlite::export(ready, &mut |table, row| {
                    database::go_on(progress)?;
                    import.put(table, row)
                })?;
                if import.finish()? != store_sqlite::contents(ready)?.rows {
                    bail!("the server has other numbers of rows than the backup");
                }
                Ok(())
            }
        }
    }

    /// What belongs to this restore and is not put aside.
    pub fn lock(&self) -> Option<PathBuf> {
        match self {
            Target::File { path, .. } => Some(with_suffix(path, ".lock")),
            #[cfg(feature = "postgres")]
            Target::Server { .. } => None,
        }
    }

    /// Puts the rows in place: the file `ready` itself, or what the server was given. The last step of all,
    /// because a server cannot be told to undo it.
    pub fn take(self, ready: &Path, swap: &mut Swap) -> anyhow::Result<()> {
        match self {
            Target::File { path, .. } => {
                for side in ["", "-wal", "-shm", "-journal"] {
                    let there = with_suffix(&path, side);
                    if there.symlink_metadata().is_ok() {
                        bail!("{} is there already; name another database with --store", there.display());
                    }
                }
                swap.rename(ready, &path)?;
                let folder = path.parent().unwrap_or(Path::new("/"));
                Ok(rustix::fs::syncfs(File::open(folder).map_err(|error| with_path(error, folder))?)?)
            }
            #[cfg(feature = "postgres")]
            Target::Server { import, .. } => import
                .commit()
                .context("the server has not confirmed the rows; see whether it holds any before another attempt"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::File { path, .. } => write!(f, "sqlite:{}", path.display()),
            #[cfg(feature = "postgres")]
            Target::Server { shown, .. } => f.write_str(shown),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
