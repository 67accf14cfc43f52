//! What is kept for a while for whoever may come back for it.

use model::{RunState, SessionKey};
use providers::testkit::Scripted;
use serde_json::json;
use services::kept::{Shelf, Thing};
use services::runs::NewRun;
use testkit::TestGateway;

use crate::rig::close;

const HOUR_MS: i64 = 3_600_000;
const SHELF: Shelf = Shelf { kind: "note", count_max: 32, bytes_max: 1000, kept_ms: HOUR_MS };

async fn keep(gateway: &TestGateway, id: &str, owner: &str, text: &str) {
    let thing = Thing::new(id, owner, &json!(text), gateway.services.clock.now());
    gateway.services.kept.keep(&SHELF, vec![thing]).await.unwrap();
}

async fn text(gateway: &TestGateway, owner: &str, id: &str) -> Option<String> {
    gateway.services.kept.get(&SHELF, owner, id).await.unwrap()
}

#[tokio::test]
async fn a_thing_is_its_owners_for_its_time_also_after_a_restart() {
    let mut gateway = TestGateway::start().await;
    keep(&gateway, "a", "ann", "hello").await;
    gateway.restart().await;
    assert_eq!(text(&gateway, "ann", "a").await.as_deref(), Some("hello"));
    assert_eq!(text(&gateway, "bob", "a").await, None);
    let forgotten = |owner: &'static str| gateway.services.kept.forget(&SHELF, (owner, "a"), |_: &String| Vec::new());
    assert_eq!(forgotten("bob").await.unwrap(), None);
    assert_eq!(forgotten("ann").await.unwrap().as_deref(), Some("hello"));
    assert_eq!(text(&gateway, "ann", "a").await, None);
    keep(&gateway, "b", "ann", "hello").await;
    gateway.clock().advance_ms(HOUR_MS);
    assert_eq!(text(&gateway, "ann", "b").await.as_deref(), Some("hello"));
    gateway.clock().advance_ms(1);
    assert_eq!(text(&gateway, "ann", "b").await, None);
    close(gateway).await;
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
    let gateway = TestGateway::start().await;
    for number in 0..40 {
        gateway.clock().advance_ms(1);
        keep(&gateway, &format!("n{number}"), "ann", "x").await;
    }
    assert_eq!((text(&gateway, "ann", "n0").await, text(&gateway, "ann", "n39").await.is_some()), (None, true));
    gateway.clock().advance_ms(1);
    keep(&gateway, "large", "ann", &"x".repeat(996)).await;
    assert_eq!((text(&gateway, "ann", "n39").await, text(&gateway, "ann", "large").await.is_some()), (None, true));
    close(gateway).await;
}

#[tokio::test]
async fn an_ended_run_of_a_session_that_is_gone_can_be_asked_for_also_after_a_restart() {
    let mut gateway = TestGateway::start().await;
    gateway.provider.push(Scripted::text("done"));
    let key = SessionKey::parse("agent:main:ephemeral:one").unwrap();
    let new = NewRun { id: Some(model::RunId::trusted("once")), ..NewRun::new(key, "hello", "test") };
    drop(gateway.accept(new.clone()).await.unwrap());
    let ended = gateway.ended(&model::RunId::trusted("once")).await;
    gateway.restart().await;
    assert_eq!(gateway.services.runs.require(&ended.id).await.unwrap(), ended);
    // Its message was answered, and is not again.
    let again = gateway.accept(new).await.unwrap();
    assert_eq!(
        (again.duplicate, again.run.state, again.run.response.as_deref()),
        (true, RunState::Completed, Some("done"))
    );
    gateway.clock().advance_ms(HOUR_MS + 1);
    assert!(gateway.services.runs.require(&ended.id).await.is_err());
    close(gateway).await;
}
