//! Copying a conversation, so that it can go on in two ways.

use model::{MessageId, NewMessage, OpError, Session, SessionKey, SessionSettings};
use store::{MessagePage, SessionFilter};

use super::{Sessions, open_session, recount};

/// What marks the keys of copies: `agent:<agent>:fork:<id>`.
const MARK: &str = "fork";

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    pub key: SessionKey,
    pub messages: u64,
}

impl Sessions {
    /// Copies the first `keep` messages of a session, or all of them, into a new session with the same
    /// choice of model and reasoning. Messages whose runs are not over stay behind, and a tool call is
    /// not parted from its result. `None` when there is no such session.
    pub async fn fork(&self, from: &SessionKey, keep: Option<u64>) -> Result<Option<Fork>, OpError> {
        let Some((history, unfinished)) = self.whole(from).await? else { return Ok(None) };
        let is_open = |message: &model::Message| message.run_id.as_ref().is_some_and(|run| unfinished.contains(run));
        let settled = history.messages.iter().position(is_open).unwrap_or(history.messages.len());
        let bodies: Vec<NewMessage> = history.messages[..settled].iter().map(|message| message.body.clone()).collect();
        let keep = keep.map_or(settled, |keep| usize::try_from(keep).unwrap_or(usize::MAX));
        let cut = agent::compaction::cut(&bodies, settled.saturating_sub(keep));
        let copies: Vec<(MessageId, model::Message)> =
            history.messages.into_iter().take(cut).map(|message| (self.ids.message(), message)).collect();

        let id = self.ids.session();
        let name = id.as_str().trim_start_matches(model::SessionId::PREFIX);
        let key = SessionKey::of_agent(&from.agent(), &format!("{MARK}:{name}")).map_err(OpError::internal)?;
        let settings = SessionSettings {
            label: None,
            spawned_by: None,
            forked_from: Some(from.clone()),
            ..history.session.settings
        };
        let (new, now) = (key.clone(), self.clock.now());
        let messages = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let mut session = open_session(tx, &new, id, now)?;
                session.settings = settings;
                for (id, message) in &copies {
                    tx.messages_mut().append((&new, &session.id), id, None, message.created_at, &message.body)?;
                }
                recount(tx, &mut session)?;
                Ok(session.message_count)
            })
            .await?;
        Ok(Some(Fork { key, messages }))
    }

    /// The copies that were made of a session, newest first.
    pub async fn forks_of(&self, from: &SessionKey) -> Result<Vec<Session>, OpError> {
        let filter = SessionFilter {
            agent: Some(from.agent()),
            key_contains: Some(format!(":{MARK}:")),
            ..SessionFilter::default()
        };
        let page = self.list(filter).await?;
        Ok(page.sessions.into_iter().filter(|session| session.settings.forked_from.as_ref() == Some(from)).collect())
    }

    /// All messages of the present transcript of a session; empty when there is none.
    pub async fn transcript(&self, key: &SessionKey) -> Result<Vec<model::Message>, OpError> {
        let history = self.history(key, MessagePage::default()).await?;
        Ok(history.map(|history| history.messages).unwrap_or_default())
    }
}
