//! Compaction that nobody asked for.

use model::{Event, NewMessage, Role, SessionKey};
use providers::testkit::{Gate, Scripted};
use services::SessionRules;
use services::settings::CompactionRules;
use testkit::{GatewayBuilder, TestGateway, soon};

use crate::rig::{A, COMPLETED, assistant, calls_work, close, last_asked, outcome, seen, tool, user};
use crate::tool::{Nature, Work};

fn shortening(threshold: u64, keep_recent: u32) -> GatewayBuilder {
    let compaction = CompactionRules { enabled: true, threshold, keep_recent };
    TestGateway::builder().rules(SessionRules { compaction, ..SessionRules::default() })
}

const SUMMARY: &str = "a story";

/// The model's part in a compaction: no facts, and a summary.
fn will_summarise(gateway: &TestGateway) {
    gateway.provider.push(Scripted::text("[]"));
    gateway.provider.push(Scripted::text(SUMMARY));
}

async fn compacted(gateway: &TestGateway) {
    seen(gateway, "a compaction", |event| matches!(event, Event::SessionCompacted { automatic: true, .. })).await;
}

fn long() -> String {
    "a long story ".repeat(50)
}

#[tokio::test]
async fn a_session_that_has_grown_long_is_shortened_between_exchanges() {
    let work = Work::new(Nature::Heeding);
    work.finish();
    let gateway = shortening(50, 2).tool(work).start().await;
    gateway.provider.push(calls_work("c1"));
    gateway.provider.push(Scripted::text("done"));
    will_summarise(&gateway);
    let run = gateway.say(A, &long()).await;
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    compacted(&gateway).await;
    // Keeping two would part the result from its call; so three are kept.
    let said = gateway.messages(A).await;
    assert_eq!(said[0], (Role::System, format!("[Compacted summary of 1 earlier messages]\n{SUMMARY}")));
    assert_eq!(said[1..], [assistant(""), tool("worked"), assistant("done")]);
    gateway.ended(&gateway.say(A, "and then?").await).await;
    assert_eq!(last_asked(&gateway), [assistant(""), tool("worked"), assistant("done"), user("and then?")]);
    close(gateway).await;
}

#[tokio::test]
async fn what_waits_for_its_turn_is_not_summarised() {
    let (gateway, gate) = (shortening(50, 0).start().await, Gate::new());
    gateway.given_session(A, [NewMessage::user(long().as_str()), NewMessage::assistant("indeed")]).await;
    gateway.provider.push(Scripted::held(&gate, "done"));
    let (active, waiting) = (gateway.say(A, "one").await, gateway.say(A, "two").await);
    soon("the answer", gate.reached()).await;
    will_summarise(&gateway);
    gateway.provider.push(Scripted::text("second"));
    will_summarise(&gateway);
    gate.open();
    assert_eq!(outcome(&gateway, &active).await, COMPLETED);
    compacted(&gateway).await;
    assert_eq!(outcome(&gateway, &waiting).await, COMPLETED);
    let request = gateway.provider.requests()[3].clone();
    assert_eq!(crate::rig::asked(&request), [assistant("done"), user("two")]);
    close(gateway).await;
}

#[tokio::test]
async fn a_gateway_that_stops_does_not_wait_for_a_summary() {
    let (mut gateway, gate) = (shortening(50, 0).start().await, Gate::new());
    gateway.provider.push(Scripted::text("done"));
    gateway.provider.push(Scripted::held(&gate, "[]"));
    let run = gateway.say(A, &long()).await;
    soon("the question for facts", gate.reached()).await;
    let waiting = gateway.say(A, "next").await;
    gateway.restart().await;
    assert_eq!(gateway.recovered.requeued, 1);
    assert_eq!(outcome(&gateway, &run).await, COMPLETED);
    assert_eq!(outcome(&gateway, &waiting).await, COMPLETED);
    close(gateway).await;
}

#[tokio::test]
async fn a_session_that_is_cleared_while_it_is_shortened_stays_clear() {
    let (gateway, gate) = (shortening(50, 0).start().await, Gate::new());
    gateway.provider.push(Scripted::text("done"));
    gateway.provider.push(Scripted::held(&gate, "[]"));
    gateway.provider.push(Scripted::text(SUMMARY));
    gateway.say(A, &long()).await;
    soon("the question for facts", gate.reached()).await;
    let waiting = gateway.say(A, "next").await;
    let key = SessionKey::parse(A).unwrap();
    let clearing = gateway.services.runs.clear_session(&key, false);
    let (removed, ()) = tokio::join!(clearing, async { gate.open() });
    assert_eq!(removed.unwrap(), Some(1), "the summary; the message that waits stays");
    assert_eq!(outcome(&gateway, &waiting).await, COMPLETED);
    assert_eq!(last_asked(&gateway), [user("next")]);
    assert_eq!(gateway.messages(A).await, [user("next"), assistant("next")]);
    close(gateway).await;
}
