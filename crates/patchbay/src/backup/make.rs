//! Making a backup.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use model::Timestamp;

use super::archive::{self, Body};
use super::manifest::{self, DATABASE, FORMAT, HOME, Manifest};
use super::staging::Staging;
use super::{Progress, database, disk, home, unpack};
use crate::settings::StorePlace;

/// What to back up, and where to.
pub struct Order<'a> {
    pub home: &'a Path,
    /// The configuration file, in the home or elsewhere.
    pub config: &'a Path,
    pub store: StorePlace<'a>,
    /// A new file.
    pub file: &'a Path,
    pub now: Timestamp,
}

/// A backup that was read again after it was written.
pub struct Made {
    pub bytes: u64,
    pub manifest: Manifest,
    /// What of the home it cannot hold.
    pub passed_over: Vec<String>,
}

/// Where a backup goes when nobody says it.
pub fn default_file(home: &Path, now: Timestamp) -> PathBuf {
    home.join("backups").join(format!("patchbay-{}.tar.gz", stamp(now)))
}

/// A moment as part of a file's name: `20260504T101500Z`.
pub fn stamp(now: Timestamp) -> String {
    let iso = now.to_iso();
    let seconds = iso.split('.').next().unwrap_or(&iso);
    format!("{}Z", seconds.trim_end_matches('Z').replace(['-', ':'], ""))
}

/// Writes the backup, reads it again, and only then gives it its name.
pub fn make(order: &Order<'_>, progress: &dyn Progress) -> anyhow::Result<Made> {
    let file = order.file;
    if file.symlink_metadata().is_ok() {
        bail!("{} is there already; name another file", file.display());
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = Staging::create_in(parent);
    let made = staging.map_err(anyhow::Error::from).and_then(|staging| fill(order, staging.path(), progress));
    let made = made.map_err(|error| disk::explain(error, parent));
    made.with_context(|| format!("no backup was made at {}", file.display()))
}

fn fill(order: &Order<'_>, staging: &Path, progress: &dyn Progress) -> anyhow::Result<Made> {
    progress.begin("copying the database", None);
    // Before the home: a file that a row names is written before the row, so that it is found afterwards.
    let taken = database::take(&order.store, staging, progress)?;
    progress.finish();
    let mut found = home::walk(order.home, order.store.file())?;
    // The file may be made inside the home, and so is what becomes of it.
    let is_other = |path: &String| path != "config.toml" && !order.home.join(path).starts_with(staging);
    found.files.retain(is_other);
    found.passed_over.retain(is_other);
    // It may be a link to where configurations are kept.
    let config = order.config.canonicalize().unwrap_or_else(|_| order.config.to_owned());
    let database_bytes: u64 =
        taken.files.iter().filter_map(|(_, path)| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum();

    progress.begin("packing", Some(database_bytes + found.bytes));
    let (body, whole) = (staging.join("body"), staging.join("whole"));
    let mut packed = Body::create(&body, staging.join("scratch"))?;
    for (name, path) in &taken.files {
        packed.add_still(name, path, progress)?;
    }
    if !packed.add(&format!("{HOME}/config.toml"), &config, progress)? && config.exists() {
        found.passed_over.push(order.config.display().to_string());
    }
    for path in &found.files {
        packed.add(&format!("{HOME}/{path}"), &order.home.join(path), progress)?;
    }
    let manifest = Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: order.now.to_iso(),
        store: taken.kind,
        schema: taken.schema,
        cluster_id: taken.cluster_id,
        rows: taken.rows,
        files: packed.finish()?,
    };
    progress.finish();
    let text = serde_json::to_vec_pretty(&manifest)?;
    if text.len() as u64 > manifest::BYTES_MAX {
        bail!("there are too many files: {}", manifest.files.len());
    }
    let bytes = archive::join(&whole, &text, &body)?;
    verify(&whole, &manifest, staging, progress).context("what was written cannot be read again")?;
    publish(&whole, order.file)?;
    Ok(Made { bytes, manifest, passed_over: found.passed_over })
}

fn verify(whole: &Path, manifest: &Manifest, staging: &Path, progress: &dyn Progress) -> anyhow::Result<()> {
    let folder = staging.join("read");
    let keep = |path: &str| path.starts_with(DATABASE).then(|| folder.join(path));
    let read = unpack::unpack(whole, |_| Ok(()), keep, progress)?;
    if read != *manifest {
        bail!("its manifest has changed");
    }
    database::check(manifest, &folder.join(DATABASE))
}

/// Gives a whole file its name, unless somebody else has taken the name meanwhile.
fn publish(whole: &Path, file: &Path) -> anyhow::Result<()> {
    match fs::hard_link(whole, file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; name another file", file.display());
        }
        // A file system without links.
        Err(_) => fs::rename(whole, file).map_err(|error| disk::with_path(error, file))?,
    }
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| disk::with_path(error, parent))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_called_by_its_moment() {
        let file = default_file(Path::new("/home"), Timestamp::from_ms(1_777_888_999_123));
        assert_eq!(file, Path::new("/home/backups/patchbay-20260504T100319Z.tar.gz"));
    }
}
