//! Conversations: reading, resetting, clearing, forgetting.
//!
//! What must not happen while a run is active (compaction, clearing, reset, deletion) goes through
//! [`Runs`](crate::Runs), which holds the session still first.

mod compaction;
mod fork;
mod transcripts;

use std::sync::Arc;

use model::{
    AgentId, Clock, Event, Ids, Message, NewMessage, Noun, OpError, Role, Run, RunId, RunOutcome, RunRef, Session,
    SessionId, SessionKey, SessionKind, SessionSettings, StopCause, Timestamp,
};
use store::{Store, StoreError, Tx};

pub use compaction::{CompactOptions, Compaction};
pub use fork::Fork;
pub use store::{MessagePage, SearchQuery, SessionFilter, SessionPage};
pub(crate) use transcripts::{Glance, Transcripts};

use crate::agents::Agents;
use crate::models::Models;
use crate::settings::SessionRules;

pub(crate) struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub agents: Arc<Agents>,
    pub models: Arc<Models>,
    pub rules: SessionRules,
}

pub struct Sessions {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    agents: Arc<Agents>,
    models: Arc<Models>,
    rules: std::sync::RwLock<Arc<SessionRules>>,
    transcripts: Arc<Transcripts>,
}

/// A page of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    pub session: Session,
    /// Oldest first.
    pub messages: Vec<Message>,
}

impl Sessions {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, clock, ids, agents, models, rules } = parts;
        Self {
            store,
            clock,
            ids,
            agents,
            models,
            rules: std::sync::RwLock::new(Arc::new(rules)),
            transcripts: Arc::default(),
        }
    }

    pub fn rules(&self) -> Arc<SessionRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(crate) fn transcripts(&self) -> Arc<Transcripts> {
        Arc::clone(&self.transcripts)
    }

    pub fn set_rules(&self, rules: SessionRules) {
        *self.rules.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(rules);
    }

    pub async fn get(&self, key: &SessionKey) -> Result<Option<Session>, OpError> {
        let key = key.clone();
        self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.sessions().get(&key)?)).await
    }

    pub async fn list(&self, filter: SessionFilter) -> Result<SessionPage, OpError> {
        self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.sessions().list(&filter)?)).await
    }

    /// `None` when the session does not exist.
    pub async fn history(&self, key: &SessionKey, page: MessagePage) -> Result<Option<History>, OpError> {
        let key = key.clone();
        self.store
            .read::<_, OpError, _>(move |snapshot| {
                let Some(session) = snapshot.sessions().get(&key)? else { return Ok(None) };
                let messages = snapshot.messages().page(&session.id, &page)?;
                Ok(Some(History { session, messages }))
            })
            .await
    }

    /// The first user message of a session, for titles.
    pub async fn first_user_text(&self, id: &SessionId) -> Result<Option<String>, OpError> {
        let id = id.clone();
        self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.messages().first_user_text(&id)?)).await
    }

    /// The text of a message; `None` when it is not there any more.
    pub(crate) async fn message_text(&self, id: &model::MessageId) -> Result<Option<String>, OpError> {
        let id = id.clone();
        let message = self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.messages().get(&id)?)).await?;
        Ok(message.map(|message| message.body.content.text().into_owned()))
    }

    /// The newest runs of a session, newest first.
    pub async fn recent_runs(&self, key: &SessionKey, limit: u32) -> Result<Vec<Run>, OpError> {
        let key = key.clone();
        self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.runs().recent_of(&key, limit)?)).await
    }

    pub async fn search(&self, query: SearchQuery) -> Result<Vec<store::MessageHit>, OpError> {
        self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.messages().search(&query)?)).await
    }

    /// Changes the settings of a session, making the session when it is missing.
    pub async fn configure(
        &self,
        key: &SessionKey,
        change: impl FnOnce(&mut SessionSettings) + Send + 'static,
    ) -> Result<Session, OpError> {
        self.agents.require(&key.agent())?;
        let (key, now, id) = (key.clone(), self.clock.now(), self.ids.session());
        self.store
            .write::<_, OpError, _>(move |tx| {
                let mut session = open_session(tx, &key, id, now)?;
                change(&mut session.settings);
                session.updated_at = now;
                tx.sessions_mut().put(&session)?;
                Ok(session)
            })
            .await
    }

    /// Removes the messages and keeps the session, with what waits for its turn; `None` when there is no such session.
    pub(crate) async fn clear(&self, key: &SessionKey, keep_system: bool) -> Result<Option<u64>, OpError> {
        let (key, now, aside) = (key.clone(), self.clock.now(), self.ids.session());
        self.store
            .write::<_, OpError, _>(move |tx| {
                let Some(mut session) = tx.sessions().get(&key)? else { return Ok(None) };
                let waiting = tx.runs().unfinished_of(&key)?;
                for run in &waiting {
                    tx.messages_mut().transfer(&run.message_id, (&key, &aside))?;
                }
                let removed = tx.messages_mut().clear(&session.id, keep_system)?;
                for run in &waiting {
                    tx.messages_mut().transfer(&run.message_id, (&key, &session.id))?;
                }
                session.updated_at = now;
                recount(tx, &mut session)?;
                Ok(Some(removed))
            })
            .await
    }

    /// Gives the session a new, empty transcript; settings stay. Makes the session when it is missing.
    /// The old transcript stays readable under its own id until the session is deleted. Runs that wait
    /// go over to the new one with their messages; their ids are given too.
    pub(crate) async fn reset(&self, key: &SessionKey, reason: &str) -> Result<(Session, Vec<RunId>), OpError> {
        self.agents.require(&key.agent())?;
        let (key, now, reason) = (key.clone(), self.clock.now(), reason.to_owned());
        let (first, second) = (self.ids.session(), self.ids.session());
        self.store
            .write::<_, OpError, _>(move |tx| {
                let mut session = open_session(tx, &key, first, now)?;
                session.id = second;
                session.updated_at = now;
                (session.input_tokens, session.output_tokens) = (0, 0);
                session.aborted_last_run = false;
                let waiting = tx.runs().unfinished_of(&key)?;
                let ids = waiting.iter().map(|run| run.id.clone()).collect();
                for run in waiting {
                    tx.messages_mut().transfer(&run.message_id, (&key, &session.id))?;
                    tx.runs_mut().update(&Run { session_id: session.id.clone(), ..run })?;
                }
                recount(tx, &mut session)?;
                let event = Event::SessionReset { session_key: key, session_id: session.id.clone(), reason };
                tx.events_mut().append(now, &event)?;
                Ok((session, ids))
            })
            .await
    }

    /// Keeps the newest `keep` messages; `None` when there is no such session.
    pub async fn truncate(&self, key: &SessionKey, keep: u64) -> Result<Option<(Session, u64)>, OpError> {
        let (key, now) = (key.clone(), self.clock.now());
        self.store
            .write::<_, OpError, _>(move |tx| {
                let Some(mut session) = tx.sessions().get(&key)? else { return Ok(None) };
                let messages = tx.messages().page(&session.id, &MessagePage::default())?;
                let bodies: Vec<NewMessage> = messages.iter().map(|message| message.body.clone()).collect();
                let cut = agent::compaction::cut(&bodies, usize::try_from(keep).unwrap_or(usize::MAX));
                let Some(last) = cut.checked_sub(1).and_then(|at| messages.get(at)) else {
                    return Ok(Some((session, 0)));
                };
                let before = session.token_count;
                let removed = tx.messages_mut().remove_head(&session.id, last.seq)?;
                session.updated_at = now;
                session.last_compaction = Some(now);
                recount(tx, &mut session)?;
                let event = Event::SessionCompacted {
                    session_key: key,
                    tokens_before: before,
                    tokens_after: session.token_count,
                    facts_extracted: 0,
                    automatic: false,
                };
                tx.events_mut().append(now, &event)?;
                Ok(Some((session, removed)))
            })
            .await
    }

    /// Removes a session. Runs that were accepted while it was being removed end with it; gives
    /// their ids and the messages removed.
    pub(crate) async fn remove(&self, key: &SessionKey) -> Result<(u64, Vec<RunId>), OpError> {
        let (key, now) = (key.clone(), self.clock.now());
        let transcripts = self.transcripts();
        self.store
            .write::<_, OpError, _>(move |tx| {
                let late = tx.runs().unfinished_of(&key)?;
                if let Some(session) = tx.sessions().get(&key)? {
                    transcripts.forget(&session.id);
                }
                let Some(messages_removed) = tx.sessions_mut().delete(&key)? else {
                    return Err(OpError::not_found(Noun::Session, &key));
                };
                let ids = late.iter().map(|run| run.id.clone()).collect();
                for run in late {
                    tx.events_mut().append(now, &ended_with_session(run))?;
                }
                tx.events_mut().append(now, &Event::SessionDeleted { session_key: key, messages_removed })?;
                Ok((messages_removed, ids))
            })
            .await
    }

    /// Keys of sessions that were idle for longer than the rules keep them.
    pub(crate) async fn expired(&self) -> Result<Vec<SessionKey>, OpError> {
        let days = i64::from(self.rules().expiry_days);
        if days == 0 {
            return Ok(Vec::new());
        }
        let before = self.clock.now().plus_ms(-days * 86_400_000);
        self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.sessions().idle_since(before, 500)?)).await
    }

    /// Prunes the event log by age and size.
    pub(crate) async fn prune_events(&self) -> Result<u64, OpError> {
        let rules = self.rules();
        let before = self.clock.now().plus_ms(-i64::from(rules.event_retention_days) * 86_400_000);
        let keep = rules.event_retention_max;
        self.store.write::<_, OpError, _>(move |tx| Ok(tx.events_mut().prune(before, keep)?)).await
    }
}

/// The end of a run that never started because its session was deleted.
fn ended_with_session(run: Run) -> Event {
    Event::RunEnded {
        run: RunRef { run_id: run.id, session_key: run.session_key, agent_id: run.agent_id, quiet: run.options.quiet },
        seq: run.next_seq,
        started: false,
        outcome: RunOutcome::Cancelled { cause: StopCause::SessionDeleted },
        response: String::new(),
        model: None,
        usage: run.usage,
        iterations: 0,
        tool_calls: 0,
        duration_ms: 0,
        client_calls: Vec::new(),
    }
}

/// The session of `key`, made with the id `fresh` when it is missing.
pub(crate) fn open_session(
    tx: &dyn Tx,
    key: &SessionKey,
    fresh: SessionId,
    now: Timestamp,
) -> Result<Session, StoreError> {
    if let Some(session) = tx.sessions().get(key)? {
        return Ok(session);
    }
    let session = Session {
        key: key.clone(),
        id: fresh,
        created_at: now,
        updated_at: now,
        message_count: 0,
        token_count: 0,
        input_tokens: 0,
        output_tokens: 0,
        last_compaction: None,
        aborted_last_run: false,
        settings: SessionSettings::default(),
    };
    tx.sessions_mut().put(&session)?;
    if key.kind() != SessionKind::Ephemeral {
        let event = Event::SessionCreated { session_key: key.clone(), channel: key.channel().to_owned() };
        tx.events_mut().append(now, &event)?;
    }
    Ok(session)
}

/// Appends a message, counts it on `session` (which the caller stores), and tells of it.
pub(crate) fn append_message(
    tx: &dyn Tx,
    session: &mut Session,
    id: &model::MessageId,
    run: Option<&model::RunId>,
    now: Timestamp,
    body: &NewMessage,
) -> Result<i64, StoreError> {
    let seq = tx.messages_mut().append((&session.key, &session.id), id, run, now, body)?;
    session.message_count += 1;
    session.token_count += body.token_estimate();
    session.updated_at = now;
    if matches!(body.role, Role::User | Role::Assistant) && session.key.kind() != SessionKind::Ephemeral {
        let event = Event::MessageStored {
            session_key: session.key.clone(),
            message_id: id.clone(),
            message_seq: seq,
            role: body.role,
            run_id: run.cloned(),
            text: body.content.text().into_owned(),
        };
        tx.events_mut().append(now, &event)?;
    }
    Ok(seq)
}

/// Recomputes the counts from the messages and stores the session.
pub(crate) fn recount(tx: &dyn Tx, session: &mut Session) -> Result<(), StoreError> {
    session.message_count = tx.messages().count(&session.id)?;
    session.token_count = tx.messages_mut().token_sum(&session.id)?;
    tx.sessions_mut().put(session)
}

/// Parts a conversation into what is said in turns, summaries included, and system messages that
/// belong into the system text.
pub(crate) fn split_system(messages: Vec<NewMessage>) -> (Vec<NewMessage>, Vec<NewMessage>) {
    let is_summary = |message: &NewMessage| message.content.text().starts_with(agent::compaction::SUMMARY_MARK);
    messages.into_iter().partition(|message| message.role != Role::System || is_summary(message))
}

/// Full-text search over an agent's sessions, as the tools ask for it.
pub(crate) struct StoredSearch(pub Arc<dyn Store>);

#[async_trait::async_trait]
impl tools::SessionSearch for StoredSearch {
    async fn search(&self, agent: &AgentId, text: &str, limit: u32) -> Result<Vec<tools::SearchHit>, tools::ToolError> {
        let query = SearchQuery {
            agent: agent.clone(),
            text: text.to_owned(),
            session: None,
            roles: vec![Role::User, Role::Assistant],
            limit: limit.clamp(1, 50),
        };
        let hits = self.0.read::<_, StoreError, _>(move |snapshot| snapshot.messages().search(&query)).await;
        let hits = hits.map_err(|error| tools::ToolError::Failed(format!("the search failed: {error}")))?;
        Ok(hits
            .into_iter()
            .map(|hit| tools::SearchHit {
                session: hit.session_key,
                role: hit.message.body.role.as_str(),
                snippet: hit.snippet,
                at: hit.message.created_at,
            })
            .collect())
    }
}
