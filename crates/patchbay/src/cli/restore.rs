//! `patchbay restore`

use std::path::PathBuf;

use model::{Clock, SystemClock};
use serde_json::json;

use super::common::Common;
use super::failure::Failure;
use super::output;
use super::progress::watched;
use crate::backup::{self, Restored};

/// Put a backup back: into a home without data and without a running gateway.
///
/// Everything in the file is checked before anything is put in place: all of it is restored, or nothing. A backup of
/// an older version is brought up to date; one of a newer version is refused. Runs that were under way go on with the
/// next start. The configuration becomes config.toml of the home. A backup of a gateway on SQLite can be restored into
/// PostgreSQL, and the other way round: --store says where to. A database on a server must be empty, and is never
/// emptied.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay restore patchbay-20260504T101500Z.tar.gz\n  \
    patchbay restore backup.tar.gz --home /srv/patchbay\n  \
    patchbay restore backup.tar.gz --replace          # what is there goes to backups/before-restore-<UTC time>\n  \
    patchbay restore backup.tar.gz --store postgres://user:password@host:5432/new\n  \
    patchbay restore backup.tar.gz --new-cluster      # a copy that lives beside the original")]
pub struct Restore {
    /// A file that `patchbay backup` made
    file: PathBuf,
    /// Put what the home holds aside, into its folder backups
    #[arg(long)]
    replace: bool,
    /// The database to restore into, and to use from now on [default: the one of the restored configuration]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Give the restored gateway an identity of its own, because the original goes on living
    #[arg(long)]
    new_cluster: bool,
}

impl Restore {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let home = common.home()?;
        let named = common.config_file(&home);
        let (restored, home) = watched(move |bar| {
            let order = backup::Restore {
                home: &home,
                file: &self.file,
                store: self.store,
                replace: self.replace,
                new_cluster: self.new_cluster,
                now: SystemClock.now(),
            };
            backup::restore(&order, bar).map(|restored| (restored, home))
        })
        .await?;
        if named != home.config_file() {
            output::note(format_args!(
                "the configuration is in {}; {} was left as it is",
                home.config_file().display(),
                named.display()
            ));
        }
        let Restored { manifest, database, aside } = restored;
        if let Some(aside) = &aside {
            output::note(format_args!("what was there before is in {}", aside.display()));
        }
        if common.json {
            return output::json(&json!({
                "home": home.path(), "database": database, "program": manifest.program, "made_at": manifest.made_at,
                "schema": manifest.schema, "files": manifest.files.len(), "rows": manifest.rows, "aside": aside,
            }));
        }
        output::line(format_args!(
            "{}: {} files; {}: {} rows; as of {}",
            home.path().display(),
            manifest.files.len(),
            output::printable(&database),
            manifest.total_rows(),
            output::printable(&manifest.made_at)
        ))
    }
}
