//! Hearing of what another node does.

use std::collections::BTreeSet;

use events::Delivery;
use model::{Cursor, Event, RunOutcome, Scope, ScopeSet, Secret};
use providers::testkit::{Gate, Scripted};
use services::runs::FollowItem;
use services::tokens::{ConfiguredToken, NewToken};
use testkit::soon;

use crate::pair::{A, Pair, me, outcome, seen};

/// An answer that stops in the middle until the gate opens.
fn halting(before: &str, gate: &Gate, after: &str) -> Scripted {
    let finish = providers::FinishReason::Stop;
    Scripted::Stream(Vec::new()).then_text(before).then_wait(gate).then_text(after).then_finish(finish)
}

#[tokio::test]
async fn deltas_reach_listeners_of_other_nodes_behind_the_start_of_their_run() {
    let pair = Pair::start().await;
    let mut events = pair.two.services.bus.subscribe(None);
    let gate = Gate::new();
    pair.one.provider.push(halting("Hel", &gate, "lo"));
    let run = pair.one.say(A, "greet").await;
    gate.reached().await;
    gate.open();
    let (mut text, mut is_started, mut cumulative) = (String::new(), false, String::new());
    soon("the answer", async {
        loop {
            let Delivery::Event(envelope) = events.next().await.unwrap() else { continue };
            match &envelope.event {
                Event::RunStarted { run: of, .. } if of.run_id == run => is_started = true,
                Event::RunDelta { run: of, text: delta, so_far, .. } if of.run_id == run => {
                    assert!(is_started, "a delta comes before the start of its run");
                    text.push_str(delta);
                    so_far.with(|so_far| so_far.clone_into(&mut cumulative));
                }
                Event::RunEnded { run: of, .. } if of.run_id == run => return,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((text.as_str(), cumulative.as_str()), ("Hello", "Hello"));
    pair.end().await;
}

#[tokio::test]
async fn whoever_comes_in_the_middle_catches_up_once() {
    let (pair, gate) = (Pair::start().await, Gate::new());
    pair.hub.cut("two", true);
    pair.one.provider.push(halting("a long beginning, ", &gate, "and an end"));
    let run = pair.one.say(A, "tell").await;
    gate.reached().await;
    // The other node learns of the run from the log alone, and of none of its text.
    seen(&pair.two, "the start of the run", |event| matches!(event, Event::RunStarted { .. })).await;
    let mut follower = pair.two.services.runs.follow(&run).expect("the run is known here");
    assert_eq!(pair.two.services.runs.live(&run).unwrap().text, "");
    pair.hub.cut("two", false);
    gate.open();
    let mut text = String::new();
    soon("the end", async {
        loop {
            match follower.next().await {
                FollowItem::Event(envelope) => match &envelope.event {
                    Event::RunDelta { text: delta, .. } => text.push_str(delta),
                    Event::RunEnded { response, .. } => assert_eq!(response, "a long beginning, and an end"),
                    _ => {}
                },
                FollowItem::Missed(_) => {}
                FollowItem::Over => return,
            }
        }
    })
    .await;
    // The end may be read before the text is asked for; never is any of it told twice.
    assert!("a long beginning, and an end".starts_with(&text), "{text}");
    pair.end().await;
}

#[tokio::test]
async fn without_the_link_everything_durable_still_comes_in_order() {
    let pair = Pair::start().await;
    let mut events = pair.two.services.bus.subscribe(None);
    pair.hub.cut("one", true);
    let mut expected = BTreeSet::new();
    for number in 0..5 {
        for gateway in [&pair.one, &pair.two] {
            expected.insert(gateway.say(&format!("agent:main:s{number}"), "hello").await);
        }
    }
    let mut last = events.cursor();
    soon("the end of all runs", async {
        while !expected.is_empty() {
            let Delivery::Event(envelope) = events.next().await.unwrap() else { continue };
            if let Some(cursor) = envelope.cursor {
                assert_eq!(cursor, last.next(), "each durable event once, in order");
                last = cursor;
            }
            if let Event::RunEnded { run, .. } = &envelope.event {
                assert!(expected.remove(&run.run_id));
            }
        }
    })
    .await;
    pair.end().await;
}

#[tokio::test]
async fn a_client_goes_on_at_another_node_where_it_was_cut_off() {
    let pair = Pair::start().await;
    let run = pair.one.say(A, "hello").await;
    pair.one.ended(&run).await;
    let log = pair.one.events().await;
    for cut in 0..=log.len() {
        let mut events = pair.two.services.bus.subscribe(Some(Cursor(cut as u64)));
        let mut rest = Vec::new();
        while rest.len() < log.len() - cut {
            let Delivery::Event(envelope) = soon("an event", events.next()).await.unwrap() else { continue };
            rest.extend(envelope.cursor.map(|cursor| (cursor, envelope.event.clone())));
        }
        let expected: Vec<_> = log[cut..].iter().map(|stored| (stored.cursor, stored.event.clone())).collect();
        assert_eq!(rest, expected, "cut off behind {cut}");
    }
    pair.end().await;
}

#[tokio::test]
async fn waiting_for_a_run_of_another_node_ends_with_it() {
    let (pair, gate) = (Pair::start().await, Gate::new());
    pair.one.provider.push(Scripted::held(&gate, "done"));
    let run = pair.one.say(A, "work").await;
    gate.reached().await;
    seen(&pair.two, "the start", |event| matches!(event, Event::RunStarted { .. })).await;
    let waiting = pair.two.ended(&run);
    gate.open();
    assert_eq!(waiting.await.response.as_deref(), Some("done"));
    assert!(matches!(outcome(&pair.two, &run).await, RunOutcome::Completed { .. }));
    assert_eq!(pair.two.services.runs.unfinished_count(), 0);
    pair.end().await;
}

#[tokio::test]
async fn a_token_is_known_and_revoked_everywhere() {
    let pair = Pair::start().await;
    let new = NewToken {
        name: String::from("ci"),
        scopes: [Scope::Read].into_iter().collect(),
        role: String::from("operator"),
        device_id: None,
        parent: None,
        expires_at: None,
    };
    let (record, secret) = pair.one.services.tokens.create(new).await.unwrap();
    seen(&pair.two, "the token", |event| matches!(event, Event::TokenCreated { .. })).await;
    let authenticate = || pair.two.services.tokens.authenticate(secret.expose_secret());
    soon("the token's use", async {
        while authenticate().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut revocations = pair.two.services.tokens.revocations();
    assert!(pair.one.services.tokens.revoke(&record.id).await.unwrap());
    soon("the revocation", revocations.changed()).await.unwrap();
    assert_eq!(authenticate(), None);
    pair.end().await;
}

#[tokio::test]
async fn the_operator_of_a_node_is_the_same_principal_at_every_node() {
    let pair = Pair::start().await;
    let secret = Secret::new("the operator's");
    let id = pair.one.services.tokens.share("operator of one", &secret).await.unwrap();
    assert_eq!(pair.one.services.tokens.share("operator of one", &secret).await.unwrap(), id, "as after a restart");
    seen(&pair.two, "the token", |event| matches!(event, Event::TokenCreated { .. })).await;
    let there = soon("the token's use", async {
        loop {
            match pair.two.services.tokens.authenticate(secret.expose_secret()) {
                Some(principal) => break principal,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!((&there.id, there.scopes), (&id, ScopeSet::OPERATOR));
    // Its own node has it from its home, too.
    let own = ConfiguredToken {
        id: String::from("admin"),
        secret: secret.clone(),
        scopes: ScopeSet::OPERATOR,
        role: String::from("operator"),
        words: Vec::new(),
    };
    pair.one.services.tokens.set_configured(vec![own]);
    assert_eq!(pair.one.services.tokens.authenticate(secret.expose_secret()).unwrap().id, id);
    pair.end().await;
}

#[tokio::test]
async fn a_claim_is_granted_to_one_node() {
    let pair = Pair::start().await;
    let due = model::Timestamp::from_ms(1000);
    let (one, two) = (&pair.one.services.cluster, &pair.two.services.cluster);
    let (first, second) = tokio::join!(one.claim("job", due), two.claim("job", due));
    assert_ne!(first.unwrap(), second.unwrap());
    assert_ne!(me(&pair.one), me(&pair.two));
    pair.end().await;
}
