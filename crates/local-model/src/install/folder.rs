//! The folder of a model: made beside its place, renamed into it, locked meanwhile.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::InstallError;
use super::progress::Progress;
use crate::catalogue::{CHAT_FILE, ModelKind};
use crate::chat_model;
use crate::manifest::{self, Installed, InstalledFile, Manifest, STAGING_FOLDER, sha256_of};
use crate::repack::{repack, wants_repack};

/// Makes the finished folder out of the staged files and renames it into place.
pub(crate) async fn place(
    models_dir: &Path,
    staging: &Path,
    mut manifest: Manifest,
    progress: &dyn Progress,
) -> Result<Installed, InstallError> {
    progress.begin(&format!("prepare {}", manifest.name), None);
    let (staging, folder) = (staging.to_owned(), models_dir.join(&manifest.name));
    let placed = blocking(move || {
        let ready = staging.join("ready");
        fresh_folder(&ready)?;
        let names: &[&str] = match manifest.kind {
            ModelKind::Chat => &[CHAT_FILE],
            ModelKind::Embedder => &crate::catalogue::EMBEDDER_FILES,
        };
        for name in names {
            prepare(manifest.kind, &staging.join(name), &ready.join(name))?;
            let path = ready.join(name);
            let bytes = std::fs::metadata(&path).map_err(disk(&path))?.len();
            let sha256 = sha256_of(&path).map_err(disk(&path))?;
            manifest.files.push(InstalledFile { name: (*name).to_owned(), bytes, sha256 });
        }
        manifest::write(&ready, &manifest).map_err(disk(&ready))?;
        swap(&ready, &folder, &staging)?;
        Ok(Installed { folder, manifest })
    })
    .await;
    progress.finish();
    placed
}

/// One staged file into the finished folder: a chat model is checked, and re-packed when that makes it faster.
fn prepare(kind: ModelKind, from: &Path, to: &Path) -> Result<(), InstallError> {
    if kind == ModelKind::Chat && wants_repack(from)? {
        repack(from, to)?;
    } else {
        std::fs::rename(from, to).map_err(disk(from))?;
    }
    if kind == ModelKind::Chat {
        chat_model::inspect(to)?;
    }
    File::open(to).and_then(|file| file.sync_all()).map_err(disk(to))
}

/// Renames `ready` to `folder`; an older folder is moved away first and deleted with the staging folder.
fn swap(ready: &Path, folder: &Path, staging: &Path) -> Result<(), InstallError> {
    let old = staging.join("old");
    if folder.exists() {
        fresh_folder(&old)?;
        std::fs::rename(folder, old.join("model")).map_err(disk(folder))?;
    }
    std::fs::rename(ready, folder).map_err(disk(folder))?;
    std::fs::remove_dir_all(staging).map_err(disk(staging))
}

fn fresh_folder(path: &Path) -> Result<(), InstallError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(path)(error)),
        _ => {}
    }
    std::fs::create_dir_all(path).map_err(disk(path))
}

pub(crate) fn staging(models_dir: &Path, name: &str) -> Result<PathBuf, InstallError> {
    let path = models_dir.join(STAGING_FOLDER).join(name);
    std::fs::create_dir_all(&path).map_err(disk(&path))?;
    Ok(path)
}

/// Held for as long as a model's folder is worked on, over all processes.
pub(crate) fn lock(models_dir: &Path, name: &str) -> Result<File, InstallError> {
    let folder = models_dir.join(STAGING_FOLDER);
    std::fs::create_dir_all(&folder).map_err(disk(&folder))?;
    let path = folder.join(format!("{name}.lock"));
    let file = File::create(&path).map_err(disk(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(InstallError::Busy { name: name.to_owned() }),
        Err(TryLockError::Error(error)) => Err(disk(&path)(error)),
    }
}

pub(crate) fn disk(path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path = path.to_owned();
    move |source| InstallError::Disk { path: path.clone(), source }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
