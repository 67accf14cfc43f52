//! What is installed: one folder for each model under the models folder, with a `manifest.json`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::catalogue::{CHAT_FILE, DEFAULT, DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDER, DEFAULT_EMBEDDER_MODEL, ModelKind};

pub const MANIFEST_FILE: &str = "manifest.json";
/// Downloads, locks and half-made folders live here, out of sight of [`list`].
pub const STAGING_FOLDER: &str = ".staging";

/// `manifest.json` of an installed model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    pub kind: ModelKind,
    pub about: String,
    pub licence: String,
    /// Where it came from: a web address, a wheel, or `file`.
    pub source: String,
    pub files: Vec<InstalledFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    pub name: String,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// A model on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub folder: PathBuf,
    pub manifest: Manifest,
}

impl Installed {
    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.bytes).sum()
    }

    /// The GGUF file of a chat model.
    pub fn chat_file(&self) -> PathBuf {
        self.folder.join(CHAT_FILE)
    }

    /// Reads every file; takes about a second for a gigabyte.
    pub fn is_intact(&self) -> bool {
        self.manifest.files.iter().all(|file| {
            let path = self.folder.join(&file.name);
            let same_size = std::fs::metadata(&path).is_ok_and(|found| found.len() == file.bytes);
            same_size && sha256_of(&path).is_ok_and(|found| found == file.sha256)
        })
    }
}

/// Everything installed under `models_dir`, by name. Folders without a readable manifest are passed over.
pub fn list(models_dir: &Path) -> Vec<Installed> {
    let Ok(entries) = std::fs::read_dir(models_dir) else { return Vec::new() };
    let mut installed: Vec<Installed> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .filter_map(|entry| read(&entry.path()))
        .collect();
    installed.sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
    installed
}

/// The model in one folder.
pub fn read(folder: &Path) -> Option<Installed> {
    let text = std::fs::read(folder.join(MANIFEST_FILE)).ok()?;
    let manifest = serde_json::from_slice::<Manifest>(&text)
        .inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "a model's manifest is not readable"))
        .ok()?;
    Some(Installed { folder: folder.to_owned(), manifest })
}

/// The installed model that a name stands for. `default` is the catalogue's default chat model, or the first
/// other one when only imported models are there.
pub fn find(models_dir: &Path, name: &str, kind: ModelKind) -> Option<Installed> {
    let of_kind = || list(models_dir).into_iter().filter(|model| model.manifest.kind == kind);
    let (alias, usual) = match kind {
        ModelKind::Chat => (DEFAULT, DEFAULT_CHAT_MODEL),
        ModelKind::Embedder => (DEFAULT_EMBEDDER, DEFAULT_EMBEDDER_MODEL),
    };
    if name != alias && !(name == DEFAULT && kind == ModelKind::Embedder) {
        return of_kind().find(|model| model.manifest.name == name);
    }
    of_kind().find(|model| model.manifest.name == usual).or_else(|| of_kind().next())
}

pub fn write(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
    std::fs::write(folder.join(MANIFEST_FILE), text)
}

/// Lower-case hex.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}
