use model::{Clock, FixedClock};
use tokio::sync::mpsc;

use super::*;
use crate::sample::{Home, Sample};

/// Far longer than any event takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(30);

type Outcomes = mpsc::Receiver<Result<Vec<String>, String>>;

struct Watched {
    home: Home,
    live: Arc<Live<Sample>>,
    outcomes: Outcomes,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

fn watched(text: &str) -> Watched {
    let home = Home::with(text);
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::at(0));
    let live = Arc::new(Live::<Sample>::start(home.layers(), clock).unwrap());
    watching(home, live)
}

fn watching(home: Home, live: Arc<Live<Sample>>) -> Watched {
    // Full: the watcher waits, as it does for any slow callback.
    let (report, outcomes) = mpsc::channel(8);
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    watch(Arc::clone(&live), SHORT, &tracker, cancel.clone(), move |outcome| {
        let report = report.clone();
        async move {
            let told = outcome.map(|reloaded| reloaded.changed_keys).map_err(|problems| problems.to_string());
            let _ = report.send(told).await;
        }
    });
    Watched { home, live, outcomes, tracker, cancel }
}

impl Watched {
    async fn next(&mut self) -> Result<Vec<String>, String> {
        tokio::time::timeout(PATIENCE, self.outcomes.recv()).await.expect("an outcome in time").expect("a watcher")
    }

    async fn end(mut self) {
        self.cancel.cancel();
        self.tracker.close();
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.expect("the task ends when cancelled");
        assert_eq!(self.outcomes.recv().await, None, "nothing more was reported");
    }
}

#[tokio::test]
async fn a_saved_file_is_loaded() {
    let mut watched = watched("[store]\nreaders = 5\n");
    watched.home.write("[store]\nreaders = 6\n");
    assert_eq!(watched.next().await, Ok(vec!["store.readers".to_owned()]));
    assert_eq!(watched.live.current().store.readers, 6);
    watched.end().await;
}

#[tokio::test]
async fn a_file_that_is_renamed_over_the_old_one_is_loaded() {
    let mut watched = watched("[store]\nreaders = 5\n");
    for readers in [7, 8] {
        let draft = watched.home.path.join("config.toml~");
        std::fs::write(&draft, format!("[store]\nreaders = {readers}\n")).unwrap();
        std::fs::rename(&draft, &watched.home.file).unwrap();
        assert_eq!(watched.next().await, Ok(vec!["store.readers".to_owned()]));
        assert_eq!(watched.live.current().store.readers, readers);
    }
    watched.end().await;
}

#[tokio::test]
async fn a_broken_file_is_told_and_the_next_good_one_is_loaded() {
    let mut watched = watched("[store]\nreaders = 5\n");
    watched.home.write("[store]\nreadres = 6\n");
    let problem = watched.next().await.unwrap_err();
    assert!(problem.ends_with("config.toml:2: store.readres: unknown key; did you mean `readers`?"), "{problem}");
    assert_eq!(watched.live.current().store.readers, 5);
    watched.home.write("[store]\nreaders = 6\n");
    assert_eq!(watched.next().await, Ok(vec!["store.readers".to_owned()]));
    watched.end().await;
}

#[tokio::test]
async fn our_own_save_and_other_files_are_not_told() {
    let mut watched = watched("[store]\nreaders = 5\n");
    let mut edit = watched.live.edit().unwrap();
    edit.set("store.readers", &serde_json::json!(6)).unwrap();
    watched.live.save(&edit).unwrap();
    std::fs::write(watched.home.path.join("patchbay.db"), "x").unwrap();
    // The next thing told is the next edit, so nothing was told of the save.
    watched.home.write("[store]\nreaders = 6\n[auth]\nrequired = false\n");
    assert_eq!(watched.next().await, Ok(vec!["auth.required".to_owned()]));
    watched.end().await;
}

#[tokio::test]
async fn what_was_saved_before_watching_began_is_loaded() {
    let home = Home::with("[store]\nreaders = 5\n");
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::at(0));
    let live = Arc::new(Live::<Sample>::start(home.layers(), clock).unwrap());
    home.write("[store]\nreaders = 6\n");
    let mut watched = watching(home, live);
    assert_eq!(watched.next().await, Ok(vec!["store.readers".to_owned()]));
    watched.end().await;
}
