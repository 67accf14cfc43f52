//! `session.send`, `session.spawn`, `session.run_status`: agents that use each other.

use dialect_comis::{AgentToAgent, ComisSettings};
use providers::ProviderErrorKind;
use providers::testkit::{Gate, Scripted};
use serde_json::{Value, json};

use crate::support::{Gateway, Http, START_MS, Socket, in_time};

async fn start_with(policy: AgentToAgent) -> Gateway {
    Gateway::start_with(ComisSettings { agent_to_agent: policy, ..ComisSettings::default() }).await
}

/// A call whose answer may come behind announcements; gives the answer.
async fn call(socket: &mut Socket, method: &str, params: Value) -> Value {
    let mut told = socket.call(method, params).await;
    while told.get("id").is_none() {
        told = socket.next().await;
    }
    told
}

/// What a model was told before the conversation.
fn system(gateway: &Gateway, request: usize) -> String {
    let first = gateway.provider.requests()[request].messages[0].clone();
    assert_eq!(first.role, model::Role::System);
    first.content.text().into_owned()
}

/// The text of the next announcement.
async fn announced(socket: &mut Socket) -> String {
    loop {
        let told = socket.next().await;
        if told["method"] == "notification.message" {
            return told["params"]["text"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_spawned_run_can_be_watched_to_its_end() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "forty-two"));
    let (mut socket, mut other) = (Socket::open(&gateway, "rpc").await, Socket::open(&gateway, "all").await);
    let params = json!({ "task": "Think", "agent": "work", "async": true, "domain_knowledge": ["Numbers are round"] });
    let spawned = socket.call("session.spawn", params).await["result"].clone();
    assert_eq!(spawned, json!({ "runId": spawned["runId"], "async": true }));
    in_time("the model", gate.reached()).await;
    gateway.clock.advance_ms(7);
    let ask = json!({ "run_id": spawned["runId"] });
    let running = socket.call("session.run_status", ask.clone()).await["result"].clone();
    let key = running["sessionKey"].as_str().unwrap().to_owned();
    assert!(key.starts_with("agent:work:subagent:main:"), "{key}");
    let expected = json!({
        "runId": spawned["runId"], "status": "running", "agentId": "work", "task": "Think", "sessionKey": key,
        "startedAt": START_MS, "runtimeMs": 7,
    });
    assert_eq!(running, expected);
    let briefing = system(&gateway, 0);
    assert!(briefing.contains("task by the agent `main`") && briefing.contains("- Numbers are round"), "{briefing}");
    gate.open();
    assert_eq!(announced(&mut socket).await, "Sub-agent work is done: forty-two");
    assert_eq!(announced(&mut other).await, "Sub-agent work is done: forty-two", "everybody connected is told");
    let done = socket.call("session.run_status", ask.clone()).await["result"].clone();
    assert_eq!(
        (&done["status"], &done["response"], &done["completedAt"], &done["tokensUsed"]["total"]),
        (&json!("completed"), &json!("forty-two"), &json!(START_MS + 7), &json!(11))
    );
    let listed = other.call("session.list", json!({ "kind": "sub-agent" })).await;
    assert_eq!((&listed["result"]["total"], &listed["result"]["sessions"][0]["sessionKey"]), (&json!(1), &json!(key)));
    let gateway = gateway.restart().await;
    let again = Socket::open(&gateway, "rpc").await.call("session.run_status", ask).await;
    assert_eq!(again["result"], done, "known after a restart");
}

#[tokio::test]
async fn a_task_that_takes_long_goes_on_behind_its_answer() {
    let gateway = start_with(AgentToAgent { wait_timeout_ms: 20, ..AgentToAgent::default() }).await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "late"));
    let mut socket = Socket::open(&gateway, "rpc").await;
    let told = socket.call("session.spawn", json!({ "task": "Think" })).await["result"].clone();
    assert_eq!((&told["async"], told.get("queued")), (&json!(true), None));
    assert!(told["note"].as_str().unwrap().contains("session.run_status"), "{told}");
    gate.open();
    assert_eq!(announced(&mut socket).await, "Sub-agent main is done: late");
}

#[tokio::test]
async fn children_wait_for_a_place_and_too_many_are_refused() {
    let gateway = start_with(AgentToAgent { max_children: 1, max_queued: 1, ..AgentToAgent::default() }).await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "first"));
    let mut socket = Socket::open(&gateway, "rpc").await;
    let task = |task: &str| json!({ "task": task, "async": true });
    assert_eq!(socket.call("session.spawn", task("one")).await["result"].get("queued"), None);
    in_time("the first child", gate.reached()).await;
    let second = socket.call("session.spawn", task("two")).await["result"].clone();
    assert_eq!(second["queued"], true);
    let ask = json!({ "run_id": second["runId"] });
    let waiting = socket.call("session.run_status", ask.clone()).await;
    assert_eq!((&waiting["result"]["status"], &waiting["result"]["runtimeMs"]), (&json!("queued"), &json!(0)));
    let refused = socket.call("session.spawn", task("three")).await["error"].clone();
    let words = "2 sub-agents of session `agent:main:main` run or wait already";
    assert_eq!(refused, json!({ "code": -32603, "message": words }));
    gate.open();
    assert_eq!(announced(&mut socket).await, "Sub-agent main is done: first");
    assert_eq!(announced(&mut socket).await, "Sub-agent main is done: two");
    assert_eq!(socket.call("session.run_status", ask).await["result"]["status"], "completed");
    assert_eq!(call(&mut socket, "session.spawn", json!({ "task": "four" })).await["result"]["response"], "four");
}

#[tokio::test]
async fn a_child_that_waits_too_long_is_stopped() {
    let policy = AgentToAgent { max_children: 1, queue_timeout_ms: 20, ..AgentToAgent::default() };
    let gateway = start_with(policy).await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "first"));
    let mut socket = Socket::open(&gateway, "rpc").await;
    socket.call("session.spawn", json!({ "task": "one", "async": true })).await;
    in_time("the first child", gate.reached()).await;
    let second = socket.call("session.spawn", json!({ "task": "two", "async": true })).await["result"].clone();
    assert_eq!(announced(&mut socket).await, "Sub-agent main was stopped.");
    let told = socket.call("session.run_status", json!({ "run_id": second["runId"] })).await["result"].clone();
    assert_eq!((&told["status"], &told["error"]), (&json!("failed"), &json!("the run was stopped")));
    gate.open();
    assert_eq!(announced(&mut socket).await, "Sub-agent main is done: first");
}

#[tokio::test]
async fn a_failed_task_is_an_error_and_is_told_as_failed() {
    let gateway = Gateway::start().await;
    gateway.provider.push(Scripted::refuse(ProviderErrorKind::BadRequest, "no"));
    let mut socket = Socket::open(&gateway, "rpc").await;
    let told = call(&mut socket, "session.spawn", json!({ "task": "Think" })).await;
    assert_eq!(told["error"]["code"], -32603);
    assert!(told["error"]["message"].as_str().unwrap().starts_with("The task failed: "), "{told}");
}

#[tokio::test]
async fn a_sub_agent_may_be_told_what_its_parent_talked_about() {
    let gateway = Gateway::start().await;
    gateway.given_turn("agent:main:main", "The ship is called Aurora").await;
    gateway.provider.push(Scripted::text("They spoke of the Aurora."));
    let mut socket = Socket::open(&gateway, "rpc").await;
    let params = json!({ "task": "Name it", "include_parent_history": "summary" });
    assert_eq!(call(&mut socket, "session.spawn", params).await["result"]["response"], "Name it");
    let system = system(&gateway, 2);
    assert!(system.contains("They spoke of the Aurora."), "{system}");
    assert_eq!(gateway.messages_in("agent:main:main").await, 2, "the parent's conversation is as it was");
}

#[tokio::test]
async fn a_letter_names_its_sender_and_may_be_answered_late() {
    let gateway = Gateway::start().await;
    let gate = Gate::new();
    gateway.provider.push(Scripted::held(&gate, "Yes"));
    let mut socket = Socket::open(&gateway, "rpc").await;
    let params =
        json!({ "session_key": "agent:work:main", "text": "Are you there?", "mode": "wait", "timeout_ms": 20 });
    let told = socket.call("session.send", params).await["result"].clone();
    assert_eq!((&told["sent"], told.get("response")), (&json!(true), None));
    in_time("the model", gate.reached()).await;
    let note = "written by the agent `main` in its session `agent:main:main`";
    assert!(system(&gateway, 0).contains(note));
    let mut events = Http::with(&gateway, "rpc").events(Some("0")).await;
    gate.open();
    assert_eq!(events.next_named("message:sent").await.json()["content"], "Yes", "its turn went on");
}

#[tokio::test]
async fn a_ping_pong_goes_to_and_fro_until_its_turns_are_over() {
    let gateway = Gateway::start().await;
    for text in ["to main", "to work", "to main again"] {
        gateway.provider.push(Scripted::text(text));
    }
    let mut socket = Socket::open(&gateway, "rpc").await;
    let params = json!({ "session_key": "agent:work:main", "text": "Begin", "mode": "ping-pong", "max_turns": 40 });
    let told = socket.call("session.send", params).await["result"].clone();
    assert_eq!((&told["turnsCompleted"], &told["response"]), (&json!(3), &json!("to main again")));
    assert_eq!(gateway.messages_in("agent:work:main").await, 4);
    assert_eq!(gateway.messages_in("agent:main:main").await, 2);
}

#[tokio::test]
async fn the_policy_says_which_agents_may_use_each_other() {
    let gateway = start_with(AgentToAgent { allow_agents: vec!["work".into()], ..AgentToAgent::default() }).await;
    let mut socket = Socket::open(&gateway, "rpc").await;
    let letter = json!({ "session_key": "agent:work:main", "text": "Hi", "mode": "wait" });
    let refused = socket.call("session.send", letter.clone()).await["error"]["message"].clone();
    assert_eq!(refused, "Agent-to-agent messaging is not allowed for agent: main");
    assert_eq!(call(&mut socket, "session.spawn", json!({ "task": "Hi" })).await["result"]["response"], "Hi", "itself");
    gateway.change(|settings| settings.agent_to_agent.allow_agents.push("main".into()));
    assert_eq!(call(&mut socket, "session.send", letter.clone()).await["result"]["response"], "Hi");
    gateway.change(|settings| settings.agent_to_agent.enabled = false);
    for (method, params) in [("session.send", letter), ("session.spawn", json!({ "task": "Hi" }))] {
        let refused = call(&mut socket, method, params).await["error"].clone();
        assert_eq!(refused, json!({ "code": -32603, "message": "Agent-to-agent messaging is disabled by policy" }));
    }
}
