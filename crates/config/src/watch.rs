//! Reloading when the file is saved.
//!
//! The file is looked at now and then instead of being announced by the system: its folder also
//! holds the database, and announcements for a folder are made for each of its writes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::{Live, Reloaded};
use crate::problem::Problems;
use crate::root::Root;

/// How often the file is looked at, and how long it must be left alone before it is read: editors
/// save in several steps.
pub const DEBOUNCE: Duration = Duration::from_millis(500);

/// A file that never rests is read after this many debounce times all the same.
const DEBOUNCES_MAX: u32 = 10;

/// Watches the file of `live` and reloads when its content changed and then rested for `debounce`.
///
/// What the path leads to counts, so a new file renamed over the old one and a link that is turned
/// to another file are seen. `on_reload` gets each result and is awaited before the next; a failed
/// reload leaves the configuration in force. The task is owned by `tracker` and ends with `cancel`.
pub fn watch<T, F, Done>(
    live: Arc<Live<T>>,
    debounce: Duration,
    tracker: &TaskTracker,
    cancel: CancellationToken,
    on_reload: F,
) where
    T: Root,
    F: Fn(Result<Reloaded<T>, Problems>) -> Done + Send + Sync + 'static,
    Done: Future<Output = ()> + Send,
{
    let watching = async move {
        let file = live.layers().file().to_owned();
        let mut looks = interval(debounce);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first look is for what was saved between the load and now.
        let mut seen = None;
        loop {
            looks.tick().await;
            let now = Some(Look::at(&file));
            if now == seen {
                continue;
            }
            seen = rested(&file, now, debounce).await;
            let at_work = Arc::clone(&live);
            match tokio::task::spawn_blocking(move || at_work.reload_if_edited()).await {
                Ok(Some(outcome)) => on_reload(outcome).await,
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "reloading the configuration panicked"),
            }
        }
    };
    tracker.spawn(async move { cancel.run_until_cancelled(watching).await });
}

/// The file once two looks found the same, or have gone on for too long. What is written after the
/// last look is seen by the next.
async fn rested(file: &Path, mut seen: Option<Look>, debounce: Duration) -> Option<Look> {
    for _ in 0..DEBOUNCES_MAX {
        tokio::time::sleep(debounce).await;
        let now = Some(Look::at(file));
        if now == seen {
            break;
        }
        seen = now;
    }
    seen
}

/// What changes when a file is written or another takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Absent,
    There { place: (u64, u64), length: u64, changed: (i64, i64) },
}

impl Look {
    fn at(file: &Path) -> Self {
        std::fs::metadata(file).map_or(Look::Absent, |found| Look::of(&found))
    }

    fn of(found: &Metadata) -> Self {
        Look::There {
            place: (found.dev(), found.ino()),
            length: found.size(),
            // The time of the last change cannot be set back, as that of the content can.
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests;
