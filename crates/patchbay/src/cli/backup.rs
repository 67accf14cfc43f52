//! `patchbay backup`

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::Context;
use model::{Clock, SystemClock};
use serde_json::json;

use super::common::Common;
use super::failure::Failure;
use super::output;
use super::progress::watched;
use crate::backup::{self, Made, Order};
use crate::settings::Settings;

/// Copy the database and the home folder into one file, while the gateway works or without it.
///
/// The file holds the database as of one moment, also one on a PostgreSQL server, the configuration, the first
/// operator's token, the agents' folders, media, skills and plugins; not: weights of models, which are pulled again,
/// and logs. It is read again before it counts as made. Whoever has it can act as operator: keep it as you keep the
/// token. Environment variables, files of secrets and workspaces outside of the home are not in it, nor are the homes
/// of other nodes of a cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    patchbay backup\n  \
    patchbay backup /mnt/backups/patchbay.tar.gz\n  \
    patchbay backup --json")]
pub struct Backup {
    /// The file to make [default: patchbay-<UTC time>.tar.gz in the home's folder backups]
    file: Option<PathBuf>,
}

impl Backup {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        let home = common.home()?;
        let now = SystemClock.now();
        let file = match self.file {
            Some(file) => {
                std::path::absolute(&file).with_context(|| format!("{} is no usable path", file.display()))?
            }
            None => {
                let file = backup::default_file(home.path(), now);
                if home.path().is_dir()
                    && let Some(folder) = file.parent()
                {
                    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
                    made.with_context(|| format!("cannot make {}", folder.display()))?;
                }
                file
            }
        };
        let config = common.config_file(&home);
        let loaded = common.layers(&home).load::<Settings>().map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let outside: Vec<PathBuf> = loaded
            .config
            .agents(home.path())
            .into_iter()
            .map(|agent| agent.workspace)
            .filter(|folder| !folder.starts_with(home.path()))
            .collect();
        let (made, file) = watched(move |bar| {
            let store = loaded.config.store.place(home.path());
            let order = Order { home: home.path(), config: &config, store, file: &file, now };
            backup::make(&order, bar).map(|made| (made, file))
        })
        .await?;
        for name in &made.passed_over {
            output::note(format_args!("not in it, because it is no plain file: {}", output::printable(name)));
        }
        for folder in &outside {
            output::note(format_args!("not in it, because it is outside of the home: {}", folder.display()));
        }
        let Made { bytes, manifest, passed_over } = made;
        if common.json {
            return output::json(&json!({
                "file": file, "bytes": bytes, "files": manifest.files.len(), "schema": manifest.schema,
                "made_at": manifest.made_at, "cluster_id": manifest.cluster_id, "rows": manifest.rows,
                "passed_over": passed_over, "outside": outside,
            }));
        }
        output::line(format_args!(
            "{}: {}, {} files, {} rows",
            file.display(),
            output::bytes(bytes),
            manifest.files.len(),
            manifest.total_rows()
        ))
    }
}
