//! Transcripts of sessions that are talking, kept in memory from turn to turn.
//!
//! The store decides: each reading asks it whether what is kept is still how the transcript begins,
//! and reads only what came behind. So a turn costs the same after a thousand messages as after ten.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Message, MessageId, NewMessage, Run, RunId, SessionId, SessionKind};
use store::{MessagePage, Seen, Snapshot, StoreError};

/// Bytes kept of all transcripts together, roughly; beyond it those that were quiet longest are let go.
const BYTES_MAX: usize = 2 << 20;
/// What a message takes besides its text.
const MESSAGE_BYTES: usize = 384;

#[derive(Default)]
pub(crate) struct Transcripts {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_session: HashMap<SessionId, Transcript>,
    bytes: usize,
    /// Counts readings, so that the longest quiet one can be told.
    readings: u64,
}

#[derive(Default)]
struct Transcript {
    messages: Vec<Spoken>,
    last_seq: i64,
    bytes: usize,
    last_read: u64,
}

struct Spoken {
    id: MessageId,
    run: Option<RunId>,
    body: NewMessage,
}

/// What the store has behind a transcript that is kept, read in passing.
pub(crate) struct Glance {
    seen: Seen,
    unfinished: Vec<Run>,
    /// `None` when the transcript does not begin so any more.
    behind: Option<Vec<Message>>,
}

impl Glance {
    pub(crate) fn at(snapshot: &dyn Snapshot, run: &Run, seen: Seen) -> Result<Self, StoreError> {
        let unfinished = snapshot.runs().unfinished_of(&run.session_key)?;
        let behind = snapshot.messages().behind(&run.session_id, &seen)?;
        Ok(Self { seen, unfinished, behind })
    }
}

impl Transcripts {
    /// The conversation that a run sees: everything before it, then what it wrote itself. User messages
    /// that wait behind it belong to later turns.
    pub(crate) fn conversation(&self, snapshot: &dyn Snapshot, run: &Run) -> Result<Vec<NewMessage>, StoreError> {
        let unfinished = snapshot.runs().unfinished_of(&run.session_key)?;
        let transcript = self.take(&run.session_id).brought_up(snapshot, &run.session_id)?;
        Ok(self.seen_by(run, &unfinished, transcript))
    }

    /// What is kept of a transcript, to be continued with a [`Glance`]; `None` when nothing is.
    pub(crate) fn seen(&self, session: &SessionId) -> Option<Seen> {
        self.lock().by_session.get(session).and_then(Transcript::seen)
    }

    /// The same as [`Transcripts::conversation`], of what was read already; `None` when that does not
    /// continue what is kept.
    pub(crate) fn continued(&self, run: &Run, glance: Glance) -> Option<Vec<NewMessage>> {
        let mut transcript = self.take(&run.session_id);
        let behind = glance.behind.filter(|_| transcript.seen() == Some(glance.seen))?;
        behind.into_iter().for_each(|message| transcript.push(message));
        Some(self.seen_by(run, &glance.unfinished, transcript))
    }

    fn seen_by(&self, run: &Run, unfinished: &[Run], transcript: Transcript) -> Vec<NewMessage> {
        let waits = |id: &RunId| *id != run.id && unfinished.iter().any(|other| other.id == *id);
        let is_own = |spoken: &&Spoken| spoken.run.as_ref() == Some(&run.id);
        let before =
            transcript.messages.iter().filter(|spoken| !is_own(spoken) && !spoken.run.as_ref().is_some_and(waits));
        let own = transcript.messages.iter().filter(is_own);
        let conversation = before.chain(own).map(|spoken| spoken.body.clone()).collect();
        if run.session_key.kind() != SessionKind::Ephemeral {
            self.put(&run.session_id, transcript);
        }
        conversation
    }

    /// Forgets a transcript that is gone.
    pub(crate) fn forget(&self, session: &SessionId) {
        drop(self.take(session));
    }

    /// What is kept, or an empty transcript: one reader at a time has it.
    fn take(&self, session: &SessionId) -> Transcript {
        let mut kept = self.lock();
        let transcript = kept.by_session.remove(session).unwrap_or_default();
        kept.bytes -= transcript.bytes;
        transcript
    }

    fn put(&self, session: &SessionId, mut transcript: Transcript) {
        let mut kept = self.lock();
        kept.readings += 1;
        transcript.last_read = kept.readings;
        kept.bytes += transcript.bytes;
        if let Some(other) = kept.by_session.insert(session.clone(), transcript) {
            kept.bytes -= other.bytes;
        }
        while kept.bytes > BYTES_MAX {
            let quietest = kept.by_session.iter().min_by_key(|(_, transcript)| transcript.last_read);
            let Some(id) = quietest.map(|(id, _)| id.clone()) else { break };
            if let Some(transcript) = kept.by_session.remove(&id) {
                kept.bytes -= transcript.bytes;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transcript {
    /// With all that the store has.
    fn brought_up(mut self, snapshot: &dyn Snapshot, session: &SessionId) -> Result<Self, StoreError> {
        let behind = match self.seen() {
            Some(seen) => snapshot.messages().behind(session, &seen)?,
            None => None,
        };
        let more = match behind {
            Some(more) => more,
            None => {
                self = Self::default();
                snapshot.messages().page(session, &MessagePage::default())?
            }
        };
        more.into_iter().for_each(|message| self.push(message));
        Ok(self)
    }

    fn seen(&self) -> Option<Seen> {
        let (first, last) = (self.messages.first()?, self.messages.last()?);
        let count = u64::try_from(self.messages.len()).unwrap_or(u64::MAX);
        Some(Seen { first: first.id.clone(), last: last.id.clone(), last_seq: self.last_seq, count })
    }

    fn push(&mut self, message: Message) {
        let Message { id, seq, run_id, body, .. } = message;
        self.bytes += MESSAGE_BYTES + body.bytes();
        self.last_seq = seq;
        self.messages.push(Spoken { id, run: run_id, body });
    }
}
