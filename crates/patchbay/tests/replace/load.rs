//! Under load, from one process to the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::clients::{Caller, Http};
use crate::support::{Home, signal, wait_for};

const REPLACEMENTS: usize = 3;
/// Calls of each client between two replacements.
const CALLS: usize = 40;

/// One kind of client: how far it is, and whether it is to stop.
#[derive(Clone, Default)]
struct Progress {
    calls: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Progress {
    fn done(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.is_over.load(Ordering::SeqCst)
    }

    fn count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_refused_or_lost_while_the_process_is_replaced_three_times() {
    let home = Home::with_model().await;
    let mut server = home.serve();
    let (aleph, comis, token) = (server.address("aleph"), server.address("comis"), home.token());
    let over = Arc::new(AtomicBool::new(false));
    let progress: Vec<Progress> =
        (0..4).map(|_| Progress { calls: Arc::default(), is_over: Arc::clone(&over) }).collect();

    let (address, kept) = (comis.clone(), progress[0].clone());
    let keeping = tokio::spawn(async move {
        let mut client = Http::new(&address);
        while !kept.done() {
            assert_eq!(client.get("/health").await.0, 200);
        }
    });
    let (address, fresh) = (comis.clone(), progress[1].clone());
    let connecting = tokio::spawn(async move {
        while !fresh.done() {
            assert_eq!(Http::new(&address).get("/readyz").await.0, 200);
        }
    });
    let (mut caller, called) = (Caller::new(&aleph, &token), progress[2].clone());
    let calling = tokio::spawn(async move {
        while !called.done() {
            caller.call("health", json!({})).await;
        }
        caller.moves
    });
    let (mut speaker, spoken) = (Caller::new(&aleph, &token), progress[3].clone());
    let speaking = tokio::spawn(async move {
        let mut sent = Vec::new();
        loop {
            let text = format!("message {}", sent.len());
            speaker.call("agent.run", json!({ "message": text, "session_key": "agent:main:dm:load" })).await;
            sent.push(text);
            if spoken.done() {
                return (speaker, sent);
            }
        }
    });

    for _ in 0..REPLACEMENTS {
        let before: Vec<usize> = progress.iter().map(Progress::count).collect();
        wait_for("the load", || progress.iter().zip(&before).all(|(now, before)| now.count() >= before + CALLS));
        let next = tokio::task::block_in_place(|| home.replace());
        assert_eq!((next.address("aleph"), next.address("comis")), (aleph.clone(), comis.clone()));
        tokio::task::block_in_place(|| std::mem::replace(&mut server, next).ended());
        assert_eq!(home.pid(), server.child.id());
    }
    let before: Vec<usize> = progress.iter().map(Progress::count).collect();
    wait_for("the load", || progress.iter().zip(&before).all(|(now, before)| now.count() >= before + CALLS));
    over.store(true, Ordering::SeqCst);
    keeping.await.unwrap();
    connecting.await.unwrap();
    assert_eq!(calling.await.unwrap(), REPLACEMENTS);
    let (mut speaker, sent) = speaking.await.unwrap();

    // Every message that was accepted is in the session once, and answered once.
    let once: BTreeMap<String, usize> = sent.into_iter().map(|text| (text, 1)).collect();
    loop {
        let (said, answers) = speaker.transcript("agent:main:dm:load").await;
        assert!(answers <= once.len(), "{answers} answers to {} messages", once.len());
        if answers == once.len() {
            assert_eq!(said, once);
            break;
        }
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_in_order_and_idle_sockets_are_told() {
    let home = Home::new();
    let server = home.serve();
    let mut client = Http::new(&server.address("comis"));
    assert_eq!(client.get("/health").await.0, 200);
    let mut caller = Caller::new(&server.address("aleph"), &home.token());
    caller.call("health", json!({})).await;
    let next = tokio::task::block_in_place(|| home.replace());
    tokio::task::block_in_place(|| server.ended());
    assert!(client.is_closed().await);
    // The socket says so itself; the call goes to the new process.
    caller.call("health", json!({})).await;
    assert_eq!(caller.moves, 1);
    assert_eq!(Http::new(&next.address("comis")).get("/health").await.0, 200);
    next.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_has_the_program_replace_itself() {
    let home = Home::new();
    let server = home.serve();
    let (old, address) = (server.child.id(), server.address("aleph"));
    server.signal("USR2");
    wait_for("another process", || home.pid() != old);
    // The new one says its own `ready` where the old one said its.
    tokio::task::block_in_place(|| {
        let mut server = server;
        wait_for("the end of the old process", || server.child.try_wait().unwrap().is_some());
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
    });
    let mut caller = Caller::new(&address, &home.token());
    caller.call("health", json!({})).await;
    let new = home.pid();
    signal(new, "TERM");
    wait_for("the end of the new process", || !home.path().join("gateway.json").exists());
}
