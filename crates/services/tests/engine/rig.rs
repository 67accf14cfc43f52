//! Words that all these tests use.

use events::Delivery;
use model::{Cursor, EndReason, Event, NewMessage, Role, RunId, RunOutcome, SessionKey, StopCause};
use providers::ChatRequest;
use providers::testkit::{Gate, Scripted};
use serde_json::json;
use services::runs::NewRun;
use store::{StoreError, StoredEvent};
use testkit::log::assert_sound;
use testkit::{TestGateway, soon};

pub const A: &str = "agent:main:a";
pub const B: &str = "agent:main:b";

pub fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).unwrap()
}

pub fn message(session: &str, text: &str) -> NewRun {
    NewRun::new(key(session), text, "test")
}

/// A message whose run has an id of the client's.
pub fn named(id: &str, session: &str, text: &str) -> NewRun {
    NewRun { id: Some(RunId::trusted(id)), ..message(session, text) }
}

pub const COMPLETED: RunOutcome = RunOutcome::Completed { reason: EndReason::Stop };

pub const fn cancelled(cause: StopCause) -> RunOutcome {
    RunOutcome::Cancelled { cause }
}

/// An answer that calls the tool `work`.
pub fn calls_work(id: &str) -> Scripted {
    Scripted::tool_calls([(id, "work", json!({}))])
}

/// An answer that asks the user `prompt`.
pub fn asks(id: &str, prompt: &str) -> Scripted {
    Scripted::tool_calls([(id, "ask_user", json!({ "prompt": prompt }))])
}

/// An answer that stops in the middle until the gate opens.
pub fn halting(before: &str, gate: &Gate, after: &str) -> Scripted {
    let finish = providers::FinishReason::Stop;
    Scripted::Stream(Vec::new()).then_text(before).then_wait(gate).then_text(after).then_finish(finish)
}

/// Waits for the first event of the log that satisfies `is_it`, past ones included.
pub async fn seen(gateway: &TestGateway, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
    let mut events = gateway.services.bus.subscribe(Some(Cursor(0)));
    soon(what, async {
        loop {
            match events.next().await.unwrap() {
                Delivery::Event(envelope) if is_it(&envelope.event) => return envelope.event.clone(),
                Delivery::Closed => panic!("{what}: the gateway stopped first"),
                _ => {}
            }
        }
    })
    .await
}

/// The run's end as the log tells it.
pub async fn outcome(gateway: &TestGateway, run: &RunId) -> RunOutcome {
    let is_end =
        |event: &Event| matches!(event, Event::RunEnded { .. }) && event.run().is_some_and(|of| of.run_id == *run);
    match seen(gateway, "the end of a run", is_end).await {
        Event::RunEnded { outcome, .. } => outcome,
        other => panic!("{other:?} is no end"),
    }
}

/// `started` and `ended` of the log with the runs' ids, in order.
pub async fn course(gateway: &TestGateway) -> Vec<(&'static str, RunId)> {
    let word = |stored: &StoredEvent| match &stored.event {
        Event::RunStarted { run, .. } => Some(("started", run.run_id.clone())),
        Event::RunEnded { run, .. } => Some(("ended", run.run_id.clone())),
        _ => None,
    };
    gateway.events().await.iter().filter_map(word).collect()
}

/// How many events of the log satisfy `is_it`.
pub async fn count(gateway: &TestGateway, is_it: impl Fn(&Event) -> bool) -> usize {
    gateway.events().await.iter().filter(|stored| is_it(&stored.event)).count()
}

/// Role and text of what a model was asked, without the system text.
pub fn asked(request: &ChatRequest) -> Vec<(Role, String)> {
    said(request.messages.iter().filter(|message| message.role != Role::System))
}

/// The same of the newest request.
pub fn last_asked(gateway: &TestGateway) -> Vec<(Role, String)> {
    asked(gateway.provider.requests().last().expect("a model was asked"))
}

pub fn said<'a>(messages: impl IntoIterator<Item = &'a NewMessage>) -> Vec<(Role, String)> {
    messages.into_iter().map(|message| (message.role, message.content.text().into_owned())).collect()
}

pub fn user(text: &str) -> (Role, String) {
    (Role::User, text.to_owned())
}

pub fn assistant(text: &str) -> (Role, String) {
    (Role::Assistant, text.to_owned())
}

pub fn tool(text: &str) -> (Role, String) {
    (Role::Tool, text.to_owned())
}

/// The messages that a run wrote, whatever transcript they are in.
pub async fn written_by(gateway: &TestGateway, run: &RunId) -> Vec<model::Message> {
    let run = run.clone();
    let read = gateway.db().read::<_, StoreError, _>(move |snapshot| snapshot.messages().of_run(&run));
    read.await.unwrap()
}

/// Waits for the end of all runs, stops, and holds the gateway to its promises.
pub async fn close(gateway: TestGateway) {
    gateway.idle().await;
    let events = gateway.events().await;
    assert_eq!(gateway.contents().await.unfinished, []);
    gateway.stop().await;
    assert_sound(&events);
    assert_eq!(gateway.services.runs.unfinished_count(), 0);
    assert_eq!(gateway.provider.open_streams(), 0);
}
