//! What a unit of work is about to ask for.

use model::{MessageId, RunId, SessionId, SessionKey};

use crate::messages::Seen;

/// Said with a unit of work, so that a backend that is far from its database asks for many units at
/// once what each of them would wait for alone. Only a hint: a unit that asks for something else gets
/// it all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foresight {
    /// Their rows, whose they are, and where their present transcripts end.
    pub sessions: Vec<SessionKey>,
    /// Where they end: for those that no stored session has yet.
    pub transcripts: Vec<SessionId>,
    /// Whether they are there and go on, whose they are, and whether input or tool calls hang on them.
    pub runs: Vec<RunId>,
    /// Whether these ids are free.
    pub messages: Vec<MessageId>,
    pub conversations: Vec<Conversation>,
}

/// What a turn reads before it asks its model: which runs of a session are unfinished, and what its
/// transcript has behind what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    pub session: SessionKey,
    pub transcript: SessionId,
    pub seen: Seen,
}

impl Foresight {
    /// What two units are about to ask for.
    pub fn join(&mut self, other: Foresight) {
        self.sessions.extend(other.sessions);
        self.transcripts.extend(other.transcripts);
        self.runs.extend(other.runs);
        self.messages.extend(other.messages);
        self.conversations.extend(other.conversations);
    }
}
