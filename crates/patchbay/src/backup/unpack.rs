//! Reading an archive that may be anything.
//!
//! What is read is held to the manifest: nothing that it does not name, nothing longer than it says,
//! nothing with another hash, and nothing missing. Only plain files are taken.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use tar::Entry;

use super::archive::create_private;
use super::disk::with_path;
use super::hashing::Failed;
use super::manifest::{self, FileEntry, Manifest};
use super::{Progress, hashing};

/// What may stand between the contents of two entries, in bytes: headers and long names.
const BETWEEN_MAX: u64 = 64 * 1024;

/// A stream that ends in an error when more comes than was allowed.
struct Metered<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = usize::try_from(self.allowance.get()).unwrap_or(usize::MAX).min(buffer.len());
        if allowed == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds more than its manifest says"));
        }
        let count = self.inner.read(&mut buffer[..allowed])?;
        self.allowance.set(self.allowance.get() - count as u64);
        Ok(count)
    }
}

/// Reads all of the archive at `path` and checks it.
///
/// `accept` sees the manifest before anything else is read. Entries for which `keep` gives a path are
/// written there, as new files; of all others only the hash is checked.
pub fn unpack(
    path: &Path,
    accept: impl FnOnce(&Manifest) -> anyhow::Result<()>,
    keep: impl Fn(&str) -> Option<PathBuf>,
    progress: &dyn Progress,
) -> anyhow::Result<Manifest> {
    let read = || format!("cannot restore {}", path.display());
    read_all(path, accept, keep, progress).with_context(read)
}

fn read_all(
    path: &Path,
    accept: impl FnOnce(&Manifest) -> anyhow::Result<()>,
    keep: impl Fn(&str) -> Option<PathBuf>,
    progress: &dyn Progress,
) -> anyhow::Result<Manifest> {
    let file = File::open(path)?;
    let allowance = Rc::new(Cell::new(BETWEEN_MAX));
    let inner = MultiGzDecoder::new(BufReader::with_capacity(hashing::CHUNK, file));
    let mut archive = tar::Archive::new(Metered { inner, allowance: Rc::clone(&allowance) });
    let mut entries = archive.entries()?;
    let first = entries.next().context("it is no backup of patchbay: it is empty")?;
    let mut first = first.context("it is no backup of patchbay")?;
    let manifest = read_manifest(&mut first, &allowance)?;
    accept(&manifest)?;
    progress.begin("reading", Some(manifest.bytes()));
    let known: HashMap<&str, &FileEntry> = manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut seen = HashSet::new();
    loop {
        allowance.set(BETWEEN_MAX);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.context("it is damaged")?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(told) = known.get(name.as_str()) else {
            bail!("it holds `{}`, which its manifest does not name", name.escape_debug());
        };
        if !entry.header().entry_type().is_file() {
            bail!("`{name}` in it is no plain file");
        }
        if entry.size() != told.bytes {
            bail!("`{name}` in it has {} bytes, its manifest says {}", entry.size(), told.bytes);
        }
        if !seen.insert(told.path.as_str()) {
            bail!("it holds `{name}` twice");
        }
        allowance.set(told.bytes.saturating_add(BETWEEN_MAX));
        take(&mut entry, told, keep(&name), progress)?;
    }
    if let Some(missing) = manifest.files.iter().find(|file| !seen.contains(file.path.as_str())) {
        bail!("it ends before `{}`", missing.path);
    }
    allowance.set(BETWEEN_MAX);
    // The sum at the end of the stream is checked by reading up to it.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("it is damaged")?;
    progress.finish();
    Ok(manifest)
}

fn read_manifest(entry: &mut Entry<'_, impl Read>, allowance: &Cell<u64>) -> anyhow::Result<Manifest> {
    if &*entry.path_bytes() != manifest::NAME.as_bytes() || !entry.header().entry_type().is_file() {
        bail!("it is no backup of patchbay: it does not begin with {}", manifest::NAME);
    }
    if entry.size() > manifest::BYTES_MAX {
        bail!("its manifest is longer than {} MiB", manifest::BYTES_MAX >> 20);
    }
    allowance.set(entry.size() + BETWEEN_MAX);
    let mut text = Vec::new();
    entry.read_to_end(&mut text).context("it is damaged")?;
    Manifest::parse(&text)
}

fn take(
    entry: &mut Entry<'_, impl Read>,
    told: &FileEntry,
    to: Option<PathBuf>,
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    let (bytes, sha256) = match &to {
        None => {
            hashing::copy(entry, &mut io::sink(), progress).map_err(|failed| blame(failed, Path::new(&told.path)))?
        }
        Some(to) => {
            if let Some(parent) = to.parent() {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
                made.map_err(|error| with_path(error, parent))?;
            }
            let mut file = create_private(to)?;
            let copied = hashing::copy(entry, &mut file, progress).map_err(|failed| blame(failed, to))?;
            let modified = UNIX_EPOCH.checked_add(Duration::from_secs(entry.header().mtime().unwrap_or(0)));
            if let Some(modified) = modified {
                file.set_modified(modified).map_err(|error| with_path(error, to))?;
            }
            let mode = mode(&told.path, entry.header().mode().unwrap_or(0));
            file.set_permissions(Permissions::from_mode(mode)).map_err(|error| with_path(error, to))?;
            copied
        }
    };
    if bytes != told.bytes || sha256 != told.sha256 {
        bail!("it is damaged: `{}` is not what its manifest says", told.path);
    }
    Ok(())
}

fn blame(failed: Failed, to: &Path) -> anyhow::Error {
    match failed {
        Failed::Read(error) => anyhow::Error::from(error).context("it is damaged"),
        Failed::Write(error) => with_path(error, to).into(),
    }
}

/// Whoever owns the home reads and writes all of it, and nobody else writes. What lies directly in the home
/// or in the database, secrets among it, is the owner's alone.
fn mode(path: &str, told: u32) -> u32 {
    let is_private = path.split('/').count() == 2;
    (told & if is_private { 0o700 } else { 0o755 }) | 0o600
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_opens_nothing_to_others() {
        assert_eq!(mode("home/admin.token", 0o666), 0o600);
        assert_eq!(mode("database/patchbay.db", 0o644), 0o600);
        assert_eq!(mode("home/agents/main/run.sh", 0o755), 0o755);
        assert_eq!(mode("home/agents/main/run.sh", 0o6777), 0o755);
        assert_eq!(mode("home/agents/main/a.txt", 0), 0o600);
    }
}
