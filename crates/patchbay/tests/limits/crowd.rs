//! Thousands of connections, and one that takes nothing.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::rig::{Client, Gateway};

/// Clients that were let in and say nothing more.
const IDLE: usize = 2000;
/// Of each kind of those who do not come so far.
const HALF: usize = 1000;
/// More than before, after thousands have come and gone: buffers that are kept for the next.
const MEMORY_MARGIN_KIB: u64 = 24 * 1024;
/// The listener may be about to accept, and a thread of the store may have been started.
const DESCRIPTORS_MARGIN: usize = 8;

/// Half a head; nothing at all; a head that will have no end.
async fn half_open(gateway: &Gateway, kind: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.expect("it accepts");
    match kind {
        0 => {}
        1 => stream.write_all(b"GET / HTTP/1.1\r\nhost: local").await.expect("it reads"),
        _ => stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n").await.expect("it reads"),
    }
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_and_half_open_connections_leave_nothing_behind() {
    let gateway = Gateway::start(String::from("Done.")).await;
    let mut before: Option<(usize, u64, usize)> = None;
    // The first crowd shows what stays for good; the second must not add to it.
    for _ in 0..2 {
        let mut idle = Vec::with_capacity(IDLE);
        for _ in 0..IDLE {
            idle.push(Client::connect(&gateway).await);
        }
        let mut half = Vec::with_capacity(3 * HALF);
        for number in 0..3 * HALF {
            half.push(half_open(&gateway, number % 3).await);
        }
        gateway.wait_until("all are accepted", async || gateway.descriptors() >= IDLE + 3 * HALF).await;
        // Whoever has something to say is heard all the same.
        let mut client = Client::connect(&gateway).await;
        client.call("agent.run", json!({ "message": "hi" })).await.expect("it is accepted");
        let crowded = (gateway.descriptors(), gateway.memory_kib());
        drop((idle, half, client));
        gateway.wait_until("nobody is connected", async || gateway.gauge("patchbay_connections").await == 0).await;
        gateway.wait_until("their tasks and descriptors are gone", async || gateway.descriptors() < 100).await;
        if let Some((_, memory, _)) = before {
            // It is given back a moment after the last of them has gone.
            gateway
                .wait_until("their memory is given back", async || gateway.memory_kib() <= memory + MEMORY_MARGIN_KIB)
                .await;
        }
        let after = (gateway.descriptors(), gateway.memory_kib(), gateway.threads());
        println!("descriptors and KiB with the crowd: {crowded:?}; without, and threads: {after:?}");
        if let Some((descriptors, _, threads)) = before.replace(after) {
            assert!(after.0 <= descriptors + DESCRIPTORS_MARGIN, "{descriptors} descriptors became {}", after.0);
            assert!(after.2 <= threads + DESCRIPTORS_MARGIN, "{threads} threads became {}", after.2);
        }
    }
}

/// An answer that fills every buffer between a gateway and its client after some runs.
const ANSWER_BYTES: usize = 200_000;
const RUNS: usize = 60;
/// More than the same runs took without it. What is said last is kept for whoever comes back.
const SLOW_MARGIN_KIB: u64 = 32 * 1024;

/// A run, and its end.
async fn say(speaker: &mut Client, number: usize) {
    let params = json!({ "message": "hi", "session_key": format!("agent:main:dm:user{number}") });
    let run = speaker.call("agent.run", params).await.expect("it is accepted");
    loop {
        let told = &speaker.frame().await["params"];
        if told["data"]["run_id"] == run["run_id"] {
            assert_ne!(told["topic"], "agent.error", "{told}");
            if told["topic"] == "agent.completed" {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_let_go_and_costs_nobody_else_anything() {
    let gateway = Gateway::start("x".repeat(ANSWER_BYTES)).await;
    let mut speaker = Client::connect(&gateway).await;
    let mut took = Vec::new();
    let mut deaf = None;
    for is_heard in [true, false] {
        if !is_heard {
            let mut client = Client::connect(&gateway).await;
            client.call("events.subscribe", json!({ "patterns": ["*"] })).await.expect("it may listen");
            deaf = Some(client);
        }
        let before = gateway.memory_kib();
        for number in 0..RUNS {
            say(&mut speaker, number).await;
        }
        took.push(gateway.memory_kib().saturating_sub(before));
    }
    println!("KiB that the runs took without it, and with it: {took:?}");
    assert!(took[1] < took[0] + SLOW_MARGIN_KIB, "{} KiB became {}", took[0], took[1]);
    let descriptors = gateway.descriptors();
    // It still does not read, and the gateway gives it up.
    let given_up = async {
        gateway.wait_until("it is let go", async || gateway.gauge("patchbay_connections").await == 1).await;
        gateway.wait_until("its descriptor is gone", async || gateway.descriptors() < descriptors).await;
    };
    speaker.listen_during(given_up).await;
    say(&mut speaker, RUNS).await;
    drop(deaf);
}
