//! Full-text search.

use std::sync::Arc;

use model::{Content, MessageId, NewMessage, Part, Role};

use super::place::{Reopen, read, write};
use super::rows::{ODD_TEXTS, agent, at, big_text, key, odd_text, say, session};
use crate::{MessageHit, SearchQuery, Store};

const MAIN: &str = "agent:main:main";

fn query(text: &str) -> SearchQuery {
    SearchQuery { agent: agent("main"), text: text.to_owned(), session: None, roles: Vec::new(), limit: 100 }
}

async fn hits(store: &Arc<dyn Store>, query: SearchQuery) -> Vec<MessageHit> {
    read(store, move |snapshot| snapshot.messages().search(&query)).await
}

/// Ids of what is found, sorted.
async fn found(store: &Arc<dyn Store>, query: SearchQuery) -> String {
    let mut ids: Vec<String> = hits(store, query).await.iter().map(|hit| hit.message.id.to_string()).collect();
    ids.sort();
    ids.join(" ")
}

/// Messages `(session, id, body)`.
async fn given(store: &Arc<dyn Store>, messages: Vec<(&'static str, &'static str, NewMessage)>) {
    write(store, move |tx| {
        messages.iter().try_for_each(|(name, id, body)| say(tx, &session(name, 1), id, body).map(drop))
    })
    .await;
}

pub async fn all_words_must_occur_in_any_case(place: &dyn Reopen) {
    let store = place.open().await;
    let parts = vec![Part::Text { text: "The blue whale".into() }, Part::Text { text: "sings".into() }];
    given(
        &store,
        vec![
            (MAIN, "a", NewMessage::user("The red Fox jumps over the lazy dog")),
            (MAIN, "b", NewMessage::assistant("A red herring, e-mail me: ann@example.com")),
            (MAIN, "c", NewMessage::user(Content::from(parts))),
            (MAIN, "d", NewMessage::user("Größenwahn und Übermut; Привет, мир")),
        ],
    )
    .await;
    for (text, expected) in [
        ("red", "a b"),
        ("RED fox", "a"),
        ("fox red", "a"),
        ("red whale", ""),
        ("whale sings", "c"),
        ("größenwahn", "d"),
        ("ПРИВЕТ", "d"),
        ("e-mail", "b"),
        ("ann@example.com", "b"),
        ("fo", ""),
        ("", ""),
        ("   ", ""),
    ] {
        assert_eq!(found(&store, query(text)).await, expected, "{text:?}");
    }
    let hit = hits(&store, query("fox")).await.pop().expect("one hit");
    let expected = read(&store, |snapshot| snapshot.messages().get(&MessageId::trusted("a"))).await;
    assert_eq!((hit.session_key, Some(hit.message)), (key(MAIN), expected));
    assert_eq!(hit.snippet, "The red Fox jumps over the lazy dog");
}

pub async fn search_is_confined_to_agent_session_and_roles(place: &dyn Reopen) {
    let store = place.open().await;
    given(
        &store,
        vec![
            (MAIN, "user", NewMessage::user("needle")),
            (MAIN, "assistant", NewMessage::assistant("needle")),
            ("agent:main:two", "two", NewMessage::user("needle")),
            ("agent:other:main", "other", NewMessage::user("needle")),
        ],
    )
    .await;
    assert_eq!(found(&store, query("needle")).await, "assistant two user");
    assert_eq!(found(&store, SearchQuery { agent: agent("other"), ..query("needle") }).await, "other");
    assert_eq!(found(&store, SearchQuery { agent: agent("nobody"), ..query("needle") }).await, "");
    assert_eq!(found(&store, SearchQuery { session: Some(key(MAIN)), ..query("needle") }).await, "assistant user");
    assert_eq!(
        found(&store, SearchQuery { session: Some(key("agent:other:main")), ..query("needle") }).await,
        "",
        "of another agent"
    );
    assert_eq!(found(&store, SearchQuery { roles: vec![Role::Assistant], ..query("needle") }).await, "assistant");
    assert_eq!(
        found(&store, SearchQuery { roles: vec![Role::User, Role::Assistant], ..query("needle") }).await,
        "assistant two user"
    );
}

pub async fn hostile_text_is_only_text(place: &dyn Reopen) {
    let store = place.open().await;
    given(
        &store,
        vec![
            (MAIN, "a", NewMessage::user("near the river, not far and or so")),
            (MAIN, "b", NewMessage::user(odd_text())),
            (MAIN, "c", NewMessage::user("words body content")),
        ],
    )
    .await;
    for (text, expected) in [
        ("near", "a"),
        ("NEAR river", "a"),
        ("river NOT far", "a"),
        ("river AND or", "a"),
        ("river - far", "a"),
        ("river \"far\" *", "a"),
        ("\"river\"", "a"),
        ("'river'", "a"),
        ("\0river\0far", "a"),
        ("words : content", "c"),
        ("river OR words", ""),
        ("-river", "a"),
        ("riv*", ""),
        ("*", ""),
        ("\"", ""),
        ("\"\"\"", ""),
        ("''", ""),
        ("%", ""),
        ("\0", ""),
        ("( ) { } [ ] ^ ~ & | ! : \\", ""),
    ] {
        assert_eq!(found(&store, query(text)).await, expected, "{text:?}");
    }
    // These may or may not find something; they must be answered.
    for text in ODD_TEXTS.into_iter().chain([
        "NEAR(river far, 5)",
        "river AND",
        "NOT",
        "OR OR",
        "words:river",
        "{words}:river",
        "^river",
        "river + far",
        "(river",
        "river)",
        "\"river",
        "river & far | !so <-> x:*",
        "$$ $1 ?1 :name",
    ]) {
        hits(&store, query(text)).await;
    }
    let many: String = (0..10_000).map(|number| format!("word{number} ")).collect();
    assert_eq!(found(&store, query(&many)).await, "");
    assert_eq!(found(&store, query(&"(".repeat(10_000))).await, "");
    assert_eq!(found(&store, query(&big_text())).await, "");
    assert_eq!(found(&store, query("river")).await, "a", "the store is well");
}

pub async fn better_matches_come_first_within_the_limit(place: &dyn Reopen) {
    let store = place.open().await;
    write(&store, |tx| {
        for number in 0..120 {
            say(
                tx,
                &session(MAIN, 1),
                &format!("m{number}"),
                &NewMessage::user(format!("straw {number} needle {}", "filler ".repeat(30))),
            )?;
        }
        say(tx, &session(MAIN, 1), "best", &NewMessage::user("needle needle needle"))
    })
    .await;
    for limit in [1, 7, 100] {
        let hits = hits(&store, SearchQuery { limit, ..query("needle") }).await;
        assert_eq!(hits.len(), limit as usize);
        assert_eq!(hits.first().map(|hit| hit.message.id.as_str()), Some("best"));
        assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score), "best first");
    }
    let everything = hits(&store, SearchQuery { limit: u32::MAX, ..query("needle") }).await;
    assert_eq!(everything.len(), 100, "never more than 100");
}

pub async fn removed_messages_are_not_found(place: &dyn Reopen) {
    let store = place.open().await;
    let names: [&'static str; 5] = ["one", "two", "three", "four", "five"];
    given(&store, names.map(|name| (MAIN, name, NewMessage::user(format!("needle {name}")))).to_vec()).await;
    given(
        &store,
        vec![
            ("agent:main:gone", "gone", NewMessage::assistant("needle")),
            (MAIN, "system", NewMessage::system("none")),
        ],
    )
    .await;
    write(&store, |tx| {
        let main = session(MAIN, 1);
        tx.messages_mut().remove_head(&main.id, 1)?;
        let summary = NewMessage::assistant("summary of needle two");
        tx.messages_mut().replace_head((&main.key, &main.id), 2, &MessageId::trusted("summary"), at(1), &summary)?;
        tx.sessions_mut().put(&session("agent:main:gone", 1))?;
        tx.sessions_mut().delete(&key("agent:main:gone"))
    })
    .await;
    assert_eq!(found(&store, query("needle")).await, "five four summary three");
    assert_eq!(found(&store, query("needle two")).await, "summary");
    write(&store, |tx| tx.messages_mut().clear(&session(MAIN, 1).id, true)).await;
    assert_eq!(found(&store, query("needle")).await, "");
    given(&store, vec![(MAIN, "new", NewMessage::user("needle"))]).await;
    assert_eq!(
        found(&store, query("needle")).await,
        "new",
        "a new message does not inherit the words of a removed one"
    );
}

pub async fn snippets_are_short_and_show_the_word(place: &dyn Reopen) {
    let store = place.open().await;
    let long = |before: usize, after: usize| {
        NewMessage::user(format!("{}the Needle{}", "hay 🌾 ".repeat(before), " straw".repeat(after)))
    };
    given(&store, vec![(MAIN, "start", long(0, 300)), (MAIN, "middle", long(300, 300)), (MAIN, "end", long(300, 0))])
        .await;
    let hits = hits(&store, query("needle")).await;
    assert_eq!(hits.len(), 3);
    for hit in hits {
        let length = hit.snippet.chars().count();
        assert!((20..=170).contains(&length), "{length} characters: {}", hit.snippet);
        assert!(hit.snippet.contains("Needle"), "{}", hit.snippet);
    }
}
