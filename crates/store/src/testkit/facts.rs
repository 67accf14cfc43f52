//! Facts that agents remember.

use super::place::{Reopen, read, write};
use super::rows::{ODD_TEXTS, agent, at, key, odd_text};
use crate::Fact;

fn fact(id: &str, normalised: &str, created_ms: i64) -> Fact {
    Fact {
        id: id.to_owned(),
        agent: agent("main"),
        text: format!("The text of {normalised}."),
        normalised: normalised.to_owned(),
        session: None,
        source: String::from("user"),
        created_at: at(created_ms),
    }
}

pub async fn a_fact_comes_back_whole(place: &dyn Reopen) {
    let store = place.open().await;
    let mut expected: Vec<Fact> = (0..)
        .zip(ODD_TEXTS)
        .map(|(number, text)| Fact {
            text: text.to_owned(),
            source: odd_text(),
            ..fact(&format!("fact_{number}"), text, -number)
        })
        .collect();
    expected[3].session = Some(key("agent:main:日本"));
    let to_write = expected.clone();
    let inserted =
        write(&store, move |tx| to_write.iter().map(|fact| tx.facts_mut().insert(fact)).collect::<Result<Vec<_>, _>>())
            .await;
    assert_eq!(inserted, vec![true; expected.len()]);
    assert_eq!(read(&store, |snapshot| snapshot.facts().list(&agent("main"), 100)).await, expected);
}

pub async fn one_agent_has_a_fact_once(place: &dyn Reopen) {
    let store = place.open().await;
    let first = fact("fact_1", "likes tea", 1);
    let repeated = Fact { text: String::from("LIKES TEA"), ..fact("fact_2", "likes tea", 2) };
    let of_other = Fact { agent: agent("other"), ..fact("fact_3", "likes tea", 3) };
    let given = [first.clone(), repeated, of_other.clone(), fact("fact_4", "likes coffee", 4)];
    let inserted =
        write(&store, move |tx| given.iter().map(|fact| tx.facts_mut().insert(fact)).collect::<Result<Vec<_>, _>>())
            .await;
    assert_eq!(inserted, [true, false, true, true]);
    let (main, other) = read(&store, |snapshot| {
        Ok((snapshot.facts().list(&agent("main"), 9)?, snapshot.facts().list(&agent("other"), 9)?))
    })
    .await;
    assert_eq!(main, [fact("fact_4", "likes coffee", 4), first]);
    assert_eq!(other, [of_other]);
}

pub async fn facts_are_listed_newest_first(place: &dyn Reopen) {
    let store = place.open().await;
    write(&store, |tx| {
        for (id, ms) in [("b", 2), ("d", 4), ("a", 1), ("c", 3)] {
            tx.facts_mut().insert(&fact(id, id, ms))?;
        }
        Ok(())
    })
    .await;
    for (limit, expected) in [(0, ""), (2, "d c"), (100, "d c b a")] {
        let facts = read(&store, move |snapshot| snapshot.facts().list(&agent("main"), limit)).await;
        assert_eq!(facts.iter().map(|fact| fact.id.as_str()).collect::<Vec<_>>().join(" "), expected);
    }
}
