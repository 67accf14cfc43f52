//! `/api/events`: what is told, and that nothing is lost or told twice.

use providers::FinishReason;
use providers::testkit::{Gate, Scripted};
use serde_json::json;

use crate::support::{Gateway, Http, Socket, Stream, in_time};

/// Ids and names of durable events, without the frames of the transport and those that come before
/// the last frame of their event.
fn durable(frames: &[(u64, String)]) -> Vec<(u64, String)> {
    let transport = ["retry", "ping", "resync", "message:streaming", "observability:token_usage"];
    frames.iter().filter(|(_, name)| !transport.contains(&name.as_str())).cloned().collect()
}

/// Reads up to the answer with that text.
async fn read_to(stream: &mut Stream, text: &str) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    loop {
        let frame = stream.next().await.expect("the stream lives");
        seen.push((frame.id(), frame.event.clone()));
        if frame.event == "message:sent" && frame.json()["content"] == text {
            return seen;
        }
    }
}

#[tokio::test]
async fn a_turn_is_told_in_order() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let mut events = http.events(None).await;
    let retry = events.next().await.unwrap();
    assert_eq!((retry.event.as_str(), retry.data.as_str(), retry.id.as_str()), ("retry", "", "0"));
    http.post("/api/chat", &json!({ "message": "Hello you", "sessionKey": "default:ann:web" })).await;
    let created = events.next().await.unwrap();
    assert_eq!(created.event, "session:created");
    let key = json!({ "tenantId": "default", "userId": "ann", "channelId": "web", "agentId": "main" });
    assert_eq!(created.json(), json!({ "sessionKey": key, "timestamp": crate::support::START_MS }));
    let received = events.next().await.unwrap();
    assert_eq!(
        (received.event.as_str(), &received.json()["message"]["text"]),
        ("message:received", &json!("Hello you"))
    );
    let growing = events.next().await.unwrap();
    assert_eq!((growing.event.as_str(), growing.json()["delta"].as_str()), ("message:streaming", Some("Hello ")));
    assert_eq!(growing.id, "4", "the id of the durable event before it, the start of the run");
    let used = events.next().await.unwrap();
    let tokens = json!({ "prompt": 10, "completion": 2, "total": 12 });
    assert_eq!((used.event.as_str(), &used.json()["tokens"]), ("observability:token_usage", &tokens));
    assert_eq!(used.json()["provider"], "scripted");
    let done = events.next().await.unwrap();
    assert_eq!((done.json()["accumulated"].as_str(), done.json()["done"].as_bool()), (Some("Hello you"), Some(true)));
    let sent = events.next().await.unwrap();
    assert_eq!((sent.event.as_str(), &sent.json()["sessionKey"]), ("message:sent", &json!("default:ann:web")));
    assert_eq!(sent.json()["messageId"], growing.json()["messageId"]);
}

#[tokio::test]
async fn growing_replies_are_told_at_most_ten_times_a_second() {
    let gateway = Gateway::start().await;
    let (first, second) = (Gate::new(), Gate::new());
    let script =
        Scripted::chunks([]).then_text("a b c ").then_wait(&first).then_text("d ").then_wait(&second).then_text("e");
    gateway.provider.push(script.then_finish(FinishReason::Stop));
    let http = Http::with(&gateway, "rpc");
    let mut events = http.events(None).await;
    let body = json!({ "message": "Hi" });
    let asking = http.post("/api/chat", &body);
    let clock = async {
        in_time("the first pause", first.reached()).await;
        gateway.clock.advance_ms(100);
        first.open();
        in_time("the second pause", second.reached()).await;
        let mut grown = Vec::new();
        loop {
            let frame = events.next_named("message:streaming").await.json();
            grown.push(frame["delta"].as_str().unwrap().to_owned());
            match grown.len() {
                2 => second.open(),
                _ if frame["done"] == true => return grown,
                _ => {}
            }
        }
    };
    let (reply, grown) = tokio::join!(asking, clock);
    assert_eq!(reply.json()["response"], "a b c d e");
    assert_eq!(grown, ["a ", "b c d ", "e"]);
}

#[tokio::test]
async fn who_reconnects_gets_every_event_once_and_in_order() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let mut whole = http.events(None).await;
    let mut cut = http.events(None).await;
    let mut pieces = Vec::new();
    let mut expected = Vec::new();
    for round in 0..6 {
        let text = format!("message {round}");
        if round % 2 == 0 {
            // Cut in the middle of what happens: only some frames are read.
            http.post("/api/chat", &json!({ "message": text })).await;
            for _ in 0..3 {
                let frame = cut.next().await.unwrap();
                pieces.push((frame.id(), frame.event));
            }
        } else {
            let last = pieces.last().map(|(id, _): &(u64, String)| id.to_string());
            drop(cut);
            // Missed altogether.
            http.post("/api/chat", &json!({ "message": text })).await;
            cut = http.events(last.as_deref()).await;
            pieces.extend(read_to(&mut cut, &text).await);
        }
        expected.extend(read_to(&mut whole, &text).await);
    }
    let (expected, seen) = (durable(&expected), durable(&pieces));
    assert_eq!(expected.len(), 13, "one session, six messages there and back: {expected:?}");
    assert_eq!(seen, expected);
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[tokio::test]
async fn ids_rise_over_restarts_and_what_happened_before_is_replayed() {
    let gateway = Gateway::start().await;
    gateway.given_turn("agent:main:main", "before").await;
    let newest = gateway.services.bus.newest().0;
    let gateway = gateway.restart().await;
    let http = Http::with(&gateway, "rpc");
    let mut events = http.events(Some("0")).await;
    let before = durable(&read_to(&mut events, "before").await);
    assert_eq!(
        before.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(),
        ["session:created", "message:received", "message:sent"]
    );
    assert_eq!(before.last().unwrap().0, newest);
    gateway.given_turn("agent:main:main", "after").await;
    let after = durable(&read_to(&mut events, "after").await);
    assert!(after.iter().all(|(id, _)| *id > newest), "{after:?}");
}

#[tokio::test]
async fn an_id_that_was_never_issued_gets_a_resync_and_then_live_events() {
    let gateway = Gateway::start().await;
    gateway.given_turn("agent:main:main", "one").await;
    let newest = gateway.services.bus.newest().0.to_string();
    let http = Http::with(&gateway, "rpc");
    for never in ["999999", "99999999999999999999999"] {
        let mut events = http.events(Some(never)).await;
        assert_eq!(events.next().await.unwrap().id, newest);
        let resync = events.next().await.unwrap();
        assert_eq!((resync.event.as_str(), resync.id.as_str()), ("resync", newest.as_str()));
        assert_eq!(
            (resync.json()["reason"].as_str(), resync.json()["oldestId"].as_str()),
            (Some("restart"), Some("1"))
        );
        gateway.given_turn("agent:main:main", never).await;
        assert_eq!(events.next_named("message:sent").await.json()["content"], never);
        drop(events);
        // The next round begins at the same place.
        if never == "999999" {
            break;
        }
    }
    // What is no id counts as none.
    let mut events = http.events(Some("abc")).await;
    assert_eq!(events.next().await.unwrap().event, "retry");
    gateway.given_turn("agent:main:main", "two").await;
    assert_eq!(events.next().await.unwrap().event, "message:received");
}

#[tokio::test]
async fn replay_switched_off_asks_for_a_resync() {
    let gateway = Gateway::start().await;
    gateway.change(|settings| settings.events.buffer_size = 0);
    gateway.given_turn("agent:main:main", "one").await;
    let mut events = Http::with(&gateway, "rpc").events(Some("1")).await;
    assert_eq!(events.next().await.unwrap().event, "retry");
    let resync = events.next().await.unwrap();
    assert_eq!((resync.event.as_str(), &resync.json()["reason"]), ("resync", &json!("gap")));
}

#[tokio::test]
async fn the_query_may_hold_the_last_id_and_a_header_wins() {
    let gateway = Gateway::start().await;
    gateway.given_turn("agent:main:main", "one").await;
    let http = Http::with(&gateway, "rpc");
    let mut events = http.stream(http.request("GET", "/api/events?lastEventId=0")).await;
    assert_eq!(events.next().await.unwrap().id, "0");
    assert_eq!(events.next().await.unwrap().event, "session:created");
    let newest = gateway.services.bus.newest().0.to_string();
    let mut events =
        http.stream(http.request("GET", "/api/events?lastEventId=0").header("last-event-id", &newest)).await;
    assert_eq!(events.next().await.unwrap().id, newest);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_a_while_loses_no_durable_event() {
    let gateway = Gateway::start().await;
    let http = Http::with(&gateway, "rpc");
    let mut slow = http.events(None).await;
    // More than the buffers on the way can hold: 14 MB.
    let long = "x".repeat(90_000);
    let rounds = 40;
    for round in 0..rounds {
        gateway.given_turn(&format!("agent:main:slow:{round}"), &format!("{long} {round}")).await;
    }
    let mut sent = Vec::new();
    while sent.len() < rounds {
        let content = slow.next_named("message:sent").await.json()["content"].as_str().unwrap().to_owned();
        sent.push(content.rsplit(' ').next().unwrap().to_owned());
    }
    assert_eq!(sent, (0..rounds).map(|round| round.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_ping_comes_every_fifteen_seconds_with_the_last_id() {
    let gateway = Gateway::start().await;
    let mut events = Http::with(&gateway, "rpc").events(None).await;
    assert_eq!(events.next().await.unwrap().event, "retry");
    let begun = tokio::time::Instant::now();
    for _ in 0..2 {
        let ping = events.next().await.unwrap();
        assert_eq!((ping.event.as_str(), ping.data.as_str(), ping.id.as_str()), ("ping", "", "0"));
    }
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn a_revoked_token_ends_its_streams_and_sockets() {
    let gateway = Gateway::start().await;
    let mut events = Http::with(&gateway, "rpc").events(None).await;
    assert_eq!(events.next().await.unwrap().event, "retry");
    let mut socket = Socket::open(&gateway, "rpc").await;
    let mut other = Socket::open(&gateway, "all").await;
    assert_eq!(socket.call("system.ping", json!({})).await["result"]["pong"], true);
    gateway.change(|settings| settings.tokens.retain(|token| token.id != "rpc"));
    let mut left = dialect_comis::ComisSettings::default();
    gateway.change(|settings| left = settings.clone());
    gateway.services.tokens.set_configured(left.configured_tokens(|_| None).0);
    assert_eq!(events.rest().await, vec![]);
    assert_eq!(socket.closed().await, (4001, "Token revoked".into()));
    assert_eq!(other.call("system.ping", json!({})).await["result"]["pong"], true);
}

#[tokio::test]
async fn metadata_keeps_the_text_of_messages_back() {
    let gateway = Gateway::start().await;
    gateway.change(|settings| settings.events.content = dialect_comis::EventContent::Metadata);
    let mut events = Http::with(&gateway, "rpc").events(None).await;
    gateway.given_turn("agent:main:main", "a secret").await;
    loop {
        let frame = events.next().await.unwrap();
        assert!(!frame.data.contains("secret"), "{frame:?}");
        if frame.event == "message:sent" {
            break;
        }
    }
}
