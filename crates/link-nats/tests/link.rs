//! The link over a real NATS server.

use std::sync::Arc;

use async_trait::async_trait;
use events::testkit::{self, Wire};
use events::{Link, LinkError};
use link_nats::{Address, NatsLink};
use testservers::{Nats, NatsOptions};

struct Server(Nats);

impl Server {
    fn start(jetstream: bool) -> Self {
        Self(Nats::start(NatsOptions { jetstream }))
    }

    fn link_to(&self, part: &str) -> Arc<NatsLink> {
        NatsLink::new(Address::parse(&format!("{}{part}", self.0.url())).expect("a legal address"))
    }
}

#[async_trait]
impl Wire for Server {
    async fn link(&self) -> Arc<dyn Link> {
        self.link_to("")
    }

    async fn restart(&self) {
        self.0.kill();
        self.0.start_again();
    }
}

#[tokio::test]
async fn messages_reach_all_others_in_order() {
    testkit::messages_reach_all_others_in_order(&Server::start(true)).await;
}

#[tokio::test]
async fn the_largest_message_arrives_whole() {
    testkit::the_largest_message_arrives_whole(&Server::start(false)).await;
}

#[tokio::test]
async fn a_restart_of_the_server_is_a_gap_and_no_end() {
    testkit::a_restart_of_the_server_is_a_gap_and_no_end(&Server::start(true)).await;
}

#[tokio::test]
async fn a_closed_link_sends_nothing() {
    testkit::a_closed_link_sends_nothing(&Server::start(false)).await;
}

fn reason(refused: Result<impl Sized, LinkError>) -> String {
    match refused {
        Err(LinkError::Refused(reason)) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the bus is another cluster's"),
    }
}

#[tokio::test]
async fn a_bus_of_another_cluster_is_refused_also_when_nobody_of_it_is_there() {
    let server = Server::start(true);
    let first = server.link_to("");
    first.open("mine").await.unwrap();
    first.close().await;
    let refused = reason(server.link_to("").open("other").await);
    for word in ["the cluster mine", "the cluster other", "store.url", "/blue", "stream `patchbay`"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    server.link_to("").open("mine").await.unwrap();
    // Another part of the same server is free.
    server.link_to("/blue").open("other").await.unwrap();
}

#[tokio::test]
async fn without_jetstream_the_nodes_that_live_say_whose_bus_it_is() {
    let server = Server::start(false);
    let first = server.link_to("");
    first.open("mine").await.unwrap();
    assert!(reason(server.link_to("").open("other").await).contains("the cluster mine"));
    server.link_to("").open("mine").await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_found_later() {
    let server = Server::start(true);
    server.0.kill();
    let link = server.link_to("");
    link.open("mine").await.unwrap();
    assert!(!link.is_up());
    assert!(matches!(link.send("x".into()).await, Err(LinkError::Unavailable(_))));
    server.0.start_again();
    let up = async {
        while !link.is_up() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), up).await.expect("the link comes up by itself");
}
