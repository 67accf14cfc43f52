//! Putting a backup back.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use model::Timestamp;
use toml_edit::DocumentMut;

use super::manifest::{DATABASE, HOME, Manifest};
use super::swap::{STAGING, Swap};
use super::target::Target;
use super::{Progress, database, disk, home, make, unpack};
use crate::configuration::layers;
use crate::home::{FIRST_CONFIG, Home};
use crate::settings::{Settings, StoreSettings};

/// What is to be restored, and where to.
pub struct Restore<'a> {
    pub home: &'a Home,
    pub file: &'a Path,
    /// The database, unless it is to be the one that the restored configuration names.
    pub store: Option<String>,
    /// Puts aside what the home holds.
    pub replace: bool,
    pub new_cluster: bool,
    pub now: Timestamp,
}

pub struct Restored {
    pub manifest: Manifest,
    /// Where the rows are now, without a password.
    pub database: String,
    /// Where what was there before is now.
    pub aside: Option<PathBuf>,
}

/// Restores a backup: all of it, or nothing.
///
/// Everything is unpacked and checked in a folder inside the home first, the database is brought up to
/// date there, and then moved into place by renames, which are undone when one of them fails.
pub fn restore(order: &Restore<'_>, progress: &dyn Progress) -> anyhow::Result<Restored> {
    let path = order.home.path();
    let is_new = !path.exists();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    let restored = alone(order, progress);
    // What was made on the way goes, unless there is something that could not be taken back.
    if is_new && restored.is_err() && content(path).is_ok_and(|content| content.is_none()) {
        // The error of the restore is the one to tell.
        let _ = fs::remove_dir_all(path);
    }
    restored
}

/// Nobody else works on the home, neither a gateway nor another restore.
fn alone(order: &Restore<'_>, progress: &dyn Progress) -> anyhow::Result<Restored> {
    let path = order.home.path();
    if let Some(running) = order.home.running() {
        bail!(
            "a gateway runs on {} (process {}); stop it first, or restore into another home",
            path.display(),
            running.pid
        );
    }
    let lock = File::open(path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another restore works on {}", path.display()),
        Err(TryLockError::Error(error)) => return Err(disk::with_path(error, path).into()),
    }
    if !order.replace
        && let Some(name) = content(path)?
    {
        bail!(
            "{} holds data already, `{name}` for one; restore into another home, or put what is there aside with \
             --replace",
            path.display()
        );
    }
    let staging = path.join(STAGING);
    remove(&staging)?;
    fs::DirBuilder::new().mode(0o700).create(&staging)?;
    let restored = staged(order, &staging, progress);
    // What matters is told already, and the next restore begins by removing it.
    let _ = fs::remove_dir_all(&staging);
    restored
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk::with_path(error, folder)),
        _ => Ok(()),
    }
}

/// The name of something in the home that is worth keeping. The configuration of a first start is not.
fn content(path: &Path) -> io::Result<Option<String>> {
    let found = home::walk(path, None)?;
    let is_content = |name: &&String| match name.as_str() {
        "config.toml" => !fs::read_to_string(path.join(name)).is_ok_and(|text| text == FIRST_CONFIG),
        // A lock is left behind by whoever had the database open.
        name => name.contains('/') || !name.ends_with(".lock"),
    };
    Ok(found.files.iter().chain(&found.passed_over).find(is_content).cloned())
}

fn staged(order: &Restore<'_>, staging: &Path, progress: &dyn Progress) -> anyhow::Result<Restored> {
    let path = order.home.path();
    let accept = |manifest: &Manifest| {
        manifest.check_schema(database::known_schema(manifest.store))?;
        disk::check(staging, manifest.bytes())
    };
    let unpacked = unpack::unpack(order.file, accept, |path| Some(staging.join(path)), progress);
    let manifest = unpacked.map_err(|error| disk::explain(error, path))?;
    progress.begin("checking the database", None);
    database::check(&manifest, &staging.join(DATABASE))
        .with_context(|| format!("cannot restore {}", order.file.display()))?;
    let (home_from, database_from) = (staging.join(HOME), staging.join(DATABASE));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&home_from)?;
    let store = chosen_store(order, &home_from)?;
    let mut target = Target::hold(&store.place(path))?;
    let ready = database::prepare(&database_from, order.new_cluster).map_err(|error| disk::explain(error, path))?;
    target.fill(&ready, progress)?;
    progress.finish();

    // Everything is on the disk before anything gets its name.
    rustix::fs::syncfs(File::open(staging)?)?;
    let (database, mut swap) = (target.to_string(), Swap::default());
    // Without success the target is held until all is back where it was.
    let placed = match put_in_place(order, staging, target.lock(), &mut swap) {
        Ok(aside) => target.take(&ready, &mut swap).map(|()| aside),
        Err(error) => Err(error),
    };
    match placed {
        Ok(aside) => Ok(Restored { manifest, database, aside }),
        Err(error) => Err(match swap.undo() {
            Ok(()) => error.context("nothing was restored"),
            Err(undo) => error.context(format!("the home is left half restored, because {undo}")),
        }),
    }
}

/// Where the database goes. A place that was named is written into the restored configuration, so that
/// the next gateway finds it.
fn chosen_store(order: &Restore<'_>, unpacked: &Path) -> anyhow::Result<StoreSettings> {
    let config = unpacked.join("config.toml");
    if let Some(url) = &order.store {
        let store = StoreSettings { url: url.clone() };
        if let Some(problem) = store.problem() {
            bail!("--store {problem}");
        }
        let text = if config.exists() { fs::read_to_string(&config)? } else { String::from(FIRST_CONFIG) };
        let mut document: DocumentMut = text.parse().context("the configuration in the backup cannot be read")?;
        document["store"].or_insert(toml_edit::table())["url"] = toml_edit::value(url.as_str());
        // It may hold a password by now.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&config)?;
        file.write_all(document.to_string().as_bytes())?;
        return Ok(store);
    }
    match layers(order.home.path(), config.clone()).load::<Settings>() {
        Ok(loaded) => Ok(loaded.config.store.clone()),
        // What it takes from the environment may not be there yet; the place of the database often is.
        Err(problems) => plain_store(&config).with_context(|| {
            format!("the configuration in the backup has mistakes; name the database with --store: {problems}")
        }),
    }
}

/// The place of the database as it stands in the file, unless it takes something from elsewhere.
fn plain_store(config: &Path) -> Option<StoreSettings> {
    let document: DocumentMut = fs::read_to_string(config).ok()?.parse().ok()?;
    let Some(url) = document.get("store").and_then(|store| store.get("url")) else {
        return Some(StoreSettings::default());
    };
    let store = StoreSettings { url: url.as_str().filter(|url| !url.contains("${"))?.to_owned() };
    store.problem().is_none().then_some(store)
}

/// Moves what is there aside, but for the lock that is held, and the unpacked files into place; gives where the
/// former is, if it was kept.
fn put_in_place(
    order: &Restore<'_>,
    staging: &Path,
    lock: Option<PathBuf>,
    swap: &mut Swap,
) -> anyhow::Result<Option<PathBuf>> {
    let path = order.home.path();
    // The token of the operator is about to be in it.
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|error| disk::with_path(error, path))?;
    let kept = path.join("backups").join(format!("before-restore-{}", make::stamp(order.now)));
    let aside = if order.replace { kept.clone() } else { staging.join("aside") };
    let mut is_kept = false;
    for name in home::top(path)? {
        if lock.as_ref() != Some(&path.join(&name)) {
            swap.rename(&path.join(&name), &aside.join(&name))?;
            is_kept = order.replace;
        }
    }
    let home_from = staging.join(HOME);
    for name in home::top(&home_from)? {
        swap.rename(&home_from.join(&name), &path.join(&name))?;
    }
    rustix::fs::syncfs(File::open(path)?)?;
    Ok(is_kept.then_some(kept))
}
