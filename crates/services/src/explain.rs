//! Why did I get nothing, or twice? The whole life of one message, from what was written down.
//!
//! Everything told here is read from the log of events and from the rows of the run: nothing is kept
//! for this alone. Whoever asks may name the run or the message by any id that a dialect has shown.

use std::sync::Arc;

use model::{
    Clock, Cursor, Event, Message, MessageId, OpError, Role, Run, RunId, RunOutcome, RunState, Timestamp,
    ToolCallState, uuid_of,
};
use store::{Node, Store, StoreError, StoredEvent};

use crate::sessions::MessagePage;

/// Events of one run that are told.
const EVENTS_MAX: u32 = 2000;
/// Events looked through at a time for an id that only a dialect knows.
const PAGE: u32 = 1000;
/// Messages with the same words count as one said twice when they came within this time.
const TWICE_MS: u64 = 120_000;
/// How much of a text is told.
const TEXT_CHARS_MAX: usize = 160;

pub struct Explain {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// One thing that happened to a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    pub at: Timestamp,
    /// Its place in the log; absent when only a row tells of it.
    pub cursor: Option<Cursor>,
    /// A word for programs, such as `tool_ended`.
    pub what: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// What is known of a message and its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    pub run: Run,
    pub message: Option<Message>,
    /// The node that drives it, or drove it last; absent when that node is gone.
    pub node: Option<Node>,
    /// In the order in which it happened.
    pub moments: Vec<Moment>,
    /// What is worth knowing about it, most important first.
    pub findings: Vec<String>,
}

/// What the database says of a run at one moment.
struct Facts {
    run: Run,
    message: Option<Message>,
    written: Vec<Message>,
    calls: Vec<model::ToolCallRecord>,
    inputs: usize,
    /// Unfinished runs of the session that were accepted before it.
    ahead: Vec<RunId>,
    nodes: Vec<Node>,
    events: Vec<StoredEvent>,
    /// User messages of the same session with the same words, and when they came.
    same_words: Vec<(Option<RunId>, Timestamp)>,
}

impl Explain {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The life of the run, or of the message, that this id of any dialect means. `None` when nothing
    /// is known of it, or not any more.
    pub async fn story(&self, id: &str) -> Result<Option<Story>, OpError> {
        let Some(run) = self.find(id).await? else { return Ok(None) };
        let facts = self.store.read::<_, OpError, _>(move |snapshot| Ok(facts(snapshot, run)?)).await?;
        Ok(Some(facts.tell(self.clock.now())))
    }

    async fn find(&self, id: &str) -> Result<Option<Run>, OpError> {
        let wanted = id.to_owned();
        let known = self.store.read::<_, OpError, _>(move |snapshot| {
            if let Ok(run) = RunId::parse(&wanted)
                && let Some(run) = snapshot.runs().get(&run)?
            {
                return Ok(Some(run));
            }
            let message = snapshot.messages().get(&MessageId::trusted(wanted.as_str()))?;
            match message.and_then(|message| message.run_id) {
                Some(run) => Ok(snapshot.runs().get(&run)?),
                None => Ok(None),
            }
        });
        match known.await? {
            Some(run) => Ok(Some(run)),
            None => self.find_in_log(id).await,
        }
    }

    /// Ids that a dialect has made of ours stand in no row: the log is looked through.
    async fn find_in_log(&self, id: &str) -> Result<Option<Run>, OpError> {
        let uuid: Option<uuid::Uuid> = id.parse().ok();
        let mut after = Cursor(0);
        loop {
            let wanted = id.to_owned();
            let (found, last) = self
                .store
                .read::<_, StoreError, _>(move |snapshot| {
                    let page = snapshot.events().after(after, PAGE)?;
                    let last = page.last().map(|stored| stored.cursor);
                    let found =
                        page.into_iter().find_map(|stored| means(&stored.event, &wanted, uuid).then_some(stored));
                    let Some(stored) = found else { return Ok((None, last)) };
                    let Some(run) = stored.event.run() else { return Ok((None, last)) };
                    let row = snapshot.runs().get(&run.run_id)?;
                    Ok((row.or_else(|| gone(&stored)), last))
                })
                .await
                .map_err(OpError::from)?;
            match (found, last) {
                (Some(run), _) => return Ok(Some(run)),
                (None, Some(last)) => after = last,
                (None, None) => return Ok(None),
            }
        }
    }
}

/// Whether an event is about what this id means: a run whose row is gone, the UUID that stands for a run
/// or for its message, or the answer that an ephemeral session is named after.
fn means(event: &Event, id: &str, uuid: Option<uuid::Uuid>) -> bool {
    let Some(run) = event.run() else { return false };
    let message = match event {
        Event::RunAccepted { message_id, .. } => Some(message_id.as_str()),
        _ => None,
    };
    run.run_id.as_str() == id
        || message == Some(id)
        || uuid.is_some_and(|uuid| uuid_of(run.run_id.as_str()) == uuid || message.map(uuid_of) == Some(uuid))
        || run.session_key.as_str().rsplit(':').next().is_some_and(|last| last == id)
}

/// What the log still tells of a run whose row went with its session.
fn gone(stored: &StoredEvent) -> Option<Run> {
    let run = stored.event.run()?;
    let (id, key, message_id) = (run.run_id.clone(), run.session_key.clone(), model::MessageId::trusted(""));
    Some(Run {
        agent_id: run.agent_id.clone(),
        state: RunState::Completed,
        ..Run::pending(id, key, message_id, stored.at, model::Fence(0))
    })
}

fn facts(snapshot: &dyn store::Snapshot, run: Run) -> Result<Facts, StoreError> {
    let events = snapshot.events().of_run(&run.id, EVENTS_MAX)?;
    let message = snapshot.messages().get(&run.message_id)?;
    let ahead = snapshot.runs().unfinished_of(&run.session_key)?.into_iter().map(|other| other.id);
    let ahead = ahead.take_while(|other| *other != run.id).collect();
    let mut same_words = Vec::new();
    if let Some(message) = &message {
        let page = MessagePage { roles: vec![Role::User], limit: 200, ..MessagePage::default() };
        for other in snapshot.messages().page(&run.session_id, &page)? {
            let is_near =
                other.created_at.ms_since(message.created_at).max(message.created_at.ms_since(other.created_at))
                    <= TWICE_MS;
            if other.id != message.id && is_near && other.body.content == message.body.content {
                same_words.push((other.run_id, other.created_at));
            }
        }
    }
    Ok(Facts {
        written: snapshot.messages().of_run(&run.id)?,
        calls: snapshot.tool_calls().of_run(&run.id)?,
        inputs: snapshot.runs().inputs(&run.id)?.len(),
        nodes: snapshot.nodes().list()?,
        ahead,
        events,
        same_words,
        message,
        run,
    })
}

impl Facts {
    fn tell(self, now: Timestamp) -> Story {
        let mut moments: Vec<Moment> = self.events.iter().filter_map(|stored| self.moment(stored)).collect();
        for message in self.written.iter().filter(|message| message.body.role == Role::Assistant) {
            let is_told = self.events.iter().any(
                |stored| matches!(&stored.event, Event::MessageStored { message_id, .. } if *message_id == message.id),
            );
            if !is_told {
                let text = format!("A step was written down: {}", clipped(&message.body.content.text()));
                moments.push(Moment { at: message.created_at, cursor: None, what: "step_written", text });
            }
        }
        if !self.events.iter().any(|stored| matches!(stored.event, Event::RunAccepted { .. })) {
            let text = format!("Received from {} by {} and written down.", self.run.origin, self.run.started_by);
            moments.insert(0, Moment { at: self.run.accepted_at, cursor: None, what: "received", text });
        }
        // Steps between events; events keep the order of the log, whatever the clocks of several nodes said.
        moments.sort_by(|a, b| match (a.cursor, b.cursor) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.at.cmp(&b.at),
        });
        let findings = self.findings(now);
        let node = self.nodes.iter().find(|node| node.fence == self.run.owner).cloned();
        Story { run: self.run, message: self.message, node, moments, findings }
    }

    fn moment(&self, stored: &StoredEvent) -> Option<Moment> {
        let (what, text) = match &stored.event {
            Event::RunAccepted { origin, pending, text, owner, .. } => {
                let queue = if *pending { "It waits behind others of its session" } else { "Nothing was before it" };
                let from = if self.run.started_by.is_empty() { "" } else { self.run.started_by.as_str() };
                (
                    "received",
                    format!(
                        "Received from {origin} ({from}) and written down: {} {queue}; {} drives it.",
                        quoted(text),
                        self.node_name(*owner)
                    ),
                )
            }
            Event::MessageStored { role: Role::User, .. } => return None,
            Event::MessageStored { text, .. } => ("step_written", format!("A step was written down: {}", quoted(text))),
            Event::RunStarted { model, .. } => ("started", format!("Its turn began with {model}.")),
            Event::ToolStarted { name, call_id, .. } => {
                ("tool_started", format!("The tool {name} began (call {call_id})."))
            }
            Event::ToolEnded { name, call_id, is_error, duration_ms, .. } => {
                let end = if *is_error { "failed" } else { "ended" };
                ("tool_ended", format!("The tool {name} {end} after {duration_ms} ms (call {call_id})."))
            }
            Event::InputRequested { prompt, .. } => {
                ("input_requested", format!("It asked its user: {}", quoted(prompt)))
            }
            Event::InputAccepted { input_id, by, .. } => {
                ("input_accepted", format!("Further input {input_id} was written down by {}.", self.node_name(*by)))
            }
            Event::StopAsked { cause, by, .. } => {
                ("stop_asked", format!("It was asked to stop ({cause:?}) through {}.", self.node_name(*by)))
            }
            Event::RunTakenOver { node, to, .. } => (
                "taken_over",
                format!("Its node was gone; {node} (life {to}) goes on with it from its last written step."),
            ),
            Event::RunEnded { outcome, response, duration_ms, .. } => ("ended", ended(outcome, response, *duration_ms)),
            _ => return None,
        };
        Some(Moment { at: stored.at, cursor: Some(stored.cursor), what, text })
    }

    fn node_name(&self, fence: model::Fence) -> String {
        let node = self.nodes.iter().find(|node| node.fence == fence);
        node.map_or_else(|| format!("a node that is gone (life {fence})"), |node| format!("node {}", node.node.name))
    }

    fn findings(&self, now: Timestamp) -> Vec<String> {
        let run = &self.run;
        let mut found = Vec::new();
        match run.state {
            RunState::Pending if !self.ahead.is_empty() => found.push(format!(
                "It has not begun: {} of its session is before it ({}). One turn at a time runs in a session.",
                self.ahead.len(),
                self.ahead[0]
            )),
            RunState::Pending => {
                found.push(format!("It waits to begin since {} s.", now.ms_since(run.accepted_at) / 1000))
            }
            RunState::Running => match &run.awaiting {
                Some(awaiting) => found.push(format!(
                    "It waits for an answer of its user to {}; answer with `agent.respondToInput`.",
                    quoted(&awaiting.prompt)
                )),
                None => {
                    found.push(format!("It runs since {} s.", run.started_at.map_or(0, |at| now.ms_since(at) / 1000)))
                }
            },
            RunState::Completed if run.response.as_deref().is_some_and(|text| text.trim().is_empty()) => {
                found.push(String::from("The model had nothing to say: the answer is empty."));
            }
            RunState::Completed => {}
            RunState::Cancelled => found.push(format!(
                "It was cancelled ({}).",
                run.stop_cause.map_or_else(|| String::from("no cause is known"), |cause| format!("{cause:?}"))
            )),
            RunState::Failed => {
                let why = run.error.as_ref().map_or("no reason is known", |error| error.message.as_str());
                found.push(format!("It failed: {why}"));
            }
        }
        if !run.state.is_over() && !self.nodes.iter().any(|node| node.fence == run.owner) {
            found.push(String::from(
                "The node that drove it is gone; another one takes it over, or the next start does.",
            ));
        }
        if run.options.quiet {
            found.push(String::from(
                "Its client asked for no text while it runs (`stream: false`); only the end is told.",
            ));
        }
        if self.inputs > 0 {
            found.push(format!("{} further inputs wait for its next step.", self.inputs));
        }
        for (other, at) in &self.same_words {
            let run = other.as_ref().map_or_else(|| String::from("another message"), |run| format!("run {run}"));
            let apart = at.ms_since(self.run.accepted_at).max(self.run.accepted_at.ms_since(*at));
            found.push(format!(
                "The same words came twice, {apart} ms apart ({run}): to the gateway these are two messages, because the client \
                 sent no id of its own (an idempotency key) with them."
            ));
        }
        let interrupted = self.calls.iter().filter(|call| call.state == ToolCallState::Interrupted).count();
        if interrupted > 0 {
            found.push(format!("{interrupted} tool calls were interrupted by a restart; the model was told so."));
        }
        if !self.events.iter().any(|stored| matches!(stored.event, Event::RunAccepted { .. })) {
            found.push(String::from(
                "The beginning is not in the log any more, or its session leaves no trace on purpose.",
            ));
        }
        found
    }
}

fn ended(outcome: &RunOutcome, response: &str, duration_ms: u64) -> String {
    match outcome {
        RunOutcome::Completed { reason } => {
            format!("It ended after {duration_ms} ms ({}): {}", reason.as_str(), quoted(response))
        }
        RunOutcome::Cancelled { cause } => format!("It was cancelled after {duration_ms} ms ({cause:?})."),
        RunOutcome::Failed { kind, message } => format!("It failed after {duration_ms} ms ({kind}): {message}"),
    }
}

fn quoted(text: &str) -> String {
    if text.trim().is_empty() { String::from("no text.") } else { format!("“{}”.", clipped(text)) }
}

fn clipped(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
