use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Cursor, EndReason, InputId, MessageId, Role, RunId, SessionId, StopCause, TextSoFar, TokenId, Usage};

use super::*;

const AT: i64 = 1_790_000_000_000;

fn run(session: &str) -> RunRef {
    let session_key = SessionKey::parse(session).unwrap();
    RunRef { run_id: RunId::trusted("run_1"), agent_id: session_key.agent(), session_key, quiet: false }
}

fn durable(cursor: u64, event: Event) -> Envelope {
    Envelope::durable(Cursor(cursor), Timestamp::from_ms(AT), event)
}

fn ended(run: RunRef, outcome: RunOutcome, response: &str) -> Event {
    Event::RunEnded {
        run,
        seq: 9,
        started: true,
        outcome,
        response: response.into(),
        model: None,
        usage: Usage::default(),
        iterations: 1,
        tool_calls: 0,
        duration_ms: 5,
        client_calls: Vec::new(),
    }
}

fn completed() -> RunOutcome {
    RunOutcome::Completed { reason: EndReason::Stop }
}

struct Fixture {
    streaming: Coalescer,
    main: AgentId,
}

impl Fixture {
    fn new() -> Self {
        Self { streaming: Coalescer::default(), main: AgentId::main() }
    }

    fn view(&self, content: EventContent) -> View<'_> {
        View { streaming: &self.streaming, default_agent: &self.main, content }
    }

    fn told(&self, event: Event) -> Told {
        let envelope = if event.is_durable() {
            durable(5, event)
        } else {
            Envelope::ephemeral(Cursor(5), Timestamp::from_ms(AT), event)
        };
        project(&envelope, &self.view(EventContent::Full))
    }
}

#[test]
fn a_turn_is_told_as_received_streaming_and_sent() {
    let fixture = Fixture::new();
    let run = run("agent:main:comis:default:alice:web");
    let accepted = Event::RunAccepted {
        run: run.clone(),
        message_id: MessageId::trusted("msg_1"),
        text: "Hi".into(),
        origin: "comis".into(),
        pending: false,
        owner: model::Fence(0),
    };
    let told = fixture.told(accepted);
    assert_eq!(told[0].0, "message:received");
    assert_eq!(told[0].1["message"]["channelType"], "gateway");
    assert_eq!(told[0].1["message"]["text"], "Hi");
    assert_eq!(told[0].1["sessionKey"]["userId"], "alice");

    let so_far = TextSoFar::new().push("Hello ");
    let delta =
        Event::RunDelta { run: run.clone(), seq: 1, index: 0, text: Arc::from("Hello "), so_far: so_far.clone() };
    let told = fixture.told(delta);
    assert_eq!(
        (told[0].0, told[0].1["delta"].as_str(), told[0].1.get("done")),
        ("message:streaming", Some("Hello "), None)
    );
    let delta =
        Event::RunDelta { run: run.clone(), seq: 2, index: 1, text: Arc::from("you"), so_far: so_far.push("you") };
    assert_eq!(fixture.told(delta), vec![], "a tenth of a second has not passed");

    let told = fixture.told(ended(run, completed(), "Hello you"));
    let names: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["observability:token_usage", "message:streaming", "message:sent"]);
    assert_eq!(
        (&told[1].1["delta"], &told[1].1["accumulated"], &told[1].1["done"]),
        (&json!("you"), &json!("Hello you"), &json!(true))
    );
    assert_eq!(told[2].1["content"], "Hello you");
    assert_eq!(told[2].1["messageId"], told[1].1["messageId"]);
    assert_eq!(told[2].1["sessionKey"], "default:alice:web");
}

#[test]
fn a_sub_agent_is_told_with_its_parent_and_to_no_channel() {
    let fixture = Fixture::new();
    let child = || run("agent:work:subagent:main:1");
    let accepted = Event::RunAccepted {
        run: child(),
        message_id: MessageId::trusted("msg_1"),
        text: "Count".into(),
        origin: "comis".into(),
        pending: false,
        owner: model::Fence(0),
    };
    let spawned = json!({
        "runId": "run_1", "parentSessionKey": "agent:main:main", "agentId": "work", "task": "Count", "timestamp": AT,
    });
    assert_eq!(fixture.told(accepted), vec![("session:sub_agent_spawned", spawned)]);
    let told = fixture.told(ended(child(), RunOutcome::Cancelled { cause: StopCause::User }, ""));
    let names: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["observability:token_usage", "session:sub_agent_completed", "session:sub_agent_lifecycle_ended"]
    );
    assert_eq!((&told[1].1["success"], &told[2].1["endReason"]), (&json!(false), &json!("killed")));
}

#[test]
fn the_last_frame_of_an_event_carries_its_id() {
    let fixture = Fixture::new();
    let envelope = durable(7, ended(run("agent:main:main"), completed(), "ok"));
    let text = String::from_utf8(block(&envelope, &fixture.view(EventContent::Full)).to_vec()).unwrap();
    let ids: Vec<&str> = text.lines().filter(|line| line.starts_with("id: ")).collect();
    assert_eq!(ids, ["id: 6", "id: 6", "id: 7"]);
    let again = block(&envelope, &fixture.view(EventContent::Full));
    assert_eq!(again, text, "encoded once");
}

#[test]
fn metadata_leaves_the_text_of_messages_out() {
    let fixture = Fixture::new();
    let envelope = durable(7, ended(run("agent:main:main"), completed(), "secret words"));
    let text = String::from_utf8(block(&envelope, &fixture.view(EventContent::Metadata)).to_vec()).unwrap();
    assert!(text.contains("message:sent") && !text.contains("secret words"));
}

#[test]
fn failures_cancellations_and_isolated_runs_are_told_as_what_they_are() {
    let fixture = Fixture::new();
    let failed = RunOutcome::Failed { kind: "provider_failed".into(), message: "the model is away".into() };
    let told = fixture.told(ended(run("agent:main:main"), failed, ""));
    assert_eq!((told.len(), told[1].0), (2, "system:error"));
    assert_eq!(told[1].1["message"], "the model is away");
    let cancelled = RunOutcome::Cancelled { cause: StopCause::User };
    let told = fixture.told(ended(run("agent:main:main"), cancelled, "half"));
    assert_eq!(
        told.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["observability:token_usage", "message:streaming"]
    );
    assert_eq!(fixture.told(ended(run("agent:main:ephemeral:1"), completed(), "x")), vec![]);
}

/// Every name that goes out is in the published list, with at least the fields listed there.
#[test]
fn names_and_fields_are_those_of_the_published_api() {
    let published = [
        ("message:received", "message sessionKey"),
        ("message:sent", "channelId messageId content"),
        ("message:streaming", "channelId messageId delta accumulated"),
        ("session:created", "sessionKey timestamp"),
        ("session:expired", "sessionKey reason"),
        ("config:patched", "section patchedBy timestamp"),
        ("system:error", "error source"),
        (
            "observability:token_usage",
            "timestamp traceId agentId channelId executionId provider model tokens cost latencyMs cacheReadTokens \
             cacheWriteTokens sessionKey savedVsUncached cacheEligible",
        ),
        ("session:sub_agent_spawned", "runId parentSessionKey agentId task timestamp"),
        ("session:sub_agent_completed", "runId agentId success runtimeMs tokensUsed cost timestamp"),
        (
            "session:sub_agent_lifecycle_ended",
            "runId agentId parentSessionKey endReason durationMs tokensUsed cost timestamp",
        ),
    ];
    let main = SessionKey::main(&AgentId::main());
    let child = || run("agent:work:subagent:main:1");
    let run = || run("agent:main:main");
    let failed = RunOutcome::Failed { kind: "internal".into(), message: "m".into() };
    let events = vec![
        Event::SessionCreated { session_key: main.clone(), channel: "gateway".into() },
        Event::SessionDeleted { session_key: main.clone(), messages_removed: 1 },
        Event::SessionReset {
            session_key: main.clone(),
            session_id: SessionId::trusted("ses_1"),
            reason: "new".into(),
        },
        Event::SessionCompacted {
            session_key: main.clone(),
            tokens_before: 2,
            tokens_after: 1,
            facts_extracted: 0,
            automatic: true,
        },
        Event::MessageStored {
            session_key: main.clone(),
            message_id: MessageId::trusted("msg_1"),
            message_seq: 1,
            role: Role::User,
            run_id: None,
            text: "t".into(),
        },
        Event::RunAccepted {
            run: run(),
            message_id: MessageId::trusted("msg_1"),
            text: "t".into(),
            origin: "comis".into(),
            pending: true,
            owner: model::Fence(0),
        },
        Event::RunAccepted {
            run: child(),
            message_id: MessageId::trusted("msg_2"),
            text: "t".into(),
            origin: "comis".into(),
            pending: false,
            owner: model::Fence(0),
        },
        ended(child(), completed(), "done"),
        Event::RunStarted { run: run(), seq: 0, model: "m".into() },
        Event::RunDelta { run: run(), seq: 1, index: 0, text: Arc::from("a"), so_far: TextSoFar::new().push("a") },
        Event::RunThinking { run: run(), seq: 1, text: Arc::from("a"), so_far: TextSoFar::new().push("a") },
        Event::ToolStarted { run: run(), seq: 2, call_id: "c".into(), name: "n".into(), arguments: "{}".into() },
        Event::ToolEnded {
            run: run(),
            seq: 3,
            call_id: "c".into(),
            name: "n".into(),
            result: "r".into(),
            is_error: false,
            duration_ms: 1,
        },
        Event::InputRequested { run: run(), input_id: InputId::trusted("inp_1"), prompt: "p".into(), options: vec![] },
        ended(run(), failed, "part"),
        ended(run(), completed(), "done"),
        Event::TokenRevoked { token_id: TokenId::trusted("tok_1") },
        Event::ConfigChanged { changed_keys: vec!["agents.main.model".into(), "bus".into()], source: "rpc".into() },
        Event::ConfigReloaded { changed_keys: vec!["bus".into()], source: "file".into() },
        Event::PresenceChanged { entries: Arc::from([]), version: 1 },
        Event::HealthChanged { version: 1 },
        Event::Tick { at: Timestamp::from_ms(AT), connections: 1, uptime_ms: 1 },
        Event::ShuttingDown { reason: "r".into(), restart_expected_ms: None, grace_ms: 1 },
    ];
    let fixture = Fixture::new();
    let mut seen = BTreeSet::new();
    for event in events {
        for (name, payload) in fixture.told(event) {
            let (_, fields) = published.iter().find(|(known, _)| *known == name).expect(name);
            for field in fields.split(' ') {
                assert!(payload.get(field).is_some(), "{name} lacks {field}: {payload}");
            }
            seen.insert(name);
        }
    }
    assert_eq!(seen.len(), published.len());
}

#[test]
fn ids_become_uuids_always_the_same() {
    assert_eq!(uuid_of("run_1"), uuid_of("run_1"));
    assert_ne!(uuid_of("run_1"), uuid_of("run_2"));
    assert_eq!(uuid_of("run_1").to_string().len(), 36);
}
