//! What the tests of the store on PostgreSQL share.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod proxy;

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Cursor, Event, MessageId, NewMessage};
use serde_json::json;
use store::testkit::read;
use store::testkit::rows::{at, session};
use store::{Document, MessagePage, Store, StoreError, Tx};
use store_postgres::{PostgresOptions, PostgresStore};

const KEY: &str = "agent:main:main";
const KIND: &str = "test";

/// How long anything may take before it counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn open(url: &str) -> Arc<dyn Store> {
    open_with(url, PostgresOptions::default())
}

pub fn open_with(url: &str, options: PostgresOptions) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(url, options).expect("opens"))
}

/// One row of each kind under one name.
pub fn unit(tx: &dyn Tx, name: &str) -> Result<Cursor, StoreError> {
    tx.documents_mut().put(KIND, &Document { id: name.to_owned(), body: json!(1), updated_at: at(1) })?;
    let session = session(KEY, 1);
    let place = (&session.key, &session.id);
    tx.messages_mut().append(place, &MessageId::trusted(name), None, at(1), &NewMessage::user(name))?;
    tx.events_mut().append(at(1), &Event::ConfigChanged { changed_keys: Vec::new(), source: name.to_owned() })
}

pub async fn put(store: &Arc<dyn Store>, name: &str) -> Result<Cursor, StoreError> {
    let name = name.to_owned();
    store.write(move |tx| unit(tx, &name)).await
}

/// Names in the log, in order of cursor. Each unit must be there whole or not at all, and no cursor be missing.
pub async fn whole_units(store: &Arc<dyn Store>) -> Vec<String> {
    let (documents, messages, log) = read(store, |snapshot| {
        Ok((
            snapshot.documents().list(KIND)?,
            snapshot.messages().page(&session(KEY, 1).id, &MessagePage::default())?,
            snapshot.events().after(Cursor(0), u32::MAX)?,
        ))
    })
    .await;
    let cursors: Vec<u64> = log.iter().map(|stored| stored.cursor.0).collect();
    assert_eq!(cursors, (1..=log.len() as u64).collect::<Vec<_>>(), "no cursor is missing");
    let names: Vec<String> = log
        .into_iter()
        .map(|stored| match stored.event {
            Event::ConfigChanged { source, .. } => source,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    let mut rows: Vec<String> = documents.into_iter().map(|document| document.id).collect();
    rows.sort();
    assert_eq!(rows, sorted, "an event for each document");
    let mut said: Vec<String> = messages.into_iter().map(|message| message.id.to_string()).collect();
    said.sort();
    assert_eq!(said, sorted, "a message for each event");
    names
}

/// Writes until the database is back.
pub async fn put_once_it_is_back(store: &Arc<dyn Store>, name: &str) -> Cursor {
    let begun = Instant::now();
    loop {
        match put(store, name).await {
            Ok(cursor) => return cursor,
            Err(StoreError::Unavailable(reason)) => {
                assert!(begun.elapsed() < PATIENCE, "it does not come back: {reason}");
                tokio::task::yield_now().await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
