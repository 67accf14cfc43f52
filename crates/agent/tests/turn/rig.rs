//! A router over scripted providers, a journal that remembers, tools that do as told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use agent::{Journal, JournalError, OpenCall, Step, ToolOutcome, Turn, TurnEnd, TurnLimits, TurnOutcome};
use async_trait::async_trait;
use model::{ClientTools, FixedClock, ModelRef, NewMessage, Thinking, ToolCall, Usage};
use providers::testkit::{Scripted, ScriptedProvider};
use providers::{Registry, RetryPolicy, Router, Sampling};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};
use tools::testkit::Bench;
use tools::{CheckedTool, Tool, ToolContext, ToolError, ToolOutput};

pub struct Rig {
    pub provider: ScriptedProvider,
    pub router: Router,
    pub journal: Memory,
    pub bench: Bench,
}

impl Rig {
    /// One provider, `p`, that gives these answers.
    pub fn new<const N: usize>(answers: [Scripted; N]) -> Self {
        Self::with_providers(ScriptedProvider::new("p").answers(answers), [])
    }

    pub fn with_providers<const N: usize>(provider: ScriptedProvider, others: [ScriptedProvider; N]) -> Self {
        let clock = Arc::new(FixedClock::at(0));
        let registry = Registry::new(Arc::clone(&clock) as _);
        let all = std::iter::once(provider.clone()).chain(others);
        registry.replace(all.map(|provider| Arc::new(provider) as _), None);
        let router = Router::new(Arc::new(registry), clock, RetryPolicy::default(), 1);
        Self { provider, router, journal: Memory::default(), bench: Bench::new() }
    }

    pub fn turn(&self) -> Turn {
        Turn {
            candidates: vec![ModelRef::new("p", "default")],
            system: String::from("Be brief."),
            history: vec![NewMessage::user("hello")],
            open_calls: Vec::new(),
            tools: Vec::new(),
            client_tools: ClientTools::default(),
            context: self.bench.context(),
            thinking: Thinking::Medium,
            sampling: Sampling::default(),
            limits: TurnLimits { iterations: 20, tokens: None, tool_output_chars: 500 },
            iterations: 0,
            usage: Usage::default(),
        }
    }

    pub async fn run(&self, turn: Turn) -> TurnOutcome {
        turn.run(&self.router, &self.journal).await.unwrap()
    }

    /// Runs the usual turn with these tools and gives how it ended, in one line.
    pub async fn run_with<const N: usize>(&self, tools: [Double; N]) -> String {
        let tools = tools.map(checked).to_vec();
        told(&self.run(Turn { tools, ..self.turn() }).await.end)
    }

    /// The texts of the tool messages in the newest request.
    pub fn results_told(&self) -> Vec<String> {
        let requests = self.provider.requests();
        let messages = &requests.last().unwrap().messages;
        messages
            .iter()
            .filter(|message| message.role == model::Role::Tool)
            .map(|message| message.content.text().into_owned())
            .collect()
    }
}

pub fn checked(tool: Double) -> CheckedTool {
    CheckedTool::new(Arc::new(tool)).unwrap()
}

/// An end in one line.
pub fn told(end: &TurnEnd) -> String {
    let text = |message: &Option<NewMessage>| message.as_ref().map(|message| message.content.text().into_owned());
    match end {
        TurnEnd::Completed { message, reason } => format!("completed {}: {}", reason.as_str(), message.content.text()),
        TurnEnd::HandedBack { text, calls, reason } => {
            let calls: Vec<String> =
                calls.iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments)).collect();
            format!("handed back {}: `{text}` [{}]", reason.as_str(), calls.join(", "))
        }
        TurnEnd::Cancelled { partial } => format!("cancelled {:?}", text(partial)),
        TurnEnd::Failed { error, partial } => format!("failed {:?} {:?}: {}", error.kind, text(partial), error.message),
    }
}

pub fn open(id: &str, name: &str, was_started: bool) -> OpenCall {
    let call = ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: String::from("{}") };
    OpenCall { call, was_started }
}

/// Remembers everything it is told, one line each.
#[derive(Default)]
pub struct Memory {
    lines: Mutex<Vec<String>>,
    steps: Mutex<Vec<Step>>,
    inputs: Mutex<VecDeque<Vec<NewMessage>>>,
    compactions: Mutex<VecDeque<Compaction>>,
    /// Begin of the line at which writing fails.
    fails_at: Mutex<Option<&'static str>>,
    changed: Notify,
}

pub enum Compaction {
    Gives(Option<Vec<NewMessage>>),
    NeverEnds,
}

impl Memory {
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Lines without those of text and reasoning.
    pub fn written(&self) -> Vec<String> {
        let is_delta = |line: &String| line.starts_with("text ") || line.starts_with("reasoning ");
        self.lines().into_iter().filter(|line| !is_delta(line)).collect()
    }

    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }

    /// Given to one `take_inputs` each, in order; an empty text is an empty answer.
    pub fn give_inputs<const N: usize>(&self, texts: [&str; N]) {
        let one = |text: &&str| if text.is_empty() { Vec::new() } else { vec![NewMessage::user(*text)] };
        self.inputs.lock().unwrap().extend(texts.iter().map(one));
    }

    pub fn will_compact<const N: usize>(&self, compactions: [Compaction; N]) {
        self.compactions.lock().unwrap().extend(compactions);
    }

    pub fn fail_at(&self, line: &'static str) {
        *self.fails_at.lock().unwrap() = Some(line);
    }

    /// Returns once a line starts so.
    pub async fn wait_for(&self, start: &str) {
        loop {
            let changed = self.changed.notified();
            if self.lines().iter().any(|line| line.starts_with(start)) {
                return;
            }
            changed.await;
        }
    }

    fn add(&self, line: String) -> Result<(), JournalError> {
        if self.fails_at.lock().unwrap().is_some_and(|start| line.starts_with(start)) {
            return Err(JournalError("the disk is full".into()));
        }
        self.lines.lock().unwrap().push(line);
        self.changed.notify_waiters();
        Ok(())
    }
}

#[async_trait]
impl Journal for Memory {
    async fn model_chosen(&self, model: &ModelRef) -> Result<(), JournalError> {
        self.add(format!("model {model}"))
    }

    fn text(&self, delta: &str) {
        let _ = self.add(format!("text {delta}"));
    }

    fn reasoning(&self, delta: &str) {
        let _ = self.add(format!("reasoning {delta}"));
    }

    async fn step(&self, step: &Step) -> Result<(), JournalError> {
        self.steps.lock().unwrap().push(step.clone());
        let calls: Vec<String> =
            step.message.tool_calls.iter().map(|call| format!("{} {}", call.id, call.name)).collect();
        self.add(format!("step `{}` [{}]", step.message.content.text(), calls.join(", ")))
    }

    async fn tool_started(&self, call: &ToolCall) -> Result<(), JournalError> {
        self.add(format!("start {}", call.id))
    }

    async fn tool_ended(&self, call: &ToolCall, outcome: &ToolOutcome, _duration_ms: u64) -> Result<(), JournalError> {
        let how = match (outcome.interrupted, outcome.is_error) {
            (true, _) => "interrupted",
            (_, true) => "error",
            (_, false) => "ok",
        };
        self.add(format!("end {} {how}: {}", call.id, outcome.text))
    }

    fn has_inputs(&self) -> bool {
        self.inputs.lock().unwrap().front().is_some_and(|inputs| !inputs.is_empty())
    }

    async fn take_inputs(&self) -> Result<Vec<NewMessage>, JournalError> {
        Ok(self.inputs.lock().unwrap().pop_front().unwrap_or_default())
    }

    async fn compact(&self) -> Result<Option<Vec<NewMessage>>, JournalError> {
        self.add(String::from("compact"))?;
        let compaction = self.compactions.lock().unwrap().pop_front();
        match compaction {
            Some(Compaction::Gives(result)) => Ok(result),
            Some(Compaction::NeverEnds) => std::future::pending().await,
            None => Ok(None),
        }
    }
}

/// A tool that does as told. Its one argument is the number `n`, not required.
pub struct Double {
    name: &'static str,
    is_repeatable: bool,
    deed: Deed,
    in_progress: Arc<AtomicUsize>,
}

pub enum Deed {
    /// Gives the arguments back.
    Echo,
    Say(String),
    /// Counts its calls.
    Count(AtomicUsize),
    Fail,
    Panic,
    /// Waits until as many calls have come as the barrier wants.
    Meet(Barrier),
    /// Gives way to other tasks, then tells how many calls were in progress.
    Crowd,
    UntilCancelled,
    /// Does its work although the run was cancelled meanwhile.
    FinishesAnyway,
    /// Never ends, cancelled or not.
    Deaf,
}

impl Double {
    pub fn reads(name: &'static str, deed: Deed) -> Self {
        Self { name, is_repeatable: true, deed, in_progress: Arc::default() }
    }

    pub fn changes(name: &'static str, deed: Deed) -> Self {
        Self { is_repeatable: false, ..Self::reads(name, deed) }
    }
}

#[async_trait]
impl Tool for Double {
    fn name(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> &'static str {
        "Stands in for a tool."
    }

    fn parameters(&self) -> Value {
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": false})
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolError> {
        let present = self.in_progress.fetch_add(1, Ordering::SeqCst) + 1;
        let text = match &self.deed {
            Deed::Echo => format!("{} {arguments}", self.name),
            Deed::Say(text) => text.clone(),
            Deed::Count(count) => count.fetch_add(1, Ordering::SeqCst).to_string(),
            Deed::Fail => return Err(ToolError::Failed(String::from("the door is locked"))),
            Deed::Panic => panic!("a scripted panic"),
            Deed::Meet(barrier) => {
                barrier.wait().await;
                format!("met {arguments}")
            }
            Deed::Crowd => {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                present.to_string()
            }
            Deed::UntilCancelled => {
                context.cancel.cancelled().await;
                return Err(ToolError::Cancelled);
            }
            Deed::FinishesAnyway => {
                context.cancel.cancelled().await;
                String::from("done before I noticed")
            }
            Deed::Deaf => std::future::pending().await,
        };
        self.in_progress.fetch_sub(1, Ordering::SeqCst);
        Ok(ToolOutput { text })
    }
}
