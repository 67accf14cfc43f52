//! What a restart keeps.

use std::sync::Arc;

use model::{Cursor, Event, Message, NewMessage, Run, Session};
use serde_json::json;

use super::place::{Heard, Reopen, read, write};
use super::rows::{at, cursors, event, key, run, say, session};
use crate::{Document, MessagePage, Snapshot, Store, StoreError, StoredEvent};

const MAIN: &str = "agent:main:main";

type Everything = (Option<Session>, Vec<Message>, Vec<Run>, Vec<StoredEvent>, Vec<Document>);

fn everything(snapshot: &dyn Snapshot) -> Result<Everything, StoreError> {
    Ok((
        snapshot.sessions().get(&key(MAIN))?,
        snapshot.messages().page(&session(MAIN, 1).id, &MessagePage::default())?,
        snapshot.runs().unfinished()?,
        snapshot.events().after(Cursor(0), 1000)?,
        snapshot.documents().list("kind")?,
    ))
}

async fn fill(store: &Arc<dyn Store>) -> Everything {
    for number in 0..20_i64 {
        write(store, move |tx| {
            let mut session = session(MAIN, number);
            session.message_count = number.unsigned_abs() + 1;
            tx.sessions_mut().put(&session)?;
            say(tx, &session, &format!("msg_{number}"), &NewMessage::user(format!("text {number}")))?;
            tx.runs_mut().insert(&run(&format!("run_{number}"), MAIN))?;
            tx.documents_mut()
                .put("kind", &Document { id: format!("{number:02}"), body: json!(number), updated_at: at(number) })?;
            tx.events_mut()
                .append(at(number), &Event::SessionCreated { session_key: session.key, channel: number.to_string() })
        })
        .await;
    }
    let before = read(store, everything).await;
    assert_eq!((before.1.len(), before.2.len(), before.3.len(), before.4.len()), (20, 20, 20, 20));
    before
}

pub async fn everything_is_there_after_closing(place: &dyn Reopen) {
    let store = place.open().await;
    let before = fill(&store).await;
    store.close().await;
    drop(store);
    assert_eq!(read(&place.open().await, everything).await, before);
}

pub async fn everything_is_there_after_dropping(place: &dyn Reopen) {
    let store = place.open().await;
    let before = fill(&store).await;
    drop(store);
    assert_eq!(read(&place.open().await, everything).await, before);
}

pub async fn cursors_go_on_where_they_were(place: &dyn Reopen) {
    for round in 0..5_u64 {
        let store = place.open().await;
        let heard = Arc::new(Heard::default());
        store.announce_to(heard.clone());
        let first = round * 3 + 1;
        let given = write(&store, move |tx| {
            (first..first + 3)
                .map(|number| tx.events_mut().append(at(1), &event(number)))
                .collect::<Result<Vec<_>, _>>()
        })
        .await;
        assert_eq!(given, cursors(first, first + 2), "round {round}");
        assert_eq!(
            heard.all().iter().map(|stored| stored.cursor).collect::<Vec<_>>(),
            given,
            "only what is new is announced"
        );
        if round % 2 == 0 {
            store.close().await;
        }
    }
    let store = place.open().await;
    let log = read(&store, |snapshot| snapshot.events().after(Cursor(0), 1000)).await;
    assert_eq!(log.iter().map(|stored| stored.cursor).collect::<Vec<_>>(), cursors(1, 15));
    let expected: Vec<Event> = (1..=15).map(event).collect();
    assert_eq!(log.into_iter().map(|stored| stored.event).collect::<Vec<_>>(), expected);
}
