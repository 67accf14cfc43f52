//! Links that are slow, lose messages, and break.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use events::{Heard, Link, LinkError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dice::Dice;

/// Messages under way to one node; more are lost, like others.
const WAITING_MAX: usize = 4096;

#[derive(Clone)]
pub struct Air {
    dice: Dice,
    nodes: Arc<Mutex<BTreeMap<usize, End>>>,
}

struct End {
    sender: mpsc::Sender<(Instant, Heard)>,
    /// Nothing overtakes.
    last: Instant,
    is_cut: bool,
}

impl Air {
    pub fn new(dice: Dice) -> Self {
        Self { dice, nodes: Arc::default() }
    }

    pub fn link(&self, node: usize) -> Arc<dyn Link> {
        Arc::new(Way { air: self.clone(), node })
    }

    pub fn cut(&self, node: usize, is_cut: bool) {
        if let Some(end) = self.lock().get_mut(&node) {
            end.is_cut = is_cut;
            if !is_cut {
                let _ = end.sender.try_send((end.last, Heard::Gap));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, End>> {
        self.nodes.lock().expect("not poisoned")
    }
}

struct Way {
    air: Air,
    node: usize,
}

#[async_trait]
impl Link for Way {
    async fn send(&self, message: Bytes) -> Result<(), LinkError> {
        let mut nodes = self.air.lock();
        if nodes.get(&self.node).is_none_or(|end| end.is_cut) {
            return Err(LinkError::Unavailable(String::from("the schedule cut it")));
        }
        for (_, end) in nodes.iter_mut().filter(|(node, end)| **node != self.node && !end.is_cut) {
            if self.air.dice.chance(5) {
                continue;
            }
            end.last = end.last.max(Instant::now() + self.air.dice.ms(0, 12));
            let _ = end.sender.try_send((end.last, Heard::Message(message.clone())));
        }
        Ok(())
    }

    async fn open(&self, _: &str) -> Result<mpsc::Receiver<Heard>, LinkError> {
        let (sender, mut waiting) = mpsc::channel(WAITING_MAX);
        let (heard, receiver) = mpsc::channel(256);
        self.air.lock().insert(self.node, End { sender, last: Instant::now(), is_cut: false });
        tokio::spawn(async move {
            while let Some((at, message)) = waiting.recv().await {
                tokio::time::sleep_until(at).await;
                if heard.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    fn message_max(&self) -> usize {
        7900
    }

    fn is_up(&self) -> bool {
        self.air.lock().get(&self.node).is_some_and(|end| !end.is_cut)
    }

    async fn close(&self) {}

    fn describe(&self) -> String {
        String::from("air")
    }
}
