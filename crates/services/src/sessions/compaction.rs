//! Shortening a session: older messages become a summary, what they teach becomes facts.

use agent::compaction as rules;
use futures_util::StreamExt;
use model::{Agent, Event, ModelRef, NewMessage, OpError, RunId, SessionKey, SessionKind, Thinking};
use providers::{ChatRequest, Chunk, Sampling};
use store::{Fact, MessagePage};
use tokio_util::sync::CancellationToken;

use super::{History, Sessions, recount};

/// Tokens of a summary or of a list of facts.
const SUMMARY_TOKENS_MAX: u32 = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactOptions {
    /// Newest messages to keep; absent = as configured.
    pub keep_recent: Option<u32>,
    /// Guidance for the summary.
    pub instructions: Option<String>,
    /// Nobody asked for it.
    pub automatic: bool,
    /// The run that asks for it. Messages of other unfinished runs wait for their turn and stay as they are.
    pub active: Option<RunId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compaction {
    pub compacted: bool,
    /// Why nothing was done: `nothing_to_compact`, `no_gain`.
    pub reason: Option<&'static str>,
    pub tokens_before: u64,
    pub tokens_after: u64,
    pub messages_before: u64,
    pub messages_after: u64,
    pub facts_extracted: u64,
}

impl Sessions {
    /// Compacts a session that nothing else changes meanwhile; `None` when there is no such session.
    pub(crate) async fn compact(
        &self,
        key: &SessionKey,
        options: CompactOptions,
    ) -> Result<Option<Compaction>, OpError> {
        let Some((history, waiting)) = self.whole(key).await? else { return Ok(None) };
        let session = history.session;
        let unchanged = Compaction {
            tokens_before: session.token_count,
            tokens_after: session.token_count,
            messages_before: session.message_count,
            messages_after: session.message_count,
            ..Compaction::default()
        };
        let keep = options.keep_recent.unwrap_or_else(|| self.rules().compaction.keep_recent);
        let bodies: Vec<NewMessage> = history.messages.iter().map(|message| message.body.clone()).collect();
        let waits = |run: &RunId| Some(run) != options.active.as_ref() && waiting.contains(run);
        let first = history.messages.iter().position(|message| message.run_id.as_ref().is_some_and(waits));
        let free = &bodies[..first.unwrap_or(bodies.len())];
        let cut = rules::cut(&bodies, usize::try_from(keep).unwrap_or(usize::MAX));
        let cut = if cut <= free.len() { cut } else { rules::cut(free, 0) };
        let Some(last) = cut.checked_sub(1).and_then(|at| history.messages.get(at)) else {
            return Ok(Some(Compaction { reason: Some("nothing_to_compact"), ..unchanged }));
        };
        let head = &bodies[..cut];
        let agent = self.agents.require(&key.agent())?;
        let model = session.settings.model.clone().or_else(|| self.models.model_of(&agent));
        let facts = self.facts_of(head, &agent, model.as_ref()).await;
        let facts_extracted = self.keep_facts(key, facts).await?;
        let summary = self.summary_of(head, &agent, model.as_ref(), options.instructions.as_deref()).await;

        let (key, now, id, up_to) = (key.clone(), self.clock.now(), self.ids.message(), last.seq);
        let automatic = options.automatic;
        let result = self
            .store
            .write::<_, CompactError, _>(move |tx| {
                let Some(mut session) = tx.sessions().get(&key)? else { return Err(CompactError::NoGain) };
                let before = (session.token_count, session.message_count);
                tx.messages_mut().replace_head((&key, &session.id), up_to, &id, now, &NewMessage::system(summary))?;
                session.last_compaction = Some(now);
                session.updated_at = now;
                recount(tx, &mut session)?;
                if session.token_count >= before.0 {
                    return Err(CompactError::NoGain);
                }
                if key.kind() != SessionKind::Ephemeral {
                    let event = Event::SessionCompacted {
                        session_key: key,
                        tokens_before: before.0,
                        tokens_after: session.token_count,
                        facts_extracted,
                        automatic,
                    };
                    tx.events_mut().append(now, &event)?;
                }
                Ok((session.token_count, session.message_count))
            })
            .await;
        match result {
            Ok((tokens_after, messages_after)) => {
                Ok(Some(Compaction { compacted: true, tokens_after, messages_after, facts_extracted, ..unchanged }))
            }
            Err(CompactError::NoGain) => Ok(Some(Compaction { reason: Some("no_gain"), facts_extracted, ..unchanged })),
            Err(CompactError::Store(error)) => Err(error.into()),
        }
    }

    /// What the present conversation of a session comes to; `None` when nothing was said in it. Changes nothing.
    pub(crate) async fn summary(&self, key: &SessionKey) -> Result<Option<String>, OpError> {
        let Some((history, _)) = self.whole(key).await? else { return Ok(None) };
        let bodies: Vec<NewMessage> = history.messages.into_iter().map(|message| message.body).collect();
        if bodies.is_empty() {
            return Ok(None);
        }
        let agent = self.agents.require(&key.agent())?;
        let model = history.session.settings.model.or_else(|| self.models.model_of(&agent));
        Ok(Some(self.summary_of(&bodies, &agent, model.as_ref(), None).await))
    }

    /// The transcript, with the runs that were unfinished at the same moment.
    pub(super) async fn whole(&self, key: &SessionKey) -> Result<Option<(History, Vec<RunId>)>, OpError> {
        let key = key.clone();
        self.store
            .read::<_, OpError, _>(move |snapshot| {
                let Some(session) = snapshot.sessions().get(&key)? else { return Ok(None) };
                let messages = snapshot.messages().page(&session.id, &MessagePage::default())?;
                let unfinished = snapshot.runs().unfinished_of(&key)?.into_iter().map(|run| run.id).collect();
                Ok(Some((History { session, messages }, unfinished)))
            })
            .await
    }

    async fn facts_of(&self, head: &[NewMessage], agent: &Agent, model: Option<&ModelRef>) -> Vec<String> {
        let answer = self.ask(agent, model, rules::fact_prompt(head)).await;
        answer.and_then(|text| rules::parse_facts(&text)).unwrap_or_else(|| rules::rule_facts(head))
    }

    async fn summary_of(
        &self,
        head: &[NewMessage],
        agent: &Agent,
        model: Option<&ModelRef>,
        guidance: Option<&str>,
    ) -> String {
        let answer = self.ask(agent, model, rules::summary_prompt(head, guidance)).await;
        match answer.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
            Some(text) => format!("{} of {} earlier messages]\n{text}", rules::SUMMARY_MARK, head.len()),
            None => rules::fallback_summary(head),
        }
    }

    /// One answer from the session's model; `None` when there is no model that can do it well.
    async fn ask(&self, agent: &Agent, model: Option<&ModelRef>, prompt: String) -> Option<String> {
        let model = model?;
        // The embedded demonstration model is too small for this; the rules do better.
        if self.models.registry().get(&model.provider)?.kind() == "local" {
            return None;
        }
        let candidates: Vec<ModelRef> = std::iter::once(model.clone()).chain(agent.fallbacks.iter().cloned()).collect();
        let make = |chosen: &ModelRef| ChatRequest {
            model: chosen.model.to_string(),
            messages: vec![NewMessage::user(prompt.clone())],
            thinking: Some(Thinking::Off),
            sampling: Sampling { max_output_tokens: Some(SUMMARY_TOKENS_MAX), ..Sampling::default() },
            ..ChatRequest::default()
        };
        let opened = self.models.router().open(&candidates, make, &CancellationToken::new()).await;
        let mut stream = match opened {
            Ok(opened) => opened.stream,
            Err(error) => {
                tracing::warn!(%error, "no model summarised the session; falling back to rules");
                return None;
            }
        };
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(Chunk::Text(delta)) => text.push_str(&delta),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the summary was cut off; falling back to rules");
                    return None;
                }
            }
        }
        Some(text)
    }

    /// Stores what is new; gives how many that were.
    async fn keep_facts(&self, key: &SessionKey, facts: Vec<String>) -> Result<u64, OpError> {
        if facts.is_empty() {
            return Ok(0);
        }
        let (agent, session, now) = (key.agent(), key.clone(), self.clock.now());
        let facts: Vec<Fact> = facts
            .into_iter()
            .map(|text| Fact {
                id: self.ids.message().as_str().replacen(model::MessageId::PREFIX, "fact_", 1),
                agent: agent.clone(),
                normalised: rules::normalise(&text),
                text,
                session: Some(session.clone()),
                source: String::from("compaction"),
                created_at: now,
            })
            .collect();
        self.store
            .write::<_, OpError, _>(move |tx| {
                let mut stored = 0;
                for fact in &facts {
                    stored += u64::from(tx.facts_mut().insert(fact)?);
                }
                Ok(stored)
            })
            .await
    }
}

enum CompactError {
    NoGain,
    Store(store::StoreError),
}

impl From<store::StoreError> for CompactError {
    fn from(error: store::StoreError) -> Self {
        CompactError::Store(error)
    }
}
