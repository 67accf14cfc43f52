//! Replacements that do not come to serve.

use serde_json::{Value, json};

use crate::clients::Caller;
use crate::support::Home;
use crate::wire::Talk;

async fn is_served(home: &Home, address: &str) {
    Caller::new(address, &home.token()).call("health", json!({})).await;
}

fn kind(message: &Value) -> &str {
    message["type"].as_str().unwrap()
}

/// Comes as a successor; the one before may still be being put away.
fn welcomed(home: &Home) -> Talk {
    loop {
        let mut talk = Talk::connect(&home.socket());
        let answer = talk.greet(60_000);
        if kind(&answer) == "offer" {
            return talk;
        }
        assert_eq!(answer["reason"], json!("another replacement is under way"));
    }
}

#[tokio::test]
async fn a_replacement_that_never_becomes_ready_is_given_up_and_the_old_process_goes_on() {
    let home = Home::new();
    let server = home.serve();
    let address = server.address("aleph");
    let mut caller = Caller::new(&address, &home.token());
    caller.call("health", json!({})).await;
    for _ in 0..2 {
        let mut talk = Talk::connect(&home.socket());
        let offer = talk.greet(300);
        assert_eq!(
            (kind(&offer), &offer["pid"], &offer["from_flags"]),
            ("offer", &json!(server.child.id()), &json!(true))
        );
        assert_eq!(offer["listeners"][0]["address"], json!(address));
        talk.wait_for_release();
        let withdrawn = talk.hear().unwrap();
        assert_eq!(kind(&withdrawn), "withdrawn");
        assert!(withdrawn["reason"].as_str().unwrap().contains("not ready within 300ms"), "{withdrawn}");
        assert_eq!(talk.hear(), None);
        caller.call("health", json!({})).await;
    }
    assert_eq!((caller.moves, home.pid()), (2, server.child.id()));
    server.stop();
}

#[tokio::test]
async fn a_replacement_that_dies_or_fails_at_any_step_changes_nothing_for_good() {
    let home = Home::new();
    let server = home.serve();
    let address = server.address("aleph");
    drop(Talk::connect(&home.socket()));
    // After the offer, when it is prepared, when the store is free, when it may go.
    for steps in 0..4 {
        let mut talk = welcomed(&home);
        match steps {
            0 => {}
            1 => talk.say(&json!({ "type": "prepared" })),
            2 => talk.wait_for_release(),
            _ => {
                talk.wait_for_release();
                talk.say(&json!({ "type": "ready" }));
                assert_eq!(talk.hear(), Some(json!({ "type": "go" })));
            }
        }
        drop(talk);
        is_served(&home, &address).await;
    }
    let mut talk = welcomed(&home);
    talk.wait_for_release();
    talk.say(&json!({ "type": "failed", "reason": "a test gives up" }));
    is_served(&home, &address).await;
    server.stop();
}

#[tokio::test]
async fn one_replacement_at_a_time() {
    let home = Home::new();
    let server = home.serve();
    let mut first = Talk::connect(&home.socket());
    assert_eq!(kind(&first.greet(60_000)), "offer");
    let said = home.refused(&["--replace"]);
    assert!(said.contains("the running gateway refuses: another replacement is under way"), "{said}");
    is_served(&home, &server.address("aleph")).await;
    server.stop();
    let withdrawn = first.hear().unwrap();
    assert_eq!((kind(&withdrawn), &withdrawn["reason"]), ("withdrawn", &json!("the gateway is stopping")));
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_replacement_stops_both() {
    let home = Home::new();
    let server = home.serve();
    let mut talk = Talk::connect(&home.socket());
    assert_eq!(kind(&talk.greet(60_000)), "offer");
    talk.wait_for_release();
    server.signal("TERM");
    let withdrawn = talk.hear().unwrap();
    assert_eq!((kind(&withdrawn), &withdrawn["reason"]), ("withdrawn", &json!("the gateway is stopping")));
    server.ended();
    assert!(!home.socket().exists() && !home.path().join("gateway.json").exists());
}

#[tokio::test]
async fn a_visitor_that_makes_no_sense_is_let_go() {
    let home = Home::new();
    let server = home.serve();
    for nonsense in [json!({ "type": "ready" }), json!({ "type": "hello" }), json!([1])] {
        let mut talk = Talk::connect(&home.socket());
        talk.say(&nonsense);
        assert_eq!(talk.hear(), None, "{nonsense}");
    }
    is_served(&home, &server.address("aleph")).await;
    server.stop();
}
