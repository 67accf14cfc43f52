//! Nodes, what they hold, and that a removed one writes nothing.

use std::sync::Arc;

use model::{Fence, Run, RunState, SessionKey};
use serde_json::json;
use tokio::task::JoinSet;

use super::place::{Reopen, read, write};
use super::rows::{at, event, key, odd_text, run};
use crate::{NewNode, Node, Store, StoreError};

const MAIN: &str = "agent:main:main";

fn node(name: &str) -> NewNode {
    NewNode {
        name: name.to_owned(),
        host: odd_text(),
        version: String::from("0.1.0"),
        pid: u32::MAX,
        addresses: json!({ "aleph": "ws://127.0.0.1:18790" }),
        lease_ms: 5000,
        at: at(-1),
    }
}

async fn join(store: &Arc<dyn Store>, name: &'static str) -> Fence {
    write(store, move |tx| tx.nodes_mut().join(&node(name))).await
}

async fn nodes(store: &Arc<dyn Store>) -> Vec<Node> {
    read(store, |snapshot| snapshot.nodes().list()).await
}

async fn owner_of(store: &Arc<dyn Store>, session: SessionKey) -> Option<Fence> {
    read(store, move |snapshot| snapshot.nodes().owner_of(&session)).await
}

pub async fn a_node_comes_back_whole_and_its_next_life_replaces_it(place: &dyn Reopen) {
    let store = place.open().await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let fresh = |fence, name| Node { fence, node: node(name), beats: 0, is_draining: false };
    assert!(a < b);
    assert_eq!(nodes(&store).await, [fresh(a, "a"), fresh(b, "b")]);
    let addresses = json!({ "comis": "http://[::1]:1" });
    let moved = addresses.clone();
    assert!(write(&store, move |tx| tx.nodes_mut().beat(a, &moved, true)).await);
    let beaten = Node { node: NewNode { addresses, ..node("a") }, beats: 1, is_draining: true, ..fresh(a, "a") };
    assert_eq!(nodes(&store).await, [beaten, fresh(b, "b")]);

    let again = join(&store, "a").await;
    assert!(again > b, "a number is never given again");
    assert_eq!(nodes(&store).await, [fresh(b, "b"), fresh(again, "a")]);
    assert!(!write(&store, move |tx| tx.nodes_mut().beat(a, &json!({}), false)).await);
    assert!(!write(&store, move |tx| tx.nodes_mut().remove(a)).await, "its life was over");
    assert!(write(&store, move |tx| tx.nodes_mut().remove(again)).await);
    assert!(join(&store, "a").await > again, "nor after a removal");
}

pub async fn a_removed_node_writes_nothing(place: &dyn Reopen) {
    let store = place.open().await;
    let me = join(&store, "a").await;
    write(&store, |tx| tx.events_mut().append(at(1), &event(1))).await;
    store.write_as(me);
    write(&store, |tx| tx.events_mut().append(at(1), &event(2))).await;
    assert!(write(&store, move |tx| tx.nodes_mut().remove(me)).await, "the unit itself is still written");
    let mut tasks = JoinSet::new();
    for number in 3..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.write(move |tx| tx.events_mut().append(at(1), &event(number))).await });
    }
    for refused in tasks.join_all().await {
        assert!(matches!(refused, Err(StoreError::FencedOff)), "{refused:?}");
    }
    let rejoined = store.write(|tx| tx.nodes_mut().join(&node("a"))).await;
    assert!(matches!(rejoined, Err(StoreError::FencedOff)), "not even a new life: {rejoined:?}");
    assert_eq!(read(&store, |snapshot| snapshot.events().bounds()).await.newest.0, 2);
}

pub async fn a_run_is_gone_on_with_by_its_owner_alone(place: &dyn Reopen) {
    let store = place.open().await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let mine = Run { owner: a, ..run("run_1", MAIN) };
    let row = mine.clone();
    write(&store, move |tx| tx.runs_mut().insert(&row)).await;
    let go_on = |owner, state| {
        let (store, row) = (Arc::clone(&store), Run { owner, state, ..mine.clone() });
        async move { write(&store, move |tx| tx.runs_mut().update_unfinished(&row)).await }
    };
    assert!(!go_on(b, RunState::Running).await);
    assert!(go_on(a, RunState::Running).await);
    write(&store, move |tx| {
        tx.nodes_mut().remove(a)?;
        assert_eq!(tx.runs_mut().adopt(b)?, 1);
        tx.runs_mut().adopt(b).map(|more| assert_eq!(more, 0, "once"))
    })
    .await;
    assert!(!go_on(a, RunState::Completed).await, "a stale owner ends nothing");
    assert!(go_on(b, RunState::Completed).await);
    assert!(!go_on(b, RunState::Failed).await);
}

pub async fn orphans_are_unfinished_runs_of_nodes_that_are_gone(place: &dyn Reopen) {
    let store = place.open().await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let of = |id: &str, owner| Run { owner, ..run(id, MAIN) };
    let rows = [
        of("old", Fence(0)),
        of("a_2", a),
        of("b_1", b),
        Run { state: RunState::Completed, ..of("over", a) },
        of("a_1", a),
    ];
    write(&store, move |tx| rows.iter().try_for_each(|row| tx.runs_mut().insert(row))).await;
    let orphans = |store: &Arc<dyn Store>| {
        let store = Arc::clone(store);
        async move {
            let found = read(&store, |snapshot| snapshot.runs().orphans()).await;
            found.iter().map(|run| run.id.to_string()).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(orphans(&store).await, "old");
    write(&store, move |tx| tx.nodes_mut().remove(a)).await;
    assert_eq!(orphans(&store).await, "old a_2 a_1", "in the order of acceptance");
    assert_eq!(write(&store, move |tx| tx.runs_mut().adopt(b)).await, 3);
    assert_eq!(orphans(&store).await, "");
    let over = read(&store, |snapshot| snapshot.runs().get(&model::RunId::trusted("over"))).await;
    assert_eq!(over.map(|run| run.owner), Some(a), "what is over stays as it was");
}

pub async fn a_session_belongs_to_whoever_runs_or_holds_it(place: &dyn Reopen) {
    let store = place.open().await;
    let (a, b) = (join(&store, "a").await, join(&store, "b").await);
    let main = || key(MAIN);
    assert_eq!(owner_of(&store, main()).await, None);
    write(&store, move |tx| tx.nodes_mut().hold(&main(), a)).await;
    write(&store, move |tx| tx.nodes_mut().hold(&key("agent:main:other"), b)).await;
    assert_eq!(owner_of(&store, main()).await, Some(a));
    let row = Run { owner: b, ..run("run_1", MAIN) };
    write(&store, move |tx| tx.runs_mut().insert(&row)).await;
    assert_eq!(owner_of(&store, main()).await, Some(b), "a run says more than a hold");
    let orphan = Run { owner: Fence(0), ..run("orphan", "agent:main:orphaned") };
    write(&store, move |tx| tx.runs_mut().insert(&orphan)).await;
    assert_eq!(owner_of(&store, key("agent:main:orphaned")).await, Some(Fence(0)), "one heir takes all");
    write(&store, move |tx| tx.nodes_mut().let_go(&main(), b)).await;
    write(&store, move |tx| {
        let row = Run { owner: b, state: RunState::Completed, ..run("run_1", MAIN) };
        tx.runs_mut().update_unfinished(&row).map(|held| assert!(held))
    })
    .await;
    assert_eq!(owner_of(&store, main()).await, Some(a), "the hold of another was not let go");
    write(&store, move |tx| tx.nodes_mut().remove(a)).await;
    assert_eq!(owner_of(&store, main()).await, None, "what a removed node held is free");
    let other = || key("agent:main:other");
    assert_eq!(owner_of(&store, other()).await, Some(b));
    write(&store, move |tx| tx.nodes_mut().let_go(&other(), b)).await;
    assert_eq!(owner_of(&store, other()).await, None);
}

pub async fn a_claim_is_granted_once(place: &dyn Reopen) {
    let store = place.open().await;
    let mut granted = 0;
    for due in [10, 10, 20, 15, 20, 21] {
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            tasks.spawn(async move { write(&store, move |tx| tx.nodes_mut().claim("job \"1\"", at(due))).await });
        }
        granted += tasks.join_all().await.into_iter().filter(|is_mine| *is_mine).count();
    }
    assert_eq!(granted, 3, "for 10, 20 and 21");
    assert!(write(&store, |tx| tx.nodes_mut().claim("job 2", at(-7))).await, "each name for itself");
}
