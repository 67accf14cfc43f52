//! What becomes of a batch when the disk or the transaction fails under it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use model::{Cursor, Event, RunId, Timestamp, ToolCallRecord, ToolCallState};
use serde_json::json;
use store::{Announce, Document, EventQueries, StoredEvent, Tx};

use super::*;
use crate::SqliteOptions;

thread_local! {
    /// The connection under test, for units that sabotage it.
    static DATABASE: RefCell<Option<Rc<Database>>> = const { RefCell::new(None) };
}

/// Name and outcome of each unit, in the order in which they were told.
type Told = Arc<Mutex<Vec<(&'static str, Result<(), StoreError>)>>>;

/// A writer whose batches run on the test's own thread.
struct Bench {
    _folder: tempfile::TempDir,
    database: Rc<Database>,
    orders: Orders,
    heard: Arc<Heard>,
    told: Told,
}

#[derive(Default)]
struct Heard(Mutex<Vec<Cursor>>);

impl Announce for Heard {
    fn committed(&self, events: Vec<StoredEvent>) {
        self.0.lock().expect("no panic").extend(events.iter().map(|stored| stored.cursor));
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let database = Database::open_writer(&folder.path().join("w.db"), &SqliteOptions::default()).expect("opens");
        crate::migrate::migrate(&database).expect("migrates");
        let database = Rc::new(database);
        DATABASE.set(Some(Rc::clone(&database)));
        let heard = Arc::new(Heard::default());
        let orders = Orders::default();
        assert!(orders.listener.set(heard.clone()).is_ok());
        Self { _folder: folder, database, orders, heard, told: Arc::default() }
    }

    /// A unit that writes a document and an event, and then does `more`.
    fn unit(
        &self,
        name: &'static str,
        more: impl FnOnce(&dyn Tx) -> Result<(), StoreError> + Send + 'static,
    ) -> WriteJob {
        let told = Arc::clone(&self.told);
        Box::new(move |tx| {
            let done = tx.and_then(|tx| {
                tx.documents_mut().put(
                    "test",
                    &Document { id: name.to_owned(), body: json!(1), updated_at: Timestamp::from_ms(1) },
                )?;
                let event = Event::ConfigChanged { changed_keys: Vec::new(), source: name.to_owned() };
                tx.events_mut().append(Timestamp::from_ms(1), &event)?;
                more(tx)
            });
            match done {
                Ok(()) => {
                    Outcome::Commit(Box::new(move |committed| told.lock().expect("no panic").push((name, committed))))
                }
                Err(error) => {
                    Outcome::Rollback(Box::new(move |_| told.lock().expect("no panic").push((name, Err(error)))))
                }
            }
        })
    }

    fn run(&self, jobs: Vec<WriteJob>) {
        let mut jobs = VecDeque::from(jobs);
        while !jobs.is_empty() {
            Batch::new(&self.database, &self.orders, jobs.len()).run(&mut jobs);
        }
        assert!(!self.database.in_transaction());
    }

    /// What was told since the last call.
    fn outcomes(&self) -> Vec<(&'static str, bool)> {
        self.told.lock().expect("no panic").drain(..).map(|(name, result)| (name, result.is_ok())).collect()
    }

    fn documents(&self) -> Vec<String> {
        let sql = "SELECT document_id FROM documents ORDER BY document_id";
        self.database.rows(sql, [], |row| row.get(0)).expect("reads")
    }

    /// Cursors and sources in the log must be what was announced.
    fn log(&self) -> Vec<(u64, String)> {
        let log = EventQueries::after(&*self.database, Cursor(0), 1000).expect("reads");
        let announced = self.heard.0.lock().expect("no panic").clone();
        assert_eq!(announced, log.iter().map(|stored| stored.cursor).collect::<Vec<_>>());
        log.into_iter()
            .map(|stored| match stored.event {
                Event::ConfigChanged { source, .. } => (stored.cursor.0, source),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn pragma(&self, sql: &str) {
        self.database.sqlite().prepare(sql).expect("known").query([]).expect("runs").next().expect("steps");
    }
}

fn fine(_: &dyn Tx) -> Result<(), StoreError> {
    Ok(())
}

#[test]
fn a_full_disk_fails_those_it_hits_and_the_writer_lives_on() {
    let bench = Bench::new();
    bench.run(vec![bench.unit("a", fine)]);
    let big = |tx: &dyn Tx| {
        let body = json!("x".repeat(1 << 20));
        tx.documents_mut().put("test", &Document { id: "big".into(), body, updated_at: Timestamp::from_ms(1) })
    };
    let pages = bench.database.number("PRAGMA page_count", []).expect("reads");
    bench.pragma(&format!("PRAGMA max_page_count = {}", pages + 8));
    bench.run(vec![bench.unit("b", fine), bench.unit("full", big), bench.unit("c", fine)]);
    let outcomes = bench.outcomes();
    assert_eq!(outcomes.iter().filter(|(name, _)| *name == "full").collect::<Vec<_>>(), [&("full", false)]);
    assert_eq!(outcomes.len(), 4, "each unit is told once: {outcomes:?}");
    bench.run(vec![bench.unit("alone", big)]);
    assert_eq!(bench.outcomes(), [("alone", false)]);

    bench.pragma("PRAGMA max_page_count = 1000000");
    bench.run(vec![bench.unit("d", big)]);
    assert_eq!(bench.outcomes(), [("d", true)]);
    let kept: Vec<&str> = outcomes.iter().filter(|(_, kept)| *kept).map(|(name, _)| *name).chain(["d"]).collect();
    let expected: Vec<(u64, String)> = (1..).zip(kept.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(bench.log(), expected, "what was told is what is there");
    let mut documents: Vec<String> = kept.iter().map(|name| (*name).to_owned()).chain(["big".into()]).collect();
    documents.sort();
    assert_eq!(bench.documents(), documents);
}

#[test]
fn a_full_disk_is_told_as_such() {
    let bench = Bench::new();
    let pages = bench.database.number("PRAGMA page_count", []).expect("reads");
    bench.pragma(&format!("PRAGMA max_page_count = {pages}"));
    bench.run(vec![bench.unit("a", |tx| {
        let body = json!("x".repeat(1 << 20));
        tx.documents_mut().put("test", &Document { id: "big".into(), body, updated_at: Timestamp::from_ms(1) })
    })]);
    let results = bench.told.lock().expect("no panic");
    assert!(matches!(results.as_slice(), [("a", Err(StoreError::NotWritable(_)))]), "{results:?}");
}

#[test]
fn a_commit_that_fails_undoes_the_batch_and_gives_its_cursors_again() {
    let bench = Bench::new();
    bench.run(vec![bench.unit("before", fine)]);
    // A rule that is checked only by the commit, and broken.
    let spoil = |tx: &dyn Tx| {
        DATABASE.with_borrow(|database| database.as_ref().expect("set").control("PRAGMA defer_foreign_keys = ON"))?;
        tx.tool_calls_mut().put(&ToolCallRecord {
            run_id: RunId::trusted("gone"),
            call_id: String::from("call_1"),
            name: String::new(),
            arguments: String::new(),
            state: ToolCallState::Pending,
            result: None,
            started_at: None,
            ended_at: None,
        })
    };
    bench.run(vec![bench.unit("a", fine), bench.unit("b", spoil)]);
    bench.run(vec![bench.unit("c", spoil)]);
    assert_eq!(bench.outcomes(), [("before", true), ("a", false), ("b", false), ("c", false)]);
    bench.run(vec![bench.unit("after", fine)]);
    assert_eq!(bench.log(), [(1, "before".into()), (2, "after".into())]);
    assert_eq!(bench.documents(), ["after", "before"]);
}

#[test]
fn a_file_that_became_read_only_is_told_and_written_again_later() {
    let bench = Bench::new();
    bench.pragma("PRAGMA query_only = ON");
    bench.run(vec![bench.unit("a", fine), bench.unit("b", fine)]);
    {
        let results = bench.told.lock().expect("no panic");
        assert!(results.iter().all(|(_, result)| matches!(result, Err(StoreError::NotWritable(_)))), "{results:?}");
    }
    assert_eq!(bench.outcomes(), [("a", false), ("b", false)]);
    bench.pragma("PRAGMA query_only = OFF");
    bench.run(vec![bench.unit("c", fine)]);
    assert_eq!((bench.outcomes(), bench.log()), (vec![("c", true)], vec![(1, "c".into())]));
}

/// Some failures of the disk make SQLite undo the whole transaction by itself, in the middle of a unit.
#[test]
fn a_transaction_that_vanishes_takes_its_units_and_spares_the_rest() {
    let bench = Bench::new();
    let vanish = |tx: &dyn Tx| {
        DATABASE.with_borrow(|database| database.as_ref().expect("set").control("ROLLBACK"))?;
        // It goes on as if nothing had happened, and must not write outside a transaction.
        let write = tx
            .documents_mut()
            .put("test", &Document { id: "stray".into(), body: json!(1), updated_at: Timestamp::from_ms(1) });
        assert!(matches!(write, Err(StoreError::NotWritable(_))), "{write:?}");
        Ok(())
    };
    bench.run(vec![
        bench.unit("a", fine),
        bench.unit("undone", |_| Err(StoreError::Conflict("on purpose".into()))),
        bench.unit("vanishes", vanish),
        bench.unit("b", fine),
        bench.unit("c", fine),
    ]);
    assert_eq!(bench.outcomes(), [("a", false), ("undone", false), ("vanishes", false), ("b", true), ("c", true)]);
    assert_eq!(bench.documents(), ["b", "c"]);
    assert_eq!(bench.log(), [(1, "b".into()), (2, "c".into())]);

    bench.run(vec![bench.unit("alone", vanish)]);
    bench.run(vec![bench.unit("d", fine)]);
    assert_eq!(bench.outcomes(), [("alone", false), ("d", true)]);
    assert_eq!(bench.documents(), ["b", "c", "d"]);
}

#[test]
fn panics_of_units_listeners_and_callers_end_nothing_else() {
    struct Panics;
    impl Announce for Panics {
        fn committed(&self, _: Vec<StoredEvent>) {
            panic!("the listener panics on purpose");
        }
    }
    let mut bench = Bench::new();
    bench.orders = Orders::default();
    assert!(bench.orders.listener.set(Arc::new(Panics)).is_ok());
    let caller: WriteJob = Box::new(|_| Outcome::Commit(Box::new(|_| panic!("the caller panics on purpose"))));
    let units = vec![
        bench.unit("a", fine),
        bench.unit("unit", |_| panic!("the unit panics on purpose")),
        caller,
        bench.unit("b", fine),
    ];
    bench.run(units);
    bench.run(vec![bench.unit("alone", |_| panic!("the unit panics on purpose"))]);
    assert_eq!(bench.outcomes(), [("a", true), ("b", true)]);
    assert_eq!(bench.documents(), ["a", "b"]);
}

#[test]
fn words_of_undone_units_are_not_indexed_and_those_of_others_are() {
    use model::{AgentId, MessageId, NewMessage, SessionId, SessionKey};
    use store::SearchQuery;

    let bench = Bench::new();
    let say = |tx: &dyn Tx, id: &str| {
        let key = SessionKey::main(&AgentId::main());
        tx.messages_mut()
            .append(
                (&key, &SessionId::trusted("ses_1")),
                &MessageId::trusted(id),
                None,
                Timestamp::from_ms(1),
                &NewMessage::user("needle"),
            )
            .map(drop)
    };
    let found = |snapshot: &dyn store::Snapshot| {
        let query =
            SearchQuery { agent: AgentId::main(), text: "needle".into(), session: None, roles: Vec::new(), limit: 10 };
        let mut ids: Vec<String> = snapshot
            .messages()
            .search(&query)
            .expect("searches")
            .iter()
            .map(|hit| hit.message.id.to_string())
            .collect();
        ids.sort();
        ids.join(" ")
    };
    bench.run(vec![
        bench.unit("a", move |tx| say(tx, "a")),
        // Sees the words of others and its own, and takes only its own back.
        bench.unit("undone", move |tx| {
            say(tx, "undone")?;
            assert_eq!(found(tx), "a undone");
            Err(StoreError::Conflict("on purpose".into()))
        }),
        bench.unit("b", move |tx| say(tx, "b")),
        bench.unit("sees", move |tx| {
            assert_eq!(found(tx), "a b");
            Ok(())
        }),
        bench.unit("panics", move |tx| {
            say(tx, "panics")?;
            assert_eq!(found(tx), "a b panics");
            panic!("the unit panics on purpose")
        }),
        // Takes the row of the one before it.
        bench.unit("c", move |tx| say(tx, "c")),
        bench.unit("removes", move |tx| {
            say(tx, "gone")?;
            tx.messages_mut().remove_head(&SessionId::trusted("ses_1"), 1)?;
            say(tx, "d")
        }),
    ]);
    assert_eq!(bench.outcomes().iter().filter(|(_, kept)| !kept).count(), 1);
    assert_eq!(found(&*bench.database), "b c d gone");
    let indexed = bench
        .database
        .number("SELECT COUNT(*) FROM message_words WHERE message_words MATCH 'needle'", [])
        .expect("reads");
    assert_eq!(indexed, 4, "no words are left of anything that is gone");
}
