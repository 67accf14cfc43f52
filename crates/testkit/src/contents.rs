//! Everything a database holds, for tests that nothing was changed.

use model::{Cursor, Message, Run, Session};
use store::{MessagePage, SessionFilter, Store, StoreError, TokenRecord};

/// Two equal values mean that nothing a caller could notice happened in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    pub cursor: Cursor,
    /// With their messages and newest runs.
    pub sessions: Vec<(Session, Vec<Message>, Vec<Run>)>,
    pub unfinished: Vec<Run>,
    pub tokens: Vec<TokenRecord>,
}

impl Contents {
    pub async fn of(store: &dyn Store) -> Result<Self, StoreError> {
        store
            .read(|snapshot| {
                let mut sessions = Vec::new();
                for session in snapshot.sessions().list(&SessionFilter::default())?.sessions {
                    let messages = snapshot.messages().page(&session.id, &MessagePage::default())?;
                    let runs = snapshot.runs().recent_of(&session.key, 1000)?;
                    sessions.push((session, messages, runs));
                }
                Ok(Self {
                    cursor: snapshot.events().bounds()?.newest,
                    sessions,
                    unfinished: snapshot.runs().unfinished()?,
                    tokens: snapshot.tokens().list()?,
                })
            })
            .await
    }
}
