//! One file over HTTP, resumed where it was cut.
//!
//! Beside the growing `NAME.part` stands `NAME.tag` with the server's ETag, so that a file that changed
//! meanwhile is begun again instead of being sewn together.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};

use super::progress::Progress;

/// Goes on after so many cuts in a row that brought no byte.
const FRUITLESS_MAX: u32 = 2;

/// Downloads `url` to `to`. `bytes` is the size expected; a longer answer is refused before it fills the disk.
/// The error is the reason for a user, without the address.
pub async fn fetch(client: &Client, url: &str, to: &Path, bytes: u64, progress: &dyn Progress) -> Result<(), String> {
    let part = Part { file: with_ending(to, "part"), tag: with_ending(to, "tag") };
    let mut told = 0;
    let mut fruitless = 0;
    loop {
        let before = part.len();
        let outcome = attempt(client, url, &part, bytes, &mut told, progress).await;
        match outcome {
            Ok(()) => break,
            Err(Stop::Final(reason)) => return Err(reason),
            Err(Stop::Cut(reason)) => {
                fruitless = if part.len() > before { 0 } else { fruitless + 1 };
                if fruitless > FRUITLESS_MAX {
                    return Err(reason);
                }
            }
        }
    }
    std::fs::rename(&part.file, to).map_err(|error| error.to_string())?;
    let _ = std::fs::remove_file(&part.tag);
    Ok(())
}

struct Part {
    file: PathBuf,
    tag: PathBuf,
}

enum Stop {
    /// Asking again may help.
    Cut(String),
    Final(String),
}

impl Part {
    fn len(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |found| found.len())
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::remove_file(&self.tag);
    }
}

async fn attempt(
    client: &Client,
    url: &str,
    part: &Part,
    bytes: u64,
    told: &mut u64,
    progress: &dyn Progress,
) -> Result<(), Stop> {
    let disk = |error: std::io::Error| Stop::Final(error.to_string());
    if part.len() > bytes {
        part.forget();
    }
    let mut have = part.len();
    if have == bytes {
        return Ok(());
    }
    let tag = std::fs::read_to_string(&part.tag).ok();
    let mut request = client.get(url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
        if let Some(tag) = tag {
            request = request.header(IF_RANGE, tag);
        }
    }
    let response = request.send().await.map_err(|error| refused(&error))?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if continues_at(&response) == Some(have) => {}
        StatusCode::OK => have = 0,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            part.forget();
            return Err(Stop::Cut("the server cannot resume".into()));
        }
        status if status.is_server_error() => return Err(Stop::Cut(format!("the server answered {status}"))),
        status => return Err(Stop::Final(format!("the server answered {status}"))),
    }
    if let Some(tag) =
        response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| !tag.starts_with("W/"))
    {
        std::fs::write(&part.tag, tag).map_err(disk)?;
    }
    let mut file = open(&part.file, have).map_err(disk)?;
    let mut body = response.bytes_stream();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            Stop::Cut(format!("the download was cut after {have} of {bytes} bytes: {}", cause(&error)))
        })?;
        have += piece.len() as u64;
        if have > bytes {
            part.forget();
            return Err(Stop::Final(format!("the server sends more than the {bytes} bytes of this file")));
        }
        file.write_all(&piece).map_err(disk)?;
        // Bytes that are fetched a second time are not told a second time.
        progress.advance(have.saturating_sub(*told));
        *told = (*told).max(have);
    }
    file.sync_all().map_err(disk)?;
    if have < bytes {
        return Err(Stop::Cut(format!("the download ended after {have} of {bytes} bytes")));
    }
    Ok(())
}

/// The start of `Content-Range: bytes 100-199/200`.
fn continues_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn open(path: &Path, keep: u64) -> std::io::Result<File> {
    if keep == 0 {
        return File::create(path);
    }
    OpenOptions::new().append(true).open(path)
}

/// A host that cannot be reached is not asked again: the next source is quicker.
fn refused(error: &reqwest::Error) -> Stop {
    let reason = if error.is_connect() || error.is_timeout() {
        format!("no connection: {}", cause(error))
    } else {
        cause(error)
    };
    Stop::Final(reason)
}

/// The innermost cause says what happened; the outer layers only say that something did.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
