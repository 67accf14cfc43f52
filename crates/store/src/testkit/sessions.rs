//! Sessions: rows, lists, and what goes with them.

use std::sync::Arc;

use model::{
    InputId, MessageId, ModelRef, NewMessage, RunId, Session, SessionId, SessionSettings, Thinking, Timestamp,
    ToolCallRecord, ToolCallState,
};

use super::place::{Reopen, read, write};
use super::rows::{ODD_TEXTS, agent, at, key, odd_text, run, say, session};
use crate::{MessagePage, PendingInput, SessionFilter, SessionPage, Store};

async fn put(store: &Arc<dyn Store>, sessions: Vec<Session>) {
    write(store, move |tx| sessions.iter().try_for_each(|session| tx.sessions_mut().put(session))).await;
}

async fn list(store: &Arc<dyn Store>, filter: SessionFilter) -> SessionPage {
    read(store, move |snapshot| snapshot.sessions().list(&filter)).await
}

/// Keys without the part all have in common, and the number of matches.
async fn keys(store: &Arc<dyn Store>, filter: SessionFilter) -> (Vec<String>, u64) {
    let page = list(store, filter).await;
    (page.sessions.iter().map(|session| session.key.rest().to_owned()).collect(), page.total)
}

pub async fn a_session_comes_back_whole_and_is_replaced_by_its_key(place: &dyn Reopen) {
    let store = place.open().await;
    let full = Session {
        created_at: at(-1),
        updated_at: at(i64::MAX),
        message_count: 3,
        token_count: i64::MAX.unsigned_abs(),
        input_tokens: 5,
        output_tokens: 6,
        last_compaction: Some(at(7)),
        aborted_last_run: true,
        settings: SessionSettings {
            label: Some(odd_text()),
            thinking: Some(Thinking::Xhigh),
            model: Some(ModelRef::new("a", "b/c")),
            verbose: Some(String::from("full")),
            reasoning: Some(String::new()),
            spawned_by: Some(key("agent:main:main")),
            forked_from: Some(key("agent:main:other")),
        },
        ..session("agent:main:telegram:dm:日本'\"", 0)
    };
    let plain = session("agent:main:main", 1);
    put(&store, vec![plain.clone(), full.clone()]).await;
    for expected in [full.clone(), plain] {
        let key = expected.key.clone();
        assert_eq!(read(&store, move |snapshot| snapshot.sessions().get(&key)).await, Some(expected));
    }

    let replaced = Session { id: SessionId::trusted("ses_new"), ..session(full.key.as_str(), 2) };
    put(&store, vec![replaced.clone()]).await;
    assert_eq!(list(&store, SessionFilter::default()).await.total, 2);
    assert_eq!(read(&store, move |snapshot| snapshot.sessions().get(&full.key)).await, Some(replaced));
    assert_eq!(read(&store, |snapshot| snapshot.sessions().get(&key("agent:main:gone"))).await, None);
}

pub async fn lists_are_newest_first_in_pages(place: &dyn Reopen) {
    let store = place.open().await;
    assert_eq!(list(&store, SessionFilter::default()).await, SessionPage { sessions: Vec::new(), total: 0 });
    let names = [("b", 5), ("a", 5), ("new", 9), ("old", 1), ("c", 5)];
    put(&store, names.iter().map(|(name, ms)| session(&format!("agent:main:{name}"), *ms)).collect()).await;
    let page = |offset, limit| keys(&store, SessionFilter { offset, limit, ..SessionFilter::default() });
    assert_eq!(page(0, 0).await, (["new", "a", "b", "c", "old"].map(String::from).to_vec(), 5));
    assert_eq!(page(0, 2).await, (["new", "a"].map(String::from).to_vec(), 5));
    assert_eq!(page(2, 2).await, (["b", "c"].map(String::from).to_vec(), 5));
    assert_eq!(page(4, 0).await, (["old"].map(String::from).to_vec(), 5));
    assert_eq!(page(5, 2).await, (Vec::new(), 5));
    assert_eq!(page(u64::MAX, u64::MAX).await, (Vec::new(), 5));
}

pub async fn lists_are_filtered(place: &dyn Reopen) {
    let store = place.open().await;
    let labelled = |text: &str, ms, label: &str| {
        let mut labelled = session(text, ms);
        labelled.settings.label = Some(label.to_owned());
        labelled
    };
    let mut child = session("agent:main:child", 4);
    child.settings.spawned_by = Some(key("agent:main:main"));
    put(
        &store,
        vec![
            session("agent:main:main", 1),
            session("agent:other:main", 2),
            labelled("agent:main:telegram:dm:7", 3, "Größe 100%"),
            child,
            labelled("agent:main:x_y", 5, "Plain"),
        ],
    )
    .await;
    let one = |filter: SessionFilter| {
        let store = Arc::clone(&store);
        async move { keys(&store, filter).await.0.join(" ") }
    };
    let all = SessionFilter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(one(SessionFilter { agent: Some(agent("other")), ..all() }).await, "main");
    assert_eq!(one(SessionFilter { channel: text("telegram"), ..all() }).await, "telegram:dm:7");
    assert_eq!(one(SessionFilter { channel: text("gateway"), ..all() }).await, "x_y child main main");
    assert_eq!(one(SessionFilter { updated_since: Some(at(4)), ..all() }).await, "x_y child");
    assert_eq!(one(SessionFilter { key_contains: text("TELEGRAM:"), ..all() }).await, "telegram:dm:7");
    assert_eq!(one(SessionFilter { key_contains: text("x%y"), ..all() }).await, "", "no wildcards");
    assert_eq!(one(SessionFilter { key_contains: text("x_y"), ..all() }).await, "x_y");
    assert_eq!(one(SessionFilter { key_contains: text("größe"), ..all() }).await, "", "labels are not keys");
    assert_eq!(one(SessionFilter { search: text("GRÖSSE"), ..all() }).await, "");
    assert_eq!(one(SessionFilter { search: text("GRÖßE 100%"), ..all() }).await, "telegram:dm:7");
    assert_eq!(one(SessionFilter { search: text("CHILD"), ..all() }).await, "child");
    assert_eq!(one(SessionFilter { label: text("Plain"), ..all() }).await, "x_y");
    assert_eq!(one(SessionFilter { label: text("plain"), ..all() }).await, "", "labels are exact");
    assert_eq!(one(SessionFilter { spawned_by: Some(key("agent:main:main")), ..all() }).await, "child");
    let both = SessionFilter { agent: Some(agent("main")), search: text("main"), updated_since: Some(at(2)), ..all() };
    assert_eq!(one(SessionFilter { limit: 2, ..both.clone() }).await, "x_y child", "every key holds its agent");
    assert_eq!(
        keys(&store, SessionFilter { limit: 1, offset: 1, ..both }).await,
        (vec![String::from("child")], 3),
        "total before paging"
    );
    for odd in ODD_TEXTS.into_iter().skip(1) {
        let filter = SessionFilter { search: text(odd), label: text(odd), ..all() };
        assert_eq!(one(filter).await, "", "{odd:?}");
    }
}

pub async fn ephemeral_sessions_are_never_listed(place: &dyn Reopen) {
    let store = place.open().await;
    put(
        &store,
        vec![session("agent:main:ephemeral:1", 1), session("agent:main:main", 1), session("agent:main:ephemeral:2", 2)],
    )
    .await;
    assert_eq!(keys(&store, SessionFilter::default()).await, (vec![String::from("main")], 1));
    let mut ephemeral = read(&store, |snapshot| snapshot.sessions().ephemeral()).await;
    ephemeral.sort();
    assert_eq!(ephemeral, [key("agent:main:ephemeral:1"), key("agent:main:ephemeral:2")]);
    assert_eq!(read(&store, |snapshot| snapshot.sessions().idle_since(at(100), 10)).await, [key("agent:main:main")]);
    assert!(read(&store, |snapshot| snapshot.sessions().get(&key("agent:main:ephemeral:1"))).await.is_some());
}

pub async fn idle_sessions_are_told_oldest_first(place: &dyn Reopen) {
    let store = place.open().await;
    put(&store, (1..=5).map(|ms| session(&format!("agent:main:s{ms}"), ms)).rev().collect()).await;
    let idle = |before: i64, limit| {
        let store = Arc::clone(&store);
        async move {
            let keys =
                read(&store, move |snapshot| snapshot.sessions().idle_since(Timestamp::from_ms(before), limit)).await;
            keys.iter().map(|key| key.rest().to_owned()).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(idle(1, 10).await, "");
    assert_eq!(idle(4, 10).await, "s1 s2 s3");
    assert_eq!(idle(4, 2).await, "s1 s2");
}

pub async fn deleting_takes_everything_of_the_session_and_nothing_else(place: &dyn Reopen) {
    let store = place.open().await;
    write(&store, |tx| {
        for name in ["agent:main:one", "agent:main:two"] {
            let first = session(name, 1);
            tx.sessions_mut().put(&first)?;
            for number in 0..3 {
                say(tx, &first, &format!("msg_{name}_{number}"), &NewMessage::user("hello"))?;
            }
            tx.runs_mut().insert(&run(&format!("run_{name}"), name))?;
            let run_id = RunId::trusted(format!("run_{name}"));
            let input = PendingInput { id: InputId::trusted(format!("inp_{name}")), text: "more".into(), at: at(1) };
            tx.runs_mut().add_input(&run_id, &input)?;
            tx.tool_calls_mut().put(&ToolCallRecord {
                run_id,
                call_id: String::from("call_1"),
                name: String::from("shell"),
                arguments: String::from("{}"),
                state: ToolCallState::Pending,
                result: None,
                started_at: None,
                ended_at: None,
            })?;
            // A reset: the former transcript goes with the session too.
            let second = Session { id: SessionId::trusted(format!("ses_second_{name}")), ..first };
            tx.sessions_mut().put(&second)?;
            say(tx, &second, &format!("msg_second_{name}"), &NewMessage::user("again"))?;
        }
        Ok(())
    })
    .await;

    assert_eq!(write(&store, |tx| tx.sessions_mut().delete(&key("agent:main:gone"))).await, None);
    assert_eq!(
        write(&store, |tx| tx.sessions_mut().delete(&key("agent:main:one"))).await,
        Some(1),
        "of the present transcript"
    );
    assert_eq!(write(&store, |tx| tx.sessions_mut().delete(&key("agent:main:one"))).await, None);
    let left = |name: &'static str| {
        let store = Arc::clone(&store);
        async move {
            read(&store, move |snapshot| {
                let key = key(name);
                let run_id = RunId::trusted(format!("run_{name}"));
                let messages = [format!("ses_{name}"), format!("ses_second_{name}")]
                    .into_iter()
                    .map(|id| Ok(snapshot.messages().page(&SessionId::trusted(id), &MessagePage::default())?.len()))
                    .sum::<Result<usize, crate::StoreError>>()?;
                Ok([
                    usize::from(snapshot.sessions().get(&key)?.is_some()),
                    messages,
                    usize::from(snapshot.messages().get(&MessageId::trusted(format!("msg_{name}_0")))?.is_some()),
                    usize::from(snapshot.runs().get(&run_id)?.is_some()),
                    snapshot.runs().recent_of(&key, 10)?.len(),
                    snapshot.runs().inputs(&run_id)?.len(),
                    snapshot.tool_calls().of_run(&run_id)?.len(),
                ])
            })
            .await
        }
    };
    assert_eq!(left("agent:main:one").await, [0; 7]);
    assert_eq!(left("agent:main:two").await, [1, 4, 1, 1, 1, 1, 1]);
}
