//! Following one run.

use std::sync::Arc;

use model::{Envelope, Event};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// What a follower of one run gets.
#[derive(Debug, Clone)]
pub enum FollowItem {
    Event(Arc<Envelope>),
    /// Events were missed. The next delta carries the whole text so far; when the run is over by
    /// then, ask for the run itself.
    Missed(u64),
    /// The run is over, or the gateway is stopping.
    Over,
}

/// The events of one run in emission order, from the moment it was followed.
pub struct RunFollower {
    receiver: broadcast::Receiver<Arc<Envelope>>,
    over: bool,
}

impl RunFollower {
    pub(crate) fn new(receiver: broadcast::Receiver<Arc<Envelope>>) -> Self {
        Self { receiver, over: false }
    }

    /// Cancel safe. After `Over` it stays over.
    pub async fn next(&mut self) -> FollowItem {
        if self.over {
            return FollowItem::Over;
        }
        let received = self.receiver.recv().await;
        self.item(received)
    }

    /// What is there already; `None` when nothing is.
    pub fn try_next(&mut self) -> Option<FollowItem> {
        if self.over {
            return Some(FollowItem::Over);
        }
        let received = match self.receiver.try_recv() {
            Ok(envelope) => Ok(envelope),
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
            Err(TryRecvError::Closed) => Err(RecvError::Closed),
        };
        Some(self.item(received))
    }

    fn item(&mut self, received: Result<Arc<Envelope>, RecvError>) -> FollowItem {
        match received {
            Ok(envelope) => {
                self.over = matches!(envelope.event, Event::RunEnded { .. });
                FollowItem::Event(envelope)
            }
            Err(RecvError::Lagged(missed)) => FollowItem::Missed(missed),
            Err(RecvError::Closed) => {
                self.over = true;
                FollowItem::Over
            }
        }
    }
}
