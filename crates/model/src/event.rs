//! What the gateway tells its listeners: one closed enum for all dialects.
//!
//! A durable event is appended in the transaction of the change it tells of and has a cursor. An
//! ephemeral one (deltas, presence, ticks) has none and may be dropped for a slow reader. Each
//! dialect projects every variant in an exhaustive match, so that a new variant does not compile
//! until each has said what it sends, or nothing.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::ErrorKind;
use crate::id::{AgentId, InputId, MessageId, RunId, SessionId, TokenId};
use crate::message::{Role, ToolCall, Usage};
use crate::node::Fence;
use crate::pairing::{PairRequest, PairState};
use crate::run::{EndReason, StopCause};
use crate::session::SessionKey;

/// Place of a durable event in the log: 1, 2, 3 … without gaps, in commit order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Cursor(pub u64);

impl Cursor {
    #[must_use]
    pub const fn next(self) -> Cursor {
        Cursor(self.0 + 1)
    }
}

/// Where a run came to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RunOutcome {
    Completed { reason: EndReason },
    Cancelled { cause: StopCause },
    Failed { kind: String, message: String },
}

/// The run, session and agent that an event of a run is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRef {
    pub run_id: RunId,
    pub session_key: SessionKey,
    pub agent_id: AgentId,
    /// The client that started the run wants no `stream.*` deltas.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

/// Kept as [`Event::to_stored`] says, not as it derives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    // Durable from here; the names are stored, so renaming one needs a migration.
    SessionCreated {
        session_key: SessionKey,
        channel: String,
    },
    SessionDeleted {
        session_key: SessionKey,
        messages_removed: u64,
    },
    SessionReset {
        session_key: SessionKey,
        session_id: SessionId,
        reason: String,
    },
    SessionCompacted {
        session_key: SessionKey,
        tokens_before: u64,
        tokens_after: u64,
        facts_extracted: u64,
        automatic: bool,
    },
    MessageStored {
        session_key: SessionKey,
        message_id: MessageId,
        message_seq: i64,
        role: Role,
        run_id: Option<RunId>,
        text: String,
    },
    RunAccepted {
        run: RunRef,
        message_id: MessageId,
        text: String,
        origin: String,
        pending: bool,
        /// The node that shall drive it.
        #[serde(default)]
        owner: Fence,
    },
    /// `seq` numbers the events of one run from 0 over started, deltas, tools and ended.
    RunStarted {
        run: RunRef,
        seq: u64,
        model: String,
    },
    ToolStarted {
        run: RunRef,
        seq: u64,
        call_id: String,
        name: String,
        arguments: String,
    },
    ToolEnded {
        run: RunRef,
        seq: u64,
        call_id: String,
        name: String,
        result: String,
        is_error: bool,
        duration_ms: u64,
    },
    InputRequested {
        run: RunRef,
        input_id: InputId,
        prompt: String,
        options: Vec<String>,
    },
    RunEnded {
        run: RunRef,
        seq: u64,
        /// `false` when it ended before it was started: then there was no `RunStarted` either.
        started: bool,
        outcome: RunOutcome,
        response: String,
        model: Option<String>,
        usage: Usage,
        iterations: u32,
        tool_calls: u32,
        duration_ms: u64,
        /// What the model wants called that only the client can run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        client_calls: Vec<ToolCall>,
    },
    /// Follow-up input for a run is written down; its model sees it at the next step.
    InputAccepted {
        run: RunRef,
        input_id: InputId,
        /// The node that took it in.
        by: Fence,
    },
    /// Somebody wants the run to end.
    StopAsked {
        run: RunRef,
        cause: StopCause,
        /// The node that was asked.
        by: Fence,
    },
    /// Another life of this node, or another node, goes on with a run from its last written step.
    RunTakenOver {
        run: RunRef,
        from: Fence,
        to: Fence,
        /// The name of the node that goes on with it.
        node: String,
    },
    TokenCreated {
        token_id: TokenId,
    },
    TokenRevoked {
        token_id: TokenId,
    },
    NodeJoined {
        node: String,
        fence: Fence,
    },
    NodeLeft {
        node: String,
        fence: Fence,
        /// `false` when it said goodbye.
        lost: bool,
    },
    ConfigChanged {
        changed_keys: Vec<String>,
        source: String,
    },
    ConfigReloaded {
        changed_keys: Vec<String>,
        source: String,
    },

    // Ephemeral from here; never stored.
    #[serde(skip)]
    RunDelta {
        run: RunRef,
        seq: u64,
        index: u64,
        text: Arc<str>,
        so_far: TextSoFar,
    },
    #[serde(skip)]
    RunThinking {
        run: RunRef,
        seq: u64,
        text: Arc<str>,
        so_far: TextSoFar,
    },
    #[serde(skip)]
    PresenceChanged {
        entries: Arc<[PresenceEntry]>,
        version: u64,
    },
    #[serde(skip)]
    PairingChanged {
        request: Arc<PairRequest>,
        state: PairState,
    },
    #[serde(skip)]
    HealthChanged {
        version: u64,
    },
    #[serde(skip)]
    Tick {
        at: Timestamp,
        connections: u64,
        uptime_ms: u64,
    },
    #[serde(skip)]
    ShuttingDown {
        reason: String,
        restart_expected_ms: Option<u64>,
        grace_ms: u64,
    },
}

impl Event {
    pub const fn is_durable(&self) -> bool {
        match self {
            Event::SessionCreated { .. }
            | Event::SessionDeleted { .. }
            | Event::SessionReset { .. }
            | Event::SessionCompacted { .. }
            | Event::MessageStored { .. }
            | Event::RunAccepted { .. }
            | Event::RunStarted { .. }
            | Event::ToolStarted { .. }
            | Event::ToolEnded { .. }
            | Event::InputRequested { .. }
            | Event::RunEnded { .. }
            | Event::InputAccepted { .. }
            | Event::StopAsked { .. }
            | Event::RunTakenOver { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. }
            | Event::NodeJoined { .. }
            | Event::NodeLeft { .. }
            | Event::ConfigChanged { .. }
            | Event::ConfigReloaded { .. } => true,
            Event::RunDelta { .. }
            | Event::RunThinking { .. }
            | Event::PresenceChanged { .. }
            | Event::PairingChanged { .. }
            | Event::HealthChanged { .. }
            | Event::Tick { .. }
            | Event::ShuttingDown { .. } => false,
        }
    }

    /// The run that the event belongs to.
    pub const fn run(&self) -> Option<&RunRef> {
        match self {
            Event::RunAccepted { run, .. }
            | Event::RunStarted { run, .. }
            | Event::RunDelta { run, .. }
            | Event::RunThinking { run, .. }
            | Event::ToolStarted { run, .. }
            | Event::ToolEnded { run, .. }
            | Event::InputRequested { run, .. }
            | Event::InputAccepted { run, .. }
            | Event::StopAsked { run, .. }
            | Event::RunTakenOver { run, .. }
            | Event::RunEnded { run, .. } => Some(run),
            Event::SessionCreated { .. }
            | Event::SessionDeleted { .. }
            | Event::SessionReset { .. }
            | Event::SessionCompacted { .. }
            | Event::MessageStored { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. }
            | Event::NodeJoined { .. }
            | Event::NodeLeft { .. }
            | Event::ConfigChanged { .. }
            | Event::ConfigReloaded { .. }
            | Event::PresenceChanged { .. }
            | Event::PairingChanged { .. }
            | Event::HealthChanged { .. }
            | Event::Tick { .. }
            | Event::ShuttingDown { .. } => None,
        }
    }

    /// About how much memory its texts take that may be long, in bytes.
    pub fn text_bytes(&self) -> usize {
        match self {
            Event::MessageStored { text, .. } | Event::RunAccepted { text, .. } => text.len(),
            Event::ToolStarted { arguments, .. } => arguments.len(),
            Event::ToolEnded { result, .. } => result.len(),
            Event::InputRequested { prompt, options, .. } => {
                prompt.len() + options.iter().map(String::len).sum::<usize>()
            }
            Event::RunEnded { response, client_calls, .. } => {
                response.len() + client_calls.iter().map(|call| call.arguments.len()).sum::<usize>()
            }
            Event::ConfigChanged { changed_keys, .. } | Event::ConfigReloaded { changed_keys, .. } => {
                changed_keys.iter().map(String::len).sum()
            }
            Event::RunDelta { text, .. } | Event::RunThinking { text, .. } => text.len(),
            Event::SessionCreated { .. }
            | Event::SessionDeleted { .. }
            | Event::SessionReset { .. }
            | Event::SessionCompacted { .. }
            | Event::RunStarted { .. }
            | Event::InputAccepted { .. }
            | Event::StopAsked { .. }
            | Event::RunTakenOver { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. }
            | Event::NodeJoined { .. }
            | Event::NodeLeft { .. }
            | Event::PresenceChanged { .. }
            | Event::PairingChanged { .. }
            | Event::HealthChanged { .. }
            | Event::Tick { .. }
            | Event::ShuttingDown { .. } => 0,
        }
    }

    /// The session that the event belongs to; listeners confined to one session see only its events.
    pub const fn session_key(&self) -> Option<&SessionKey> {
        match self {
            Event::SessionCreated { session_key, .. }
            | Event::SessionDeleted { session_key, .. }
            | Event::SessionReset { session_key, .. }
            | Event::SessionCompacted { session_key, .. }
            | Event::MessageStored { session_key, .. } => Some(session_key),
            _ => match self.run() {
                Some(run) => Some(&run.session_key),
                None => None,
            },
        }
    }
}

/// The text of a run up to one of its deltas. All deltas of a run share one buffer, so that a
/// cumulative view costs nothing to those who do not ask for it.
#[derive(Clone)]
pub struct TextSoFar {
    buffer: Arc<RwLock<String>>,
    len: usize,
    /// Where the current message begins; a run with tools writes several.
    start: usize,
}

impl TextSoFar {
    pub fn new() -> Self {
        Self { buffer: Arc::new(RwLock::new(String::new())), len: 0, start: 0 }
    }

    /// Appends to the shared buffer; the value returned sees the text up to here.
    #[must_use]
    pub fn push(&self, text: &str) -> TextSoFar {
        let mut buffer = self.buffer.write().unwrap_or_else(PoisonError::into_inner);
        buffer.push_str(text);
        TextSoFar { buffer: Arc::clone(&self.buffer), len: buffer.len(), start: self.start }
    }

    /// The same text; what is pushed from here on is a new message.
    #[must_use]
    pub fn next_message(&self) -> TextSoFar {
        TextSoFar { buffer: Arc::clone(&self.buffer), len: self.len, start: self.len }
    }

    /// The same text with all that was pushed after this value was made.
    #[must_use]
    pub fn newest(&self) -> TextSoFar {
        let len = self.buffer.read().unwrap_or_else(PoisonError::into_inner).len();
        TextSoFar { buffer: Arc::clone(&self.buffer), len, start: self.start }
    }

    /// The text of the current message up to here.
    pub fn with_current<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        self.with(|text| read(&text[self.start..]))
    }

    /// Where the current message begins, in bytes.
    pub const fn message_start(&self) -> usize {
        self.start
    }

    pub fn with<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        let buffer = self.buffer.read().unwrap_or_else(PoisonError::into_inner);
        read(&buffer[..self.len])
    }

    /// Length up to here, in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for TextSoFar {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for TextSoFar {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.with(|mine| other.with(|theirs| mine == theirs))
    }
}

impl fmt::Debug for TextSoFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextSoFar({} bytes)", self.len)
    }
}

/// Someone connected to the gateway, or the gateway itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PresenceEntry {
    /// Device, instance or connection id, lower-case: one entry for each.
    pub key: String,
    pub host: Option<String>,
    pub ip: Option<String>,
    pub version: Option<String>,
    pub platform: Option<String>,
    pub device_family: Option<String>,
    pub model_identifier: Option<String>,
    pub mode: Option<String>,
    pub reason: Option<String>,
    pub text: String,
    pub at: Timestamp,
    pub device_id: Option<String>,
    pub instance_id: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
}

/// How many dialects can keep encoded frames beside an event.
pub const FRAME_SLOTS: usize = 4;

/// An event on its way to listeners. Encoded at most once per dialect, whoever asks first.
pub struct Envelope {
    /// Present on durable events.
    pub cursor: Option<Cursor>,
    /// The event's own cursor, or that of the durable event it came after: keeps the two in order
    /// for a reader that takes the durable ones from the log.
    pub position: Cursor,
    pub at: Timestamp,
    pub event: Event,
    frames: [OnceLock<Arc<dyn Any + Send + Sync>>; FRAME_SLOTS],
}

impl Envelope {
    pub fn durable(cursor: Cursor, at: Timestamp, event: Event) -> Self {
        Self { cursor: Some(cursor), position: cursor, at, event, frames: Default::default() }
    }

    /// `position` is the cursor of the last durable event published before this one.
    pub fn ephemeral(position: Cursor, at: Timestamp, event: Event) -> Self {
        Self { cursor: None, position, at, event, frames: Default::default() }
    }

    /// The frames of this event in the dialect that owns `slot`, encoding them on first use.
    ///
    /// # Panics
    /// When two dialects use one slot with different types, or `slot` is out of range: a wiring bug.
    pub fn frames<T: Send + Sync + 'static>(&self, slot: usize, encode: impl FnOnce(&Envelope) -> T) -> Arc<T> {
        let any = self.frames[slot].get_or_init(|| Arc::new(encode(self)));
        Arc::clone(any).downcast::<T>().expect("one frame slot belongs to one dialect")
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("cursor", &self.cursor)
            .field("at", &self.at)
            .field("event", &self.event)
            .finish()
    }
}

impl ErrorKind {
    /// As stored in the log and in run rows.
    pub const fn word(self) -> &'static str {
        match self {
            ErrorKind::InvalidParams => "invalid_params",
            ErrorKind::NotFound(_) => "not_found",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::Denied => "denied",
            ErrorKind::Conflict => "conflict",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Busy => "busy",
            ErrorKind::Timeout => "timeout",
            ErrorKind::ToolFailed => "tool_failed",
            ErrorKind::ProviderFailed => "provider_failed",
            ErrorKind::ProviderRefused => "provider_refused",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Internal => "internal",
        }
    }

    /// Reads a run's stored failure; what is unknown counts as internal.
    pub fn from_word(word: &str) -> ErrorKind {
        [
            ErrorKind::InvalidParams,
            ErrorKind::Unauthenticated,
            ErrorKind::Denied,
            ErrorKind::Conflict,
            ErrorKind::RateLimited,
            ErrorKind::Busy,
            ErrorKind::Timeout,
            ErrorKind::ToolFailed,
            ErrorKind::ProviderFailed,
            ErrorKind::ProviderRefused,
            ErrorKind::Unavailable,
        ]
        .into_iter()
        .find(|kind| kind.word() == word)
        .unwrap_or(ErrorKind::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delta_sees_the_text_up_to_itself() {
        let start = TextSoFar::new();
        let one = start.push("Hel");
        let two = start.push("lo");
        assert_eq!((one.with(str::to_owned), two.with(str::to_owned)), ("Hel".into(), "Hello".into()));
        let second = two.next_message().push("you");
        assert_eq!((second.with(str::to_owned), second.with_current(str::to_owned)), ("Helloyou".into(), "you".into()));
        assert_eq!(one.newest().with(str::to_owned), "Helloyou");
    }

    #[test]
    fn frames_are_encoded_once_for_each_dialect() {
        let envelope = Envelope::ephemeral(Cursor(0), Timestamp::from_ms(1), Event::HealthChanged { version: 1 });
        let first = envelope.frames(0, |_| String::from("a"));
        let again = envelope.frames(0, |_| unreachable!("already encoded"));
        assert!(Arc::<String>::ptr_eq(&first, &again));
    }
}
