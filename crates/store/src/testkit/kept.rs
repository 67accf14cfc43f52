//! What is kept for a while.

use serde_json::{Value, json};

use super::place::{Reopen, read, write};
use super::rows::{at, odd_text};
use crate::{Kept, KeptBounds};

fn one(id: &str, body: Value, second: i64) -> Kept {
    Kept { id: id.to_owned(), owner: odd_text(), body, at: at(second) }
}

pub async fn what_is_kept_comes_back_whole_and_is_replaced(place: &dyn Reopen) {
    let store = place.open().await;
    for (second, body) in (0..).zip([json!(null), json!({ (odd_text()): [1, -2.5, odd_text()] })]) {
        let expected = one("a", body, second);
        let to_write = expected.clone();
        write(&store, move |tx| tx.kept_mut().put("answers", &to_write)).await;
        assert_eq!(read(&store, |snapshot| snapshot.kept().get("answers", "a")).await, Some(expected));
    }
    assert_eq!(read(&store, |snapshot| snapshot.kept().get("turns", "a")).await, None);
    let deleted = |kind| write(&store, move |tx| tx.kept_mut().delete(kind, "a"));
    assert_eq!([deleted("turns").await, deleted("answers").await, deleted("answers").await], [false, true, false]);
    assert_eq!(read(&store, |snapshot| snapshot.kept().get("answers", "a")).await, None);
}

pub async fn the_oldest_go_by_age_number_and_size(place: &dyn Reopen) {
    let store = place.open().await;
    // Each body has 10 bytes of JSON.
    write(&store, |tx| {
        for (second, id) in (1..).zip(["a", "b", "c", "d", "e"]) {
            tx.kept_mut().put("answers", &one(id, json!("12345678"), second))?;
            tx.kept_mut().put("turns", &one(id, json!("12345678"), second))?;
        }
        Ok(())
    })
    .await;
    let all = KeptBounds { since: at(0), count: 5, bytes: 50 };
    let bounds = [
        (all, "abcde"),
        (KeptBounds { since: at(2), ..all }, "bcde"),
        (KeptBounds { count: 3, ..all }, "cde"),
        (KeptBounds { bytes: 29, ..all }, "de"),
        (KeptBounds { bytes: 9, ..all }, ""),
    ];
    let mut before = 5;
    for (bounds, rest) in bounds {
        let pruned = write(&store, move |tx| tx.kept_mut().prune("answers", bounds)).await;
        let mut left = String::new();
        for id in ["a", "b", "c", "d", "e"] {
            left.extend(read(&store, move |snapshot| snapshot.kept().get("answers", id)).await.map(|kept| kept.id));
        }
        assert_eq!((left.as_str(), pruned), (rest, before - rest.len() as u64), "{bounds:?}");
        before = rest.len() as u64;
    }
    assert!(read(&store, |snapshot| snapshot.kept().get("turns", "a")).await.is_some());
}
