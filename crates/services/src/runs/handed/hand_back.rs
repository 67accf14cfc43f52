//! The end of a turn whose client has calls to run.

use std::sync::Arc;

use model::{OpError, SessionKind, ToolCall};

use super::Turn;
use crate::runs::Runs;
use crate::runs::live::LiveRun;

impl Runs {
    /// Names calls for the client by ids that no other turn has, and keeps the run's steps for its
    /// return. Calls of a session that lasts stay as they are: they are in its transcript.
    pub(crate) async fn hand_back(&self, live: &Arc<LiveRun>, calls: Vec<ToolCall>) -> Vec<ToolCall> {
        if live.key.kind() != SessionKind::Ephemeral {
            return calls;
        }
        let shown: Vec<ToolCall> = calls
            .iter()
            .map(|call| ToolCall { id: self.ids.tool_call().as_str().to_owned(), ..call.clone() })
            .collect();
        let run = live.run();
        let (id, question) = (run.id.clone(), run.message_id.clone());
        let read = self
            .store
            .read::<_, OpError, _>(move |snapshot| {
                let written = snapshot.messages().of_run(&id)?.into_iter();
                Ok(written.filter(|message| message.id != question).map(|message| message.body).collect::<Vec<_>>())
            })
            .await;
        let kept = match read {
            Ok(steps) => {
                let ids = shown.iter().zip(calls).map(|(shown, own)| (shown.id.clone(), own.id)).collect();
                self.keep_handed(run.started_by, Turn { agent: run.agent_id, ids, steps }).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "the steps of a turn that a client goes on with are not kept");
        }
        shown
    }
}
