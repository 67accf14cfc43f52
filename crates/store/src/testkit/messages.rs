//! Transcripts.

use std::sync::Arc;

use model::{Content, Message, MessageId, NewMessage, Part, Reasoning, Role, RunId, SessionId, ToolCall, Usage};
use serde_json::json;

use super::place::{Reopen, read, write};
use super::rows::{ODD_TEXTS, at, big_text, odd_text, run, say, seqs, session, text, texts};
use crate::{MessagePage, Seen, Store, StoreError};

const MAIN: &str = "agent:main:main";

/// The transcript of [`MAIN`] with user messages `m1` to `m<count>`, each at the time of its number.
async fn transcript(store: &Arc<dyn Store>, count: i64) -> SessionId {
    let session = session(MAIN, 1);
    let id = session.id.clone();
    write(store, move |tx| {
        (1..=count).try_for_each(|number| {
            say(tx, &session, &format!("m{number}"), &NewMessage::user(format!("m{number}"))).map(drop)
        })
    })
    .await;
    id
}

async fn page(store: &Arc<dyn Store>, session: &SessionId, page: MessagePage) -> Vec<Message> {
    let session = session.clone();
    read(store, move |snapshot| snapshot.messages().page(&session, &page)).await
}

async fn all(store: &Arc<dyn Store>, session: &SessionId) -> Vec<Message> {
    page(store, session, MessagePage::default()).await
}

fn bodies() -> Vec<NewMessage> {
    let mut full = NewMessage::assistant(Content::from(vec![
        Part::Text { text: odd_text() },
        Part::Image { mime_type: "image/png".into(), data: Some("AAAA".into()), url: None },
        Part::Image { mime_type: "image/png".into(), data: None, url: Some("https://example.com/a?b=c&d".into()) },
        Part::Audio { mime_type: "audio/wav".into(), data: String::new() },
        Part::File { name: odd_text(), mime_type: "text/plain".into(), data: "QQ==".into() },
    ]));
    full.tool_calls = vec![
        ToolCall { id: "call_1".into(), name: "shell".into(), arguments: "{not json \0".into() },
        ToolCall { id: String::new(), name: String::new(), arguments: String::new() },
    ];
    full.reasoning = Some(Reasoning {
        text: odd_text(),
        blocks: vec![json!({ "type": "thinking", "signature": "x+/=" }), json!(null)],
    });
    full.usage = Some(Usage { input: u64::MAX, output: 2, cache_read: 3, cache_write: 4, reasoning: 5 });
    full.model = Some("mock/echo".into());
    full.metadata.insert(odd_text(), json!({ "partial": true, "list": [1, "two", null, 2.5] }));

    let mut bodies: Vec<NewMessage> = ODD_TEXTS.into_iter().map(NewMessage::user).collect();
    bodies.extend([
        full,
        NewMessage::user(Content::from(Vec::new())),
        NewMessage::system(""),
        NewMessage::tool_result("call_1", odd_text()),
        NewMessage::assistant(big_text()),
    ]);
    bodies
}

pub async fn a_message_comes_back_whole(place: &dyn Reopen) {
    let store = place.open().await;
    let session = session(MAIN, 1);
    let expected: Vec<Message> = (1..)
        .zip(bodies())
        .map(|(seq, body)| Message {
            id: MessageId::trusted(format!("msg_{seq}")),
            seq,
            run_id: (seq % 2 == 0).then(|| RunId::trusted(odd_text().replace('\0', ""))),
            created_at: at(-seq),
            body,
        })
        .collect();
    let (to_write, id) = (expected.clone(), session.id.clone());
    write(&store, move |tx| {
        for message in &to_write {
            let place = (&session.key, &session.id);
            let seq = tx.messages_mut().append(
                place,
                &message.id,
                message.run_id.as_ref(),
                message.created_at,
                &message.body,
            )?;
            assert_eq!(seq, message.seq);
            assert_eq!(tx.messages().get(&message.id)?.as_ref(), Some(message));
        }
        Ok(())
    })
    .await;
    assert_eq!(all(&store, &id).await, expected);
    assert_eq!(read(&store, |snapshot| snapshot.messages().get(&MessageId::trusted("msg_gone"))).await, None);
}

pub async fn each_transcript_counts_from_one(place: &dyn Reopen) {
    let store = place.open().await;
    let (one, two) = (session(MAIN, 1), session("agent:main:two", 1));
    let (first, second) = (one.id.clone(), two.id.clone());
    let given = write(&store, move |tx| {
        let body = NewMessage::user("hello");
        [(&one, "a"), (&two, "b"), (&one, "c"), (&one, "d"), (&two, "e")]
            .into_iter()
            .map(|(session, id)| say(tx, session, id, &body))
            .collect::<Result<Vec<_>, _>>()
    })
    .await;
    assert_eq!(given, [1, 1, 2, 3, 2]);
    assert_eq!(seqs(&all(&store, &first).await), [1, 2, 3]);
    assert_eq!(seqs(&all(&store, &second).await), [1, 2]);
    let counts = read(&store, move |snapshot| {
        let messages = snapshot.messages();
        Ok([messages.count(&first)?, messages.count(&second)?, messages.count(&SessionId::trusted("ses_gone"))?])
    })
    .await;
    assert_eq!(counts, [3, 2, 0]);
}

pub async fn an_id_is_taken_once(place: &dyn Reopen) {
    let store = place.open().await;
    let id = transcript(&store, 1).await;
    let taken = store.write(|tx| say(tx, &session(MAIN, 1), "m1", &NewMessage::user("other"))).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    assert_eq!(texts(&all(&store, &id).await), ["m1"]);
}

pub async fn pages_are_cut_from_the_newest(place: &dyn Reopen) {
    let store = place.open().await;
    let session = session(MAIN, 1);
    let id = session.id.clone();
    write(&store, move |tx| {
        for (name, role) in [
            ("s1", Role::System),
            ("u2", Role::User),
            ("a3", Role::Assistant),
            ("t4", Role::Tool),
            ("u5", Role::User),
            ("a6", Role::Assistant),
        ] {
            say(tx, &session, name, &NewMessage::new(role, name))?;
        }
        Ok(())
    })
    .await;
    let cut = |wanted: MessagePage| {
        let (store, id) = (Arc::clone(&store), id.clone());
        async move { texts(&page(&store, &id, wanted).await).join(" ") }
    };
    let page = MessagePage::default;
    assert_eq!(cut(page()).await, "s1 u2 a3 t4 u5 a6");
    assert_eq!(cut(MessagePage { limit: 2, ..page() }).await, "u5 a6");
    assert_eq!(cut(MessagePage { limit: 2, skip_newest: 3, ..page() }).await, "u2 a3");
    assert_eq!(cut(MessagePage { skip_newest: 5, ..page() }).await, "s1");
    assert_eq!(cut(MessagePage { skip_newest: 6, ..page() }).await, "");
    assert_eq!(cut(MessagePage { skip_newest: u64::MAX, limit: u64::MAX, ..page() }).await, "");
    assert_eq!(cut(MessagePage { before: Some(at(3)), ..page() }).await, "s1 u2");
    let spoken = vec![Role::User, Role::Assistant];
    assert_eq!(cut(MessagePage { roles: spoken.clone(), ..page() }).await, "u2 a3 u5 a6");
    assert_eq!(cut(MessagePage { roles: spoken, before: Some(at(6)), skip_newest: 1, limit: 2 }).await, "u2 a3");
}

pub async fn messages_of_a_run_include_the_one_it_answers(place: &dyn Reopen) {
    let store = place.open().await;
    let session = session(MAIN, 1);
    write(&store, move |tx| {
        let answered = run("run_1", MAIN);
        let place = (&session.key, &session.id);
        let add = |id: &str, run: Option<&RunId>, body: NewMessage| {
            tx.messages_mut().append(place, &MessageId::trusted(id), run, at(1), &body)
        };
        add("earlier", None, NewMessage::user("earlier"))?;
        add(answered.message_id.as_str(), None, NewMessage::user("question"))?;
        add("a", Some(&answered.id), NewMessage::assistant("calls"))?;
        add("t", Some(&answered.id), NewMessage::tool_result("call_1", "result"))?;
        add("other", Some(&RunId::trusted("run_2")), NewMessage::user("other"))?;
        add("b", Some(&answered.id), NewMessage::assistant("answer"))?;
        tx.runs_mut().insert(&answered)
    })
    .await;
    let of_run = |id: &'static str| {
        let store = Arc::clone(&store);
        async move { texts(&read(&store, move |snapshot| snapshot.messages().of_run(&RunId::trusted(id))).await).join(" ") }
    };
    assert_eq!(of_run("run_1").await, "question calls result answer");
    assert_eq!(of_run("run_2").await, "other");
    assert_eq!(of_run("run_3").await, "");
}

pub async fn the_first_user_text_is_found(place: &dyn Reopen) {
    let store = place.open().await;
    let session = session(MAIN, 1);
    let id = session.id.clone();
    let first = |store: &Arc<dyn Store>| {
        let (store, id) = (Arc::clone(store), id.clone());
        async move { read(&store, move |snapshot| snapshot.messages().first_user_text(&id)).await }
    };
    assert_eq!(first(&store).await, None);
    write(&store, move |tx| {
        say(tx, &session, "a", &NewMessage::system("rules"))?;
        let parts = vec![Part::Text { text: odd_text() }, Part::Text { text: String::from("second") }];
        say(tx, &session, "b", &NewMessage::user(Content::from(parts)))?;
        say(tx, &session, "c", &NewMessage::user("later"))
    })
    .await;
    assert_eq!(first(&store).await, Some(format!("{}\nsecond", odd_text())));
}

pub async fn a_summary_takes_the_place_of_the_head(place: &dyn Reopen) {
    let store = place.open().await;
    let id = transcript(&store, 5).await;
    let replace = |up_to, name: &'static str| {
        let store = Arc::clone(&store);
        async move {
            write(&store, move |tx| {
                let session = session(MAIN, 1);
                let summary = NewMessage::system(format!("summary {name}"));
                tx.messages_mut().replace_head(
                    (&session.key, &session.id),
                    up_to,
                    &MessageId::trusted(name),
                    at(9),
                    &summary,
                )
            })
            .await
        }
    };
    assert_eq!(replace(3, "one").await, 3);
    let after = all(&store, &id).await;
    assert_eq!((seqs(&after), texts(&after).join(", ")), (vec![3, 4, 5], String::from("summary one, m4, m5")));
    let summary = Message {
        id: MessageId::trusted("one"),
        seq: 3,
        run_id: None,
        created_at: at(9),
        body: NewMessage::system(text("summary one")),
    };
    assert_eq!(after.first(), Some(&summary));

    assert_eq!(replace(5, "two").await, 3, "the former summary is replaced too");
    let last = write(&store, |tx| say(tx, &session(MAIN, 1), "m6", &NewMessage::user("m6"))).await;
    assert_eq!(last, 6, "the transcript goes on behind");
    let after = all(&store, &id).await;
    assert_eq!((seqs(&after), texts(&after).join(", ")), (vec![5, 6], String::from("summary two, m6")));
}

pub async fn the_head_is_removed(place: &dyn Reopen) {
    let store = place.open().await;
    let id = transcript(&store, 5).await;
    let remove = |up_to| {
        let (store, id) = (Arc::clone(&store), id.clone());
        async move { write(&store, move |tx| tx.messages_mut().remove_head(&id, up_to)).await }
    };
    assert_eq!(remove(0).await, 0);
    assert_eq!(remove(2).await, 2);
    assert_eq!(remove(2).await, 0);
    assert_eq!(seqs(&all(&store, &id).await), [3, 4, 5]);
    assert_eq!(remove(i64::MAX).await, 3);
    assert_eq!(all(&store, &id).await, []);
}

pub async fn a_message_goes_over_to_another_transcript(place: &dyn Reopen) {
    let store = place.open().await;
    let (old, other) = (transcript(&store, 3).await, session("agent:main:other", 1));
    let other_id = other.id.clone();
    let transfer = |id: &'static str| {
        let (store, other) = (Arc::clone(&store), other.clone());
        async move {
            write(&store, move |tx| tx.messages_mut().transfer(&MessageId::trusted(id), (&other.key, &other.id))).await
        }
    };
    assert_eq!(transfer("m3").await, Some(1));
    assert_eq!(transfer("m2").await, Some(2));
    assert_eq!(transfer("unknown").await, None);
    assert_eq!(texts(&all(&store, &old).await), ["m1"]);
    let moved = all(&store, &other_id).await;
    assert_eq!((seqs(&moved), texts(&moved).join(", ")), (vec![1, 2], String::from("m3, m2")));
    let last = write(&store, |tx| say(tx, &session("agent:main:other", 1), "m4", &NewMessage::user("m4"))).await;
    assert_eq!(last, 3, "the transcript goes on behind");
}

pub async fn clearing_can_keep_system_messages(place: &dyn Reopen) {
    let store = place.open().await;
    let (one, two) = (session(MAIN, 1), session("agent:main:two", 1));
    let (id, other) = (one.id.clone(), two.id.clone());
    write(&store, move |tx| {
        for session in [&one, &two] {
            for (number, body) in
                [NewMessage::system("s"), NewMessage::user("u"), NewMessage::assistant("a")].iter().enumerate()
            {
                say(tx, session, &format!("{}-{number}", session.key), body)?;
            }
        }
        Ok(())
    })
    .await;
    let clear = |keep_system| {
        let (store, id) = (Arc::clone(&store), id.clone());
        async move { write(&store, move |tx| tx.messages_mut().clear(&id, keep_system)).await }
    };
    assert_eq!(clear(true).await, 2);
    assert_eq!(texts(&all(&store, &id).await), ["s"]);
    assert_eq!(clear(false).await, 1);
    assert_eq!(clear(false).await, 0);
    assert_eq!(all(&store, &id).await, []);
    assert_eq!(texts(&all(&store, &other).await), ["s", "u", "a"]);
}

pub async fn what_came_behind_is_told_while_the_beginning_stands(place: &dyn Reopen) {
    let store = place.open().await;
    let id = transcript(&store, 3).await;
    let seen = |messages: &[Message]| Seen {
        first: messages[0].id.clone(),
        last: messages[messages.len() - 1].id.clone(),
        last_seq: messages[messages.len() - 1].seq,
        count: messages.len() as u64,
    };
    let behind = |seen: Seen| {
        let (store, id) = (Arc::clone(&store), id.clone());
        async move {
            let more = read(&store, move |snapshot| snapshot.messages().behind(&id, &seen)).await;
            more.map(|more| texts(&more).join(", "))
        }
    };
    let say_more = |name: &'static str, body: NewMessage| {
        let store = Arc::clone(&store);
        async move { write(&store, move |tx| say(tx, &session(MAIN, 1), name, &body)).await }
    };
    let whole = seen(&all(&store, &id).await);
    assert_eq!(behind(whole.clone()).await, Some(String::new()));
    say_more("m4", NewMessage::user("m4")).await;
    say_more("m5", NewMessage::user("m5")).await;
    assert_eq!(behind(whole.clone()).await, Some(String::from("m4, m5")));
    let other = session("agent:main:other", 1).id;
    let elsewhere = whole.clone();
    assert_eq!(read(&store, move |snapshot| snapshot.messages().behind(&other, &elsewhere)).await, None);

    // One message gives way to one: as many as before, and the same last one.
    write(&store, |tx| {
        let session = session(MAIN, 1);
        let (place, id) = ((&session.key, &session.id), MessageId::trusted("summary"));
        tx.messages_mut().replace_head(place, 1, &id, at(9), &NewMessage::system("summary"))
    })
    .await;
    assert_eq!(behind(whole).await, None);
    let shorter = seen(&all(&store, &id).await);
    say_more("m6", NewMessage::user("m6")).await;
    assert_eq!(behind(shorter.clone()).await, Some(String::from("m6")));

    // The last one seen is gone, and another has its place.
    let cleared = id.clone();
    write(&store, move |tx| tx.messages_mut().clear(&cleared, true)).await;
    for name in ["n2", "n3", "n4", "n5", "n6"] {
        say_more(name, NewMessage::user(name)).await;
    }
    assert_eq!(behind(shorter).await, None);
    let last = seen(&all(&store, &id).await);
    let head = id.clone();
    write(&store, move |tx| tx.messages_mut().remove_head(&head, 3)).await;
    assert_eq!(behind(last).await, None);
}

pub async fn token_estimates_add_up(place: &dyn Reopen) {
    let store = place.open().await;
    let session = session(MAIN, 1);
    let sums = write(&store, move |tx| {
        let mut sums = vec![tx.messages_mut().token_sum(&session.id)?];
        let mut known = NewMessage::assistant("short");
        known.usage = Some(Usage { input: 1000, output: 70, ..Usage::default() });
        for (id, body) in [("a", NewMessage::user("x".repeat(400))), ("b", known), ("c", NewMessage::user(""))] {
            say(tx, &session, id, &body)?;
            sums.push(tx.messages_mut().token_sum(&session.id)?);
        }
        tx.messages_mut().remove_head(&session.id, 1)?;
        sums.push(tx.messages_mut().token_sum(&session.id)?);
        Ok(sums)
    })
    .await;
    assert_eq!(sums, [0, 100, 170, 170, 70]);
}
