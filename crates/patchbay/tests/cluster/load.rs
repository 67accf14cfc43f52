//! Speakers and watchers beside each other, and the count at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::check::{self, Ends};
use crate::clients::{self, Client, Said, Weather};
use crate::dice::Dice;
use crate::rig::{NODES, Rig, soon};
use crate::upstream::Manner;

/// What is said.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Speakers, each with a session of its own.
    pub sessions: usize,
    /// Of each speaker; without it they speak until the end.
    pub messages: Option<usize>,
    pub manners: &'static [Manner],
    pub weather: Weather,
}

pub struct Load {
    speakers: Vec<JoinHandle<Vec<Said>>>,
    watchers: Vec<JoinHandle<Vec<u64>>>,
    heard: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    goal: watch::Sender<u64>,
}

impl Load {
    pub fn start(rig: &Rig, plan: Plan, dice: &mut Dice) -> Load {
        let ports: Vec<u16> = rig.nodes.iter().map(|node| node.clients.port()).collect();
        let (goal, to_go) = watch::channel(0);
        let (heard, is_over): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
        let watchers = (0..NODES).map(|at| tokio::spawn(clients::watch(Client::new(ports.clone(), at), to_go.clone())));
        let watchers = watchers.collect();
        let speakers = (0..plan.sessions).map(|session| {
            let (client, dice) = (Client::new(ports.clone(), session), dice.split());
            tokio::spawn(speak(client, session, plan, dice, Arc::clone(&heard), Arc::clone(&is_over)))
        });
        Load { speakers: speakers.collect(), watchers, heard, is_over, goal }
    }

    /// Messages that were accepted so far.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }

    /// Waits until so many more messages were accepted.
    pub async fn go_on_for(&self, rig: &Rig, messages: usize) {
        let goal = self.heard() + messages;
        rig.wait_until("messages are accepted", || self.heard() >= goal).await;
    }

    /// Lets everything come to its end, and counts. Gives how many messages there were.
    pub async fn end(self, rig: &mut Rig, ends: Ends) -> usize {
        self.is_over.store(true, Ordering::SeqCst);
        rig.upstream.release();
        let mut said = Vec::new();
        for speaker in self.speakers {
            said.extend(soon("the last answer to a speaker", speaker).await.expect("a speaker has no complaint"));
        }
        rig.settle().await;
        let last = rig.sql("SELECT max(cursor) FROM events WHERE body LIKE '%\"kind\":\"run_ended\"%'");
        self.goal.send_replace(last.parse().expect("there were runs"));
        let mut watched = Vec::new();
        for watcher in self.watchers {
            watched.push(soon("the end of the log", watcher).await.expect("a watcher has no complaint"));
        }
        check::all(rig, ends, &said, &watched);
        said.len()
    }
}

async fn speak(
    mut client: Client,
    session: usize,
    plan: Plan,
    mut dice: Dice,
    heard: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
) -> Vec<Said> {
    let mut said = Vec::new();
    while plan.messages.map_or_else(|| !is_over.load(Ordering::SeqCst), |messages| said.len() < messages) {
        let manner = plan.manners[dice.roll(plan.manners.len())];
        let text = format!("message {} of {session}, please {}", said.len(), manner.word());
        let key = format!("agent:main:dm:user{session}");
        said.push(clients::say(&mut client, &key, &text, plan.weather).await);
        heard.fetch_add(1, Ordering::SeqCst);
    }
    said
}
