//! What every kind of link is held to.
//!
//! The contracts panic when a link breaks one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Heard, Link};

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that links go over.
#[async_trait]
pub trait Wire: Send + Sync {
    /// A link of one more node that has not been opened.
    async fn link(&self) -> Arc<dyn Link>;
    /// Ends the server, and starts it again.
    async fn restart(&self);
}

struct Node {
    link: Arc<dyn Link>,
    heard: mpsc::Receiver<Heard>,
}

impl Node {
    async fn open(wire: &dyn Wire) -> Self {
        let link = wire.link().await;
        let heard = link.open("cluster-1").await.expect("the link opens");
        let node = Self { link, heard };
        node.up().await;
        node
    }

    async fn up(&self) {
        soon("the link to be up", async {
            while !self.link.is_up() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The next message; gaps are passed over.
    async fn message(&mut self) -> Bytes {
        loop {
            match soon("a message", self.heard.recv()).await.expect("the link lives") {
                Heard::Message(message) => return message,
                Heard::Gap => {}
            }
        }
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing came"))
}

fn numbered(from: &str, number: u64) -> Bytes {
    format!("{from} {number}").into()
}

/// What a node sends is heard by all others, in its order, as it was sent.
pub async fn messages_reach_all_others_in_order(wire: &dyn Wire) {
    let (one, mut two, mut three) = (Node::open(wire).await, Node::open(wire).await, Node::open(wire).await);
    for number in 0..500 {
        one.link.send(numbered("one", number)).await.expect("it is up");
    }
    for node in [&mut two, &mut three] {
        for number in 0..500 {
            assert_eq!(node.message().await, numbered("one", number));
        }
    }
}

/// The largest message that a link says it takes, with bytes that a text protocol might trip over.
pub async fn the_largest_message_arrives_whole(wire: &dyn Wire) {
    let (one, mut two) = (Node::open(wire).await, Node::open(wire).await);
    let odd = "'\"\\\u{1}é🦀$1\r\n";
    let mut text = odd.repeat(one.link.message_max() / odd.len());
    text.push_str(&"x".repeat(one.link.message_max() - text.len()));
    one.link.send(text.clone().into()).await.expect("it fits");
    assert!(two.message().await == text.as_bytes());
}

/// After the server was away messages go again by themselves, and everybody has heard of the gap.
pub async fn a_restart_of_the_server_is_a_gap_and_no_end(wire: &dyn Wire) {
    let (one, mut two) = (Node::open(wire).await, Node::open(wire).await);
    one.link.send(numbered("before", 1)).await.expect("it is up");
    assert_eq!(two.message().await, numbered("before", 1));
    while two.heard.try_recv().is_ok() {}
    wire.restart().await;
    soon("the gap", async { while two.heard.recv().await.expect("the link lives") != Heard::Gap {} }).await;
    // Nobody knows when the other one is back: what matters is that it hears again.
    let mut number = 0;
    soon("a message behind the gap", async {
        loop {
            number += 1;
            let _ = one.link.send(numbered("after", number)).await;
            match tokio::time::timeout(Duration::from_millis(20), two.heard.recv()).await {
                Ok(Some(Heard::Message(message))) if message.starts_with(b"after") => return,
                _ => {}
            }
        }
    })
    .await;
}

/// A closed link sends nothing and says so.
pub async fn a_closed_link_sends_nothing(wire: &dyn Wire) {
    let (one, mut two) = (Node::open(wire).await, Node::open(wire).await);
    one.link.send(numbered("goodbye", 1)).await.expect("it is up");
    one.link.close().await;
    assert_eq!(two.message().await, numbered("goodbye", 1), "what was said before is heard");
    assert!(one.link.send(numbered("late", 1)).await.is_err() && !one.link.is_up());
}
