//! Rows of every table, and all of them as they are read: for databases that came from elsewhere.

use model::{
    AwaitingInput, Event, InputId, Message, MessageId, ModelRef, NewMessage, Noun, Run, RunError, RunId, RunOptions,
    RunState, Scope, Session, SessionKey, SessionSettings, Thinking, TokenId, ToolCall, ToolCallRecord, ToolCallState,
    Usage,
};
use serde_json::json;

use super::rows::{agent, at, key, run, session};
use crate::{
    Document, Fact, Kept, MessageHit, MessagePage, NewNode, PendingInput, SearchQuery, SessionFilter, Snapshot,
    StoreError, StoredEvent, TokenRecord, Tx,
};

pub const KEY: &str = "agent:main:main";
const OTHER: &str = "agent:helper:dm:ann";

#[derive(Debug, PartialEq)]
pub struct Everything {
    sessions: Vec<Session>,
    messages: Vec<Message>,
    hits: Vec<(SessionKey, MessageId)>,
    runs: Vec<Run>,
    unfinished: Vec<RunId>,
    inputs: Vec<PendingInput>,
    tool_calls: Vec<ToolCallRecord>,
    events: Vec<StoredEvent>,
    tokens: Vec<TokenRecord>,
    facts: Vec<Fact>,
    documents: Vec<Document>,
    pub last_cursor: u64,
}

pub fn event() -> Event {
    Event::ConfigChanged { changed_keys: vec![String::from("log.level")], source: String::from("it's a test") }
}

fn runs() -> [Run; 3] {
    [
        Run {
            state: RunState::Failed,
            started_at: Some(at(11)),
            ended_at: Some(at(12)),
            iterations: 2,
            usage: Usage { input: 10, output: 20, cache_read: 3, cache_write: 4, reasoning: 5 },
            next_seq: 7,
            model: Some(ModelRef::new("up", "m/large")),
            error: Some(RunError { kind: model::ErrorKind::NotFound(Noun::Model), message: String::from("gone") }),
            response: Some(String::from("It's half")),
            options: RunOptions {
                model: Some(ModelRef::new("up", "m/large")),
                thinking: Some(Thinking::Minimal),
                temperature: Some(0.5),
                extra_system: Some(String::from("be brief")),
                ..RunOptions::default()
            },
            ..run("run_1", OTHER)
        },
        Run {
            state: RunState::Running,
            started_at: Some(at(13)),
            awaiting: Some(AwaitingInput {
                input_id: InputId::trusted("inp_0"),
                prompt: String::from("Which?"),
                options: vec![String::from("this"), String::from("that")],
            }),
            ..run("run_2", KEY)
        },
        run("run_3", KEY),
    ]
}

/// Writes them.
pub fn fill(tx: &dyn Tx) -> Result<(), StoreError> {
    let settings = SessionSettings {
        label: Some(String::from("Größe")),
        thinking: Some(Thinking::High),
        model: Some(ModelRef::new("up", "m")),
        spawned_by: Some(key(KEY)),
        ..SessionSettings::default()
    };
    let main = Session { message_count: 3, token_count: 30, last_compaction: Some(at(4)), ..session(KEY, 5) };
    let other = Session { settings, input_tokens: 8, output_tokens: 9, aborted_last_run: true, ..session(OTHER, 6) };
    tx.sessions_mut().put(&main)?;
    tx.sessions_mut().put(&other)?;
    let mut called = NewMessage::assistant("Let me look");
    called.tool_calls = vec![ToolCall {
        id: String::from("call_1"),
        name: String::from("current_time"),
        arguments: String::from("{}"),
    }];
    called.model = Some("up/m".into());
    called.usage = Some(Usage { input: 1, output: 2, ..Usage::default() });
    let bodies = [NewMessage::user("What's the time, café?"), called, NewMessage::system("rules")];
    for (number, body) in (1..).zip(&bodies) {
        let run = RunId::trusted("run_2");
        let run = (number == 2).then_some(&run);
        tx.messages_mut().append(
            (&main.key, &main.id),
            &MessageId::trusted(format!("msg_{number}")),
            run,
            at(number),
            body,
        )?;
    }
    for run in &runs() {
        tx.runs_mut().insert(run)?;
    }
    let input = PendingInput { id: InputId::trusted("inp_1"), text: String::from("and hurry"), at: at(14) };
    tx.runs_mut().add_input(&RunId::trusted("run_2"), &input)?;
    tx.tool_calls_mut().put(&ToolCallRecord {
        run_id: RunId::trusted("run_2"),
        call_id: String::from("call_1"),
        name: String::from("current_time"),
        arguments: String::from("{ \"zone\": \"UTC\" }"),
        state: ToolCallState::Started,
        result: None,
        started_at: Some(at(13)),
        ended_at: None,
    })?;
    // The first is removed again, so that the log begins behind it and the counter is in use.
    tx.events_mut().append(at(1), &event())?;
    tx.events_mut().append(at(5), &Event::SessionCreated { session_key: key(KEY), channel: String::from("main") })?;
    tx.events_mut().append(at(6), &event())?;
    tx.events_mut().prune(at(2), 100)?;
    tx.tokens_mut().put(&TokenRecord {
        id: TokenId::trusted("tok_1"),
        name: String::from("ci"),
        hash: String::from("0f1e"),
        scopes: [Scope::Read, Scope::Write].into_iter().collect(),
        role: String::from("device"),
        device_id: Some(String::from("dev_1")),
        parent: Some(TokenId::trusted("tok_0")),
        created_at: at(7),
        expires_at: Some(at(1_000)),
        revoked_at: None,
    })?;
    tx.facts_mut().insert(&Fact {
        id: String::from("fact_1"),
        agent: agent("main"),
        text: String::from("Ann's cat is grey."),
        normalised: String::from("ann's cat is grey"),
        session: Some(key(KEY)),
        source: String::from("compaction"),
        created_at: at(8),
    })?;
    let document = |id: &str, body| Document { id: id.to_owned(), body, updated_at: at(9) };
    tx.documents_mut().put("device", &document("dev_1", json!({ "name": "phone", "keys": [1, 2.5, null] })))?;
    tx.documents_mut().put("cluster", &document("id", json!({ "id": "cluster-1" })))?;
    let kept = Kept { id: String::from("run_9"), owner: String::from("ann"), body: json!({}), at: at(9) };
    tx.kept_mut().put("run", &kept)?;
    let fence = tx.nodes_mut().join(&node("former"))?;
    tx.nodes_mut().hold(&key(OTHER), fence)
}

/// A node that enters.
pub fn node(name: &str) -> NewNode {
    NewNode {
        name: name.to_owned(),
        host: String::from("host"),
        version: String::from("1"),
        pid: 1,
        addresses: json!({}),
        lease_ms: 1,
        at: at(1),
    }
}

/// Reads them, through every question that a gateway asks.
pub fn everything(snapshot: &dyn Snapshot) -> Result<Everything, StoreError> {
    let query = SearchQuery {
        agent: agent("main"),
        session: None,
        text: String::from("time cafe"),
        roles: Vec::new(),
        limit: 10,
    };
    let hits = snapshot.messages().search(&query)?;
    let mut documents = snapshot.documents().list("device")?;
    documents.extend(snapshot.documents().list("cluster")?);
    let events = snapshot.events().after(model::Cursor(1), 100)?;
    let mut runs = snapshot.runs().recent_of(&key(KEY), 10)?;
    runs.extend(snapshot.runs().recent_of(&key(OTHER), 10)?);
    Ok(Everything {
        sessions: snapshot.sessions().list(&SessionFilter::default())?.sessions,
        messages: snapshot.messages().page(&session(KEY, 1).id, &MessagePage::default())?,
        hits: hits.into_iter().map(|MessageHit { session_key, message, .. }| (session_key, message.id)).collect(),
        runs,
        unfinished: snapshot.runs().unfinished()?.into_iter().map(|run| run.id).collect(),
        inputs: snapshot.runs().inputs(&RunId::trusted("run_2"))?,
        tool_calls: snapshot.tool_calls().of_run(&RunId::trusted("run_2"))?,
        last_cursor: events.last().map_or(0, |stored| stored.cursor.0),
        events,
        tokens: snapshot.tokens().list()?,
        facts: snapshot.facts().list(&agent("main"), 10)?,
        documents,
    })
}
