//! Anything at any time: what was acknowledged holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use model::{Event, MessageId, Principal, RunId, StopCause};
use proptest::prelude::*;
use proptest::test_runner::Config;
use providers::ProviderErrorKind;
use providers::testkit::{Gate, Scripted};
use serde_json::json;
use services::runs::{NewRun, Responded};
use services::sessions::CompactOptions;
use services::settings::CompactionRules;
use services::{Services, SessionRules};
use testkit::log::{faults, stories};
use testkit::store::Fault;
use testkit::{TestGateway, soon};
use tokio::task::JoinSet;

use crate::rig::{key, message, named};

const SESSIONS: [&str; 3] = ["agent:main:a", "agent:main:b", "agent:main:c"];

/// What the model does with one of the next requests.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Echo,
    Wait,
    Tool,
    Break,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Say(usize, Manner),
    /// Several messages at the same time, whose senders do not wait for the answer.
    SayAside(usize),
    /// A message with an id of the client's.
    SayNamed(usize),
    /// The id of an earlier message again.
    SayAgain(usize),
    Cancel(usize),
    Respond(usize),
    CancelSession(usize),
    Reset(usize),
    Delete(usize),
    Compact(usize),
    OpenGates,
    Crash,
    Restart,
    /// The database goes away, or comes back.
    Fault(Fault),
    /// Others get their turn.
    Pause,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let session = 0..SESSIONS.len();
    let manner = prop::sample::select(vec![Manner::Echo, Manner::Wait, Manner::Wait, Manner::Tool, Manner::Break]);
    let deed = prop_oneof![
        8 => (session.clone(), manner).prop_map(|(session, manner)| Deed::Say(session, manner)),
        3 => session.clone().prop_map(Deed::SayAside),
        3 => session.clone().prop_map(Deed::SayNamed),
        3 => any::<usize>().prop_map(Deed::SayAgain),
        3 => any::<usize>().prop_map(Deed::Cancel),
        4 => any::<usize>().prop_map(Deed::Respond),
        1 => session.clone().prop_map(Deed::CancelSession),
        2 => session.clone().prop_map(Deed::Reset),
        1 => session.clone().prop_map(Deed::Delete),
        2 => session.prop_map(Deed::Compact),
        3 => Just(Deed::OpenGates),
        1 => Just(Deed::Crash),
        1 => Just(Deed::Restart),
        2 => prop::sample::select(vec![Fault::Refuse, Fault::FailCommit, Fault::None, Fault::None]).prop_map(Deed::Fault),
        4 => Just(Deed::Pause),
    ];
    prop::collection::vec(deed, 10..40)
}

/// A run that a caller was told of.
struct Told {
    run: RunId,
    message: MessageId,
    session: usize,
    text: String,
}

struct World {
    gateway: TestGateway,
    gates: Vec<Gate>,
    told: Vec<Told>,
    /// Those that were told aside.
    aside: Arc<Mutex<Vec<Told>>>,
    /// Ids of clients with the session and the text of their first message.
    named: Vec<(String, usize)>,
    inputs: Vec<(usize, String)>,
    /// Sessions that somebody asked to delete.
    deleted: BTreeSet<usize>,
    /// Callers that wait for what takes its time.
    callers: JoinSet<()>,
    count: usize,
}

impl World {
    async fn new(shortens: bool) -> Self {
        let compaction = CompactionRules { enabled: shortens, threshold: 40, keep_recent: 2 };
        let rules = SessionRules { compaction, ..SessionRules::default() };
        Self {
            gateway: TestGateway::builder().rules(rules).start().await,
            gates: Vec::new(),
            told: Vec::new(),
            aside: Arc::default(),
            named: Vec::new(),
            inputs: Vec::new(),
            deleted: BTreeSet::new(),
            callers: JoinSet::new(),
            count: 0,
        }
    }

    fn text(&mut self) -> String {
        self.count += 1;
        format!("text number {} of this world", self.count)
    }

    fn prepare(&mut self, manner: Manner) {
        let answer = match manner {
            Manner::Echo => return,
            Manner::Wait => {
                let gate = Gate::new();
                self.gates.push(gate.clone());
                crate::rig::halting("at first ", &gate, "and then")
            }
            Manner::Tool => Scripted::tool_calls([(format!("c{}", self.count).as_str(), "current_time", json!({}))]),
            Manner::Break => Scripted::breaks_after("but ", ProviderErrorKind::Cut),
        };
        self.gateway.provider.push(answer);
    }

    async fn say(&mut self, session: usize, new: NewRun) {
        let text = new.content.text().into_owned();
        let Ok(accepted) = soon("an answer", self.gateway.accept(new)).await else { return };
        if !accepted.duplicate {
            let (run, message) = (accepted.run.id.clone(), accepted.run.message_id.clone());
            self.told.push(Told { run, message, session, text });
        }
    }

    /// On a task of its own: it may have to wait for what only a later deed brings about.
    fn call<F: Future<Output = ()> + Send + 'static>(&mut self, deed: impl FnOnce(Arc<Services>) -> F) {
        self.callers.spawn(deed(Arc::clone(&self.gateway.services)));
    }

    async fn respond(&mut self, pick: usize) {
        let Some(told) = pick_of(&self.told, pick) else { return };
        let (run, session) = (told.run.clone(), told.session);
        let text = self.text();
        let responded = soon("an answer", self.gateway.services.runs.respond(&run, &text)).await;
        if matches!(responded, Ok(Responded::Queued | Responded::Delivered)) {
            self.inputs.push((session, text));
        }
    }

    async fn do_it(&mut self, deed: Deed) {
        match deed {
            Deed::Say(session, manner) => {
                let text = self.text();
                self.prepare(manner);
                self.say(session, message(SESSIONS[session], &text)).await;
            }
            Deed::SayAside(session) => {
                for _ in 0..3 {
                    let (text, aside) = (self.text(), Arc::clone(&self.aside));
                    self.call(|services| async move {
                        let new = message(SESSIONS[session], &text);
                        if let Ok(accepted) = services.runs.accept(&Principal::gateway(), new).await {
                            let (run, message) = (accepted.run.id.clone(), accepted.run.message_id.clone());
                            aside.lock().unwrap().push(Told { run, message, session, text });
                        }
                    });
                }
            }
            Deed::SayNamed(session) => {
                let text = self.text();
                let id = format!("named-{}", self.count);
                self.named.push((id.clone(), session));
                self.say(session, named(&id, SESSIONS[session], &text)).await;
            }
            Deed::SayAgain(pick) => {
                // With its session a run is forgotten, and so is its id.
                let Some((id, session)) = pick_of(&self.named, pick).cloned() else { return };
                if !self.deleted.contains(&session) {
                    let text = self.text();
                    self.say(session, named(&id, SESSIONS[session], &text)).await;
                }
            }
            Deed::Cancel(pick) => {
                let Some(run) = pick_of(&self.told, pick).map(|told| told.run.clone()) else { return };
                self.call(|services| async move { drop(services.runs.cancel(&run, StopCause::User).await) });
            }
            Deed::Respond(pick) => self.respond(pick).await,
            Deed::CancelSession(session) => {
                let key = key(SESSIONS[session]);
                self.call(|services| async move { drop(services.runs.cancel_session(&key, StopCause::User).await) });
            }
            Deed::Reset(session) => {
                let key = key(SESSIONS[session]);
                self.call(|services| async move { drop(services.runs.reset_session(&key, "test").await) });
            }
            Deed::Delete(session) => {
                self.deleted.insert(session);
                let key = key(SESSIONS[session]);
                self.call(|services| async move { drop(services.runs.delete_session(&key).await) });
            }
            Deed::Compact(session) => {
                let key = key(SESSIONS[session]);
                let options = CompactOptions { keep_recent: Some(1), ..CompactOptions::default() };
                self.call(|services| async move { drop(services.runs.compact(&key, options).await) });
            }
            Deed::OpenGates => self.gates.drain(..).for_each(|gate| gate.open()),
            Deed::Crash => {
                self.callers.abort_all();
                self.gateway.crash().await;
            }
            Deed::Restart => {
                self.callers.abort_all();
                self.gateway.restart().await;
            }
            Deed::Fault(fault) => self.gateway.store.set_fault(fault),
            Deed::Pause => {
                // As long as a read takes.
                self.gateway.events().await;
            }
        }
    }

    /// Clears every obstacle and waits until nothing is left to do.
    async fn settle(&mut self) {
        self.gateway.store.set_fault(Fault::None);
        loop {
            self.gates.drain(..).for_each(|gate| gate.open());
            if soon("the end of a call", self.callers.join_next()).await.is_none() {
                break;
            }
        }
        self.gateway.idle().await;
        self.told.append(&mut self.aside.lock().unwrap());
    }

    async fn check(mut self) -> Result<(), TestCaseError> {
        self.settle().await;
        let (events, contents) = (self.gateway.events().await, self.gateway.contents().await);
        prop_assert_eq!(faults(&events), Vec::<String>::new());
        prop_assert_eq!(contents.unfinished, vec![]);
        prop_assert_eq!(self.gateway.services.runs.unfinished_count(), 0);
        let stories = stories(&events);
        let mut stored: BTreeMap<MessageId, usize> = BTreeMap::new();
        let mut texts: BTreeMap<String, usize> = BTreeMap::new();
        for event in events.iter().map(|stored| &stored.event) {
            if let Event::MessageStored { message_id, role: model::Role::User, text, .. } = event {
                *stored.entry(message_id.clone()).or_default() += 1;
                *texts.entry(text.clone()).or_default() += 1;
            }
        }
        for told in &self.told {
            let ends = stories.get(&told.run).map_or(0, |story| story.ended.len());
            prop_assert_eq!(ends, 1, "run {} of {:?}", &told.run, &told.text);
            prop_assert_eq!(stored.get(&told.message), Some(&1), "the message of run {}", &told.run);
            prop_assert_eq!(texts.get(&told.text), Some(&1), "{:?}", &told.text);
        }
        for (session, text) in self.inputs.iter().filter(|(session, _)| !self.deleted.contains(session)) {
            prop_assert_eq!(texts.get(text), Some(&1), "the input {:?} to a run of {}", text, SESSIONS[*session]);
        }
        self.still_there().await?;
        // A session is free when its runs are over.
        for session in SESSIONS {
            let eager = NewRun { only_when_free: true, ..message(session, "the end") };
            let accepted = soon("an answer", self.gateway.accept(eager)).await;
            prop_assert!(accepted.is_ok(), "session {} is stuck", session);
        }
        self.gateway.idle().await;
        self.gateway.stop().await;
        prop_assert_eq!(self.gateway.provider.open_streams(), 0);
        Ok(())
    }

    /// Messages are found once in some transcript unless their session was deleted or shortened.
    async fn still_there(&self) -> Result<(), TestCaseError> {
        let mut shortened = BTreeSet::new();
        for stored in self.gateway.events().await {
            if let Event::SessionCompacted { session_key, .. } = stored.event {
                shortened.insert(session_key);
            }
        }
        for told in &self.told {
            let session = SESSIONS[told.session];
            if self.deleted.contains(&told.session) || shortened.contains(session) {
                continue;
            }
            let written = crate::rig::written_by(&self.gateway, &told.run).await;
            let found = written.iter().filter(|message| message.body.content.text() == told.text).count();
            let users = written.iter().filter(|message| message.id == told.message).count();
            prop_assert_eq!(users, 1, "{:?} in {}", &told.text, session);
            prop_assert!(found >= 1);
        }
        Ok(())
    }
}

fn pick_of<T>(list: &[T], pick: usize) -> Option<&T> {
    (!list.is_empty()).then(|| &list[pick % list.len()])
}

async fn holds(shortens: bool, deeds: Vec<Deed>) -> Result<(), TestCaseError> {
    let mut world = World::new(shortens).await;
    for deed in deeds {
        world.do_it(deed).await;
    }
    world.check().await
}

proptest! {
    // Each case is a gateway with a database.
    #![proptest_config(Config { cases: 24, max_shrink_iters: 200, ..Config::default() })]

    #[test]
    fn whatever_happens_each_run_ends_once_and_no_message_is_lost(shortens in any::<bool>(), deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(holds(shortens, deeds))?;
    }
}
