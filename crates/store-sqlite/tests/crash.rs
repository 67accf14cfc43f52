//! What is acknowledged survives `kill -9`.
//!
//! The test starts itself as a child that writes numbered rows and acknowledges each one over a
//! pipe once its commit has returned, kills it after a random number of acknowledgements, and looks
//! at what is there. Twenty times, on one database.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use model::{Cursor, Event, MessageId, NewMessage};
use serde_json::json;
use store::testkit::rows::{at, session};
use store::testkit::{Dice, read, write};
use store::{Document, MessagePage, Store, StoreError, Tx};
use store_sqlite::{SqliteOptions, SqliteStore};

const ROUNDS: u64 = 20;
const WRITERS: u64 = 8;
const FOLDER: &str = "PATCHBAY_CRASH_FOLDER";
const ROUND: &str = "PATCHBAY_CRASH_ROUND";
const KEY: &str = "agent:main:main";

fn open(folder: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(folder.join("crash.db"), SqliteOptions::default()).expect("opens"))
}

/// One row of each kind under one name; every hundredth also cuts the log.
fn unit(tx: &dyn Tx, name: &str, number: u64) -> Result<Cursor, StoreError> {
    tx.documents_mut().put("crash", &Document { id: name.to_owned(), body: json!(number), updated_at: at(1) })?;
    let session = session(KEY, 1);
    tx.messages_mut().append(
        (&session.key, &session.id),
        &MessageId::trusted(name),
        None,
        at(1),
        &NewMessage::user(name),
    )?;
    if number % 100 == 99 {
        tx.events_mut().prune(at(0), 500)?;
    }
    tx.events_mut().append(at(1), &Event::ConfigChanged { changed_keys: Vec::new(), source: name.to_owned() })
}

/// Not a test of its own: the child's half of the one below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test that kills it"]
async fn child() {
    let (Some(folder), Ok(round)) = (std::env::var_os(FOLDER).map(PathBuf::from), std::env::var(ROUND)) else {
        return;
    };
    let store = open(&folder);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, round) = (Arc::clone(&store), round.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let name = format!("{round}-{writer}-{number}");
                    let cursor = write(&store, {
                        let name = name.clone();
                        move |tx| unit(tx, &name, number)
                    })
                    .await;
                    // One call, so that the lines of two writers do not mix.
                    if std::io::stderr().write_all(format!("ack {name} {}\n", cursor.0).as_bytes()).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the writer runs until the process is killed");
    }
}

/// Starts the child, kills it once it has acknowledged `after` rows, and gives all it acknowledged.
fn acknowledged_before_death(folder: &Path, round: u64, after: u64) -> BTreeMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut acknowledged = BTreeMap::new();
    let mut others = String::new();
    for line in BufReader::new(child.stderr.take().expect("piped")).lines() {
        let line = line.expect("text");
        match line.strip_prefix("ack ").and_then(|rest| rest.split_once(' ')) {
            // The last line may be cut in the middle of its number, which is then no proof of anything.
            Some((name, cursor)) => _ = acknowledged.insert(name.to_owned(), cursor.parse().unwrap_or(0)),
            None => others.push_str(&line),
        }
        if acknowledged.len() as u64 >= after {
            // What is still in the pipe is read until its end; a second kill does nothing.
            child.kill().expect("kills");
        }
    }
    child.wait().expect("ends");
    assert!(acknowledged.len() as u64 >= after, "the child ended by itself: {others}");
    acknowledged
}

#[tokio::test]
async fn every_acknowledged_write_survives_a_kill() {
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let after = 1 + dice.roll(300);
        acknowledged.extend(acknowledged_before_death(folder.path(), round, after));

        let store = open(folder.path());
        let (documents, messages, log, bounds) = read(&store, |snapshot| {
            Ok((
                snapshot.documents().list("crash")?,
                snapshot.messages().page(&session(KEY, 1).id, &MessagePage::default())?,
                snapshot.events().after(Cursor(0), u32::MAX)?,
                snapshot.events().bounds()?,
            ))
        })
        .await;
        let place = format!("seed {seed}, round {round}");

        let cursors: Vec<u64> = log.iter().map(|stored| stored.cursor.0).collect();
        assert_eq!(cursors, (bounds.oldest.0..=bounds.newest.0).collect::<Vec<_>>(), "{place}: the log is contiguous");
        let mut rows: Vec<&str> = documents.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(rows.len() as u64, bounds.newest.0, "{place}: one cursor for each row, none given twice");
        let mut said: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(
            messages.iter().map(|message| message.seq).collect::<Vec<_>>(),
            (1..=messages.len() as i64).collect::<Vec<_>>()
        );
        rows.sort_unstable();
        said.sort_unstable();
        assert_eq!(rows, said, "{place}: a unit is there whole or not at all");

        let by_cursor: BTreeMap<u64, String> = log
            .into_iter()
            .map(|stored| match stored.event {
                Event::ConfigChanged { source, .. } => (stored.cursor.0, source),
                other => panic!("{place}: {other:?}"),
            })
            .collect();
        for (name, cursor) in &acknowledged {
            assert!(rows.binary_search(&name.as_str()).is_ok(), "{place}: {name} was acknowledged and is gone");
            let there = by_cursor.get(cursor);
            assert!(
                there.is_none_or(|there| there == name),
                "{place}: cursor {cursor} of {name} now tells of {there:?}"
            );
            assert!(there.is_some() || *cursor < bounds.oldest.0, "{place}: event {cursor} of {name} is gone");
        }
        store.close().await;
    }
    store_sqlite::integrity(&folder.path().join("crash.db")).expect("the file is whole");
}
