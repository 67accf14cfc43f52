//! Sessions: keys of every spelling, paths, and what is left of a transcript that was shortened.

use providers::testkit::Scripted;
use serde_json::{Value, json};
use server::settings::DialectName;
use testkit::WsClient;

use crate::rig::{Client, gateway};

#[tokio::test]
async fn a_session_is_told_by_the_key_that_the_client_wrote() {
    let gateway = gateway().await;
    let mut client = Client::operator(&gateway).await;
    for (n, key) in
        [String::from("my session"), String::from("a:b c"), "x".repeat(200), "y".repeat(512)].iter().enumerate()
    {
        let (run, answer) = (format!("r-{n}"), format!("answer {n}"));
        gateway.provider.push(Scripted::text(&answer));
        let params = json!({ "sessionKey": key, "message": "hello", "idempotencyKey": run });
        client.call("chat.send", params).await.unwrap();
        assert_eq!(client.chat_end(&run).await.0["sessionKey"], *key);
        let history = client.call("chat.history", json!({ "sessionKey": key })).await.unwrap();
        assert_eq!((&history["sessionKey"], history["messages"].as_array().unwrap().len()), (&json!(key), 2), "{key}");
        // The canonical key is understood as well.
        let listed = client.call("sessions.list", json!({ "limit": 1, "agentId": "main" })).await.unwrap();
        let canonical = &listed["sessions"][0]["key"];
        if n < 3 {
            assert_eq!(*canonical, format!("agent:main:{key}"));
        }
        let described = client.call("sessions.describe", json!({ "key": canonical })).await.unwrap();
        assert_eq!(described["session"]["sessionId"], history["sessionId"], "{key}");
        gateway.idle().await;
        gateway.clock().advance_ms(1000);
    }
    for key in [" ".to_owned(), "x".repeat(513)] {
        let error = client.call("chat.send", json!({ "sessionKey": key, "message": "x" })).await.unwrap_err();
        assert_eq!(error["details"]["code"], "INVALID_PARAMS");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_compacting_removes_is_kept_in_a_file() {
    let gateway = gateway().await;
    for answer in ["one", "two"] {
        gateway.provider.push(Scripted::text(answer));
    }
    let mut client = Client::operator(&gateway).await;
    for run in ["r-1", "r-2"] {
        client.call("chat.send", json!({ "message": run, "idempotencyKey": run })).await.unwrap();
        client.chat_end(run).await;
        gateway.idle().await;
    }
    let compacted = client.call("sessions.compact", json!({ "key": "main", "maxLines": 2 })).await.unwrap();
    assert_eq!((&compacted["compacted"], &compacted["kept"]), (&json!(true), &json!(2)));
    let file = std::fs::read_to_string(compacted["archived"].as_str().unwrap()).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["key"], "agent:main:main");
    let texts: Vec<&str> = lines[1..].iter().map(|line| line["content"].as_str().unwrap()).collect();
    assert_eq!(texts, ["r-1", "one", "r-2", "two"]);
    // Nothing removed, nothing kept.
    let again = client.call("sessions.compact", json!({ "key": "main", "maxLines": 2 })).await.unwrap();
    assert_eq!(again["archived"], Value::Null);
    let folder = std::path::Path::new(compacted["archived"].as_str().unwrap()).parent().unwrap().to_owned();
    assert!(folder.starts_with(gateway.folder().join("backups")), "{folder:?}");
    let copies = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    assert_eq!(copies(), 1);
    // Only the newest copies are kept, and they go with the session.
    for round in 0..7 {
        gateway.provider.push(Scripted::text("more"));
        let run = format!("m-{round}");
        client.call("chat.send", json!({ "message": "x", "idempotencyKey": run })).await.unwrap();
        client.chat_end(&run).await;
        gateway.idle().await;
        let compacted = client.call("sessions.compact", json!({ "key": "main", "maxLines": 1 })).await.unwrap();
        assert!(std::path::Path::new(compacted["archived"].as_str().unwrap()).is_file());
    }
    assert_eq!(copies(), 5);
    gateway.services.runs.delete_session(&model::SessionKey::parse("agent:main:main").unwrap()).await.unwrap();
    assert_eq!(copies(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn an_upgrade_is_answered_on_any_path() {
    let gateway = gateway().await;
    let address = gateway.address(DialectName::Argent);
    for path in ["/", "/ws", "/any/path", "/any/path?x=1"] {
        let mut socket = WsClient::open(&format!("ws://{address}{path}")).await;
        assert_eq!(socket.json().await["event"], "connect.challenge", "{path}");
    }
    // What is served over HTTP stays what it is, and the rest of it is not there.
    for (path, status) in [("/health", 200), ("/any/path", 404)] {
        let response = gateway.http().get(format!("http://{address}{path}")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    let refused = WsClient::try_open(&format!("ws://{address}/health"), &[]).await;
    assert!(refused.is_err());
    gateway.stop().await;
}
