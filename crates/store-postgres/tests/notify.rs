//! The link between nodes over the database's own notifications.

use std::sync::Arc;

use async_trait::async_trait;
use events::Link;
use events::testkit::{self, Wire};
use store_postgres::NotifyLink;
use testservers::{Postgres, PostgresOptions};

struct Server(Postgres);

impl Server {
    fn start() -> Self {
        Self(Postgres::start(PostgresOptions::default()))
    }
}

#[async_trait]
impl Wire for Server {
    async fn link(&self) -> Arc<dyn Link> {
        NotifyLink::new(&self.0.url()).expect("a legal address")
    }

    async fn restart(&self) {
        self.0.stop();
        self.0.start_again();
    }
}

#[tokio::test]
async fn messages_reach_all_others_in_order() {
    testkit::messages_reach_all_others_in_order(&Server::start()).await;
}

#[tokio::test]
async fn the_largest_message_arrives_whole() {
    testkit::the_largest_message_arrives_whole(&Server::start()).await;
}

#[tokio::test]
async fn a_restart_of_the_server_is_a_gap_and_no_end() {
    testkit::a_restart_of_the_server_is_a_gap_and_no_end(&Server::start()).await;
}

#[tokio::test]
async fn a_closed_link_sends_nothing() {
    testkit::a_closed_link_sends_nothing(&Server::start()).await;
}
