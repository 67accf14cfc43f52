//! A wire that is cut at any point, and a client that comes back.

use proptest::prelude::*;
use proptest::test_runner::Config;
use providers::testkit::Scripted;
use serde_json::{Value, json};
use testkit::{CuttingProxy, Incoming, TestGateway, WsClient};

use crate::rig::gateway;

/// Topics of the durable events of a log, by cursor, as an operator who subscribed to all sees them.
type Seen = Vec<(u64, Vec<String>)>;

/// Reads until the connection is lost or the end has been seen; gives whether it was.
async fn read_on(client: &mut WsClient, seen: &mut Seen, end: &str) -> bool {
    let mut parts: Vec<String> = Vec::new();
    loop {
        let Incoming::Text(text) = client.recv().await else { return false };
        let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
        let params = &frame["params"];
        let topic = params["topic"].as_str().unwrap_or_default().to_owned();
        if params.get("part_of").is_some() {
            parts.push(topic);
        } else if let Some(cursor) = params.get("cursor").and_then(Value::as_u64) {
            parts.push(topic);
            seen.push((cursor, std::mem::take(&mut parts)));
            if params["data"]["run_id"] == end
                && seen.last().is_some_and(|(_, topics)| topics.iter().any(|topic| topic == "agent.completed"))
            {
                return true;
            }
        }
    }
}

async fn connect(url: &str, gateway: &TestGateway, after: u64) -> Option<WsClient> {
    // The cut may come during the upgrade.
    let mut client = WsClient::attempt(url).await?;
    client
        .send_json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "connect", "params": { "token": gateway.admin() } }))
        .await;
    client.send_json(&json!({ "jsonrpc": "2.0", "id": 2, "method": "events.subscribe", "params": { "patterns": ["**"], "after": after } })).await;
    Some(client)
}

async fn each_event_once(cuts: Vec<u64>, turns: usize) -> Result<(), TestCaseError> {
    let gateway = gateway().await;
    let proxy = CuttingProxy::before(gateway.address(server::settings::DialectName::Aleph)).await;
    let url = format!("ws://{}/", proxy.address);
    for turn in 0..turns {
        gateway.provider.push(Scripted::tool_calls([("c1", "current_time", json!({}))]));
        gateway.provider.push(Scripted::text(format!("answer number {turn}")));
    }
    let talk = async {
        let mut last = None;
        for turn in 0..turns {
            let run = gateway.say(&format!("agent:main:s{}", turn % 2), "go").await;
            if turn % 3 == 0 {
                gateway.ended(&run).await;
            }
            last = Some(run);
        }
        gateway.idle().await;
        last
    };
    // The end is a run of its own, so that the reader knows when it has seen everything.
    let listen = async {
        let (mut seen, mut cuts): (Seen, _) = (Vec::new(), cuts.into_iter());
        loop {
            proxy.cut_after(cuts.next().unwrap_or(u64::MAX));
            let after = seen.last().map_or(0, |(cursor, _)| *cursor);
            if let Some(mut client) = connect(&url, &gateway, after).await
                && read_on(&mut client, &mut seen, "the-end").await
            {
                return seen;
            }
        }
    };
    let finish = async {
        talk.await;
        let mut end = services::runs::NewRun::new(model::SessionKey::trusted("agent:main:end"), "end", "test");
        end.id = Some(model::RunId::trusted("the-end"));
        drop(gateway.accept(end).await.expect("the last message is accepted"));
    };
    let (seen, ()) = tokio::join!(listen, finish);
    let logged: Vec<u64> = gateway.events().await.iter().map(|stored| stored.cursor.0).collect();
    let cursors: Vec<u64> = seen.iter().map(|(cursor, _)| *cursor).collect();
    prop_assert_eq!(cursors, logged);
    let ends = seen.iter().filter(|(_, topics)| topics == &["stream.end", "agent.completed"]).count();
    prop_assert_eq!(ends, turns + 1);
    gateway.stop().await;
    Ok(())
}

proptest! {
    // Each case is a gateway with real sockets.
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn a_client_that_comes_back_sees_each_durable_event_once(
        cuts in prop::collection::vec(100_u64..6000, 1..8),
        turns in 1_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(each_event_once(cuts, turns))?;
    }
}
