//! Reloading when the file is saved.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::{Live, Reloaded};
use crate::problem::Problems;
use crate::root::Root;

/// How long the file must be left alone before it is read: editors save in several steps.
pub const DEBOUNCE: Duration = Duration::from_millis(500);

/// A file that never rests is read after this many debounce times all the same.
const DEBOUNCES_MAX: u32 = 10;

#[derive(Debug, thiserror::Error)]
#[error("the folder `{}` cannot be watched: {source}", folder.display())]
pub struct WatchError {
    pub folder: PathBuf,
    source: notify::Error,
}

/// Watches the file of `live` and reloads when its content changed and then rested for `debounce`.
///
/// The folder is watched, not the file: most editors save by renaming a new file over the old one.
/// `on_reload` gets each result and is awaited before the next; a failed reload leaves the
/// configuration in force. The task is owned by `tracker` and ends with `cancel`.
pub fn watch<T, F, Done>(
    live: Arc<Live<T>>,
    debounce: Duration,
    tracker: &TaskTracker,
    cancel: CancellationToken,
    on_reload: F,
) -> Result<(), WatchError>
where
    T: Root,
    F: Fn(Result<Reloaded<T>, Problems>) -> Done + Send + Sync + 'static,
    Done: Future<Output = ()> + Send,
{
    // Room for one: a wake-up that waits stands for all that come until it is taken.
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let watcher = watch_folders(live.layers().file(), wake.clone())?;
    // The first look is for what was saved between the load and now. The room is empty.
    let _ = wake.try_send(());
    drop(wake);
    tracker.spawn(async move {
        // Dropping the watcher ends the events.
        let _watcher = watcher;
        while wait(&mut woken, &cancel).await {
            if !rest(&mut woken, debounce, &cancel).await {
                return;
            }
            let at_work = Arc::clone(&live);
            match tokio::task::spawn_blocking(move || at_work.reload_if_edited()).await {
                Ok(Some(outcome)) => on_reload(outcome).await,
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "reloading the configuration panicked"),
            }
        }
    });
    Ok(())
}

fn watch_folders(file: &Path, wake: mpsc::Sender<()>) -> Result<RecommendedWatcher, WatchError> {
    let name = file.file_name().unwrap_or_default().to_owned();
    let mut files = vec![file.to_owned()];
    // Where the file is a link, what it leads to may be saved in its own folder.
    files.extend(std::fs::canonicalize(file).ok().filter(|target| target != file));
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).map(ToOwned::to_owned).chain([name]).collect();
    let mut folders: Vec<PathBuf> = files.iter().map(|file| folder_of(file)).collect();
    folders.dedup();

    let failed = |source| WatchError { folder: folder_of(file), source };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
        Ok(event) if concerns(&event, &names) => {
            // Full means that a wake-up waits already.
            let _ = wake.try_send(());
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "watching the configuration file failed"),
    })
    .map_err(failed)?;
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(|source| WatchError { folder, source })?;
    }
    Ok(watcher)
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether the event can mean that the file's content changed. Reading it, as we do, must not count.
fn concerns(event: &Event, names: &[std::ffi::OsString]) -> bool {
    let writes = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    // A mounted folder of a cluster swaps the link `..data` instead of the file; events may be lost
    // when there are too many, and then name nothing.
    let ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| name == "..data" || names.iter().any(|n| n == name));
    writes && (event.paths.is_empty() || event.paths.iter().any(ours))
}

async fn wait(woken: &mut mpsc::Receiver<()>, cancel: &CancellationToken) -> bool {
    tokio::select! {
        () = cancel.cancelled() => false,
        wake = woken.recv() => wake.is_some(),
    }
}

/// Waits until nothing came for `debounce`; `false` when cancelled.
async fn rest(woken: &mut mpsc::Receiver<()>, debounce: Duration, cancel: &CancellationToken) -> bool {
    let at_last = tokio::time::sleep(debounce * DEBOUNCES_MAX);
    tokio::pin!(at_last);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return false,
            () = &mut at_last => return true,
            () = tokio::time::sleep(debounce) => return true,
            wake = woken.recv() => if wake.is_none() { return true },
        }
    }
}

#[cfg(test)]
mod tests;
