//! Small JSON documents.

use serde_json::json;

use super::place::{Reopen, read, write};
use super::rows::{ODD_TEXTS, at, big_text, odd_text};
use crate::Document;

pub async fn a_document_comes_back_whole_and_is_replaced(place: &dyn Reopen) {
    let store = place.open().await;
    let bodies = [
        json!(null),
        json!({}),
        json!(true),
        json!([1, -2, 2.5, u64::MAX, i64::MIN, { "nested": [[]] }]),
        json!({ (odd_text()): odd_text(), "": "" }),
        json!(big_text()),
    ];
    for (number, body) in (0..).zip(bodies) {
        let expected = Document { id: String::from("one"), body, updated_at: at(number) };
        let to_write = expected.clone();
        write(&store, move |tx| tx.documents_mut().put("settings", &to_write)).await;
        assert_eq!(read(&store, |snapshot| snapshot.documents().get("settings", "one")).await, Some(expected.clone()));
        assert_eq!(read(&store, |snapshot| snapshot.documents().list("settings")).await, [expected]);
    }
    assert_eq!(read(&store, |snapshot| snapshot.documents().get("settings", "two")).await, None);
    assert_eq!(read(&store, |snapshot| snapshot.documents().get("devices", "one")).await, None);
}

pub async fn documents_are_listed_by_kind_in_order_of_id(place: &dyn Reopen) {
    let store = place.open().await;
    write(&store, |tx| {
        for (kind, id) in
            [("a", "z"), ("a", "B"), ("b", "x"), ("a", "b"), ("a", ""), ("a", "_"), ("a", "é"), ("", "nameless")]
        {
            tx.documents_mut().put(kind, &Document { id: id.to_owned(), body: json!(kind), updated_at: at(1) })?;
        }
        Ok(())
    })
    .await;
    for (kind, expected) in
        [("a", vec!["", "B", "_", "b", "z", "é"]), ("b", vec!["x"]), ("", vec!["nameless"]), ("c", vec![])]
    {
        let documents = read(&store, move |snapshot| snapshot.documents().list(kind)).await;
        assert_eq!(
            documents.iter().map(|document| document.id.as_str()).collect::<Vec<_>>(),
            expected,
            "{kind:?}: by code point"
        );
    }
}

pub async fn deleting_tells_whether_there_was_one(place: &dyn Reopen) {
    let store = place.open().await;
    // Names from outside may be odd, but no name holds a NUL.
    for id in ODD_TEXTS.into_iter().filter(|text| !text.contains('\0')) {
        let (there, again, other) = write(&store, move |tx| {
            let documents = tx.documents_mut();
            documents.put("kind", &Document { id: id.to_owned(), body: json!(1), updated_at: at(1) })?;
            Ok((documents.delete("kind", id)?, documents.delete("kind", id)?, documents.delete("other", id)?))
        })
        .await;
        assert_eq!((there, again, other), (true, false, false), "{id:?}");
    }
}
