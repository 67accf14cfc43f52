//! Speakers and watchers beside each other, and the count at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::check;
use crate::clients::{self, Client, Said, Weather};
use crate::dice::Dice;
use crate::rig::{NODES, Rig, soon};
use crate::upstream::Manner;

/// What is said.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Speakers, each with a session of its own.
    pub sessions: usize,
    /// Of each speaker; without it they speak until the end, as [`Load::go_on_for`] allows.
    pub messages: Option<usize>,
    pub manners: &'static [Manner],
    pub weather: Weather,
}

/// What endless speakers may say while a test is busy with something else; more would only be a queue
/// that has to be waited for.
const SPARE: usize = 60;

/// How far the speakers have come.
#[derive(Default)]
struct Pace {
    heard: AtomicUsize,
    is_over: AtomicBool,
}

pub struct Load {
    speakers: Vec<JoinHandle<Vec<Said>>>,
    watchers: Vec<JoinHandle<Vec<u64>>>,
    pace: Arc<Pace>,
    allowed: watch::Sender<usize>,
    goal: watch::Sender<u64>,
}

impl Load {
    pub fn start(rig: &Rig, plan: Plan, dice: &mut Dice) -> Load {
        let ports: Vec<u16> = rig.nodes.iter().map(|node| node.clients.port()).collect();
        let (goal, to_go) = watch::channel(0);
        let (allowed, may_go_on) = watch::channel(SPARE);
        let pace = Arc::<Pace>::default();
        let watchers = (0..NODES)
            .map(|at| tokio::spawn(clients::watch(Client::new(ports.clone(), at, Weather::Foul), to_go.clone())));
        let watchers = watchers.collect();
        let speakers = (0..plan.sessions).map(|session| {
            let (client, dice) = (Client::new(ports.clone(), session, plan.weather), dice.split());
            tokio::spawn(speak(client, session, plan, dice, Arc::clone(&pace), may_go_on.clone()))
        });
        Load { speakers: speakers.collect(), watchers, pace, allowed, goal }
    }

    /// Messages that were accepted so far.
    pub fn heard(&self) -> usize {
        self.pace.heard.load(Ordering::SeqCst)
    }

    /// Waits until so many more messages were accepted.
    pub async fn go_on_for(&self, rig: &Rig, messages: usize) {
        let goal = self.heard() + messages;
        self.allowed.send_replace(goal + SPARE);
        rig.wait_until("messages are accepted", || self.heard() >= goal).await;
    }

    /// Lets everything come to its end, and counts. Gives how many messages there were.
    pub async fn end(self, rig: &mut Rig) -> usize {
        self.pace.is_over.store(true, Ordering::SeqCst);
        self.allowed.send_replace(usize::MAX);
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
        check::all(rig, &said, &watched);
        rig.is_tidy().await;
        said.len()
    }
}

async fn speak(
    mut client: Client,
    session: usize,
    plan: Plan,
    mut dice: Dice,
    pace: Arc<Pace>,
    mut may_go_on: watch::Receiver<usize>,
) -> Vec<Said> {
    let mut said = Vec::new();
    while plan.messages.map_or_else(|| !pace.is_over.load(Ordering::SeqCst), |messages| said.len() < messages) {
        if plan.messages.is_none() {
            let heard = || pace.heard.load(Ordering::SeqCst);
            let _ = may_go_on.wait_for(|allowed| heard() < *allowed).await;
        }
        let manner = plan.manners[dice.roll(plan.manners.len())];
        let text = format!("message {} of {session}, please {}", said.len(), manner.word());
        let key = format!("agent:main:dm:user{session}");
        said.push(clients::say(&mut client, &key, &text, plan.weather).await);
        pace.heard.fetch_add(1, Ordering::SeqCst);
    }
    said
}
