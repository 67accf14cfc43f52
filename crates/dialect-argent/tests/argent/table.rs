//! A walk over the table: nothing is served to those who may not, and the refusals change nothing.

use boon::{Compiler, Draft, Schemas};
use model::Scope;
use serde_json::{Value, json};
use testkit::TestGateway;

use crate::rig::{Client, Instance, Settings, hello, warmed};

/// Parameters that would do something if they were let through.
fn tempting(method: &str) -> Value {
    json!({
        "sessionKey": "main", "key": "main", "message": "hello", "idempotencyKey": format!("walk-{method}"), "runId": "r",
        "keys": ["main"], "requestId": "q", "deviceId": "d", "role": "operator", "maxLines": 1,
    })
}

async fn walked() -> (TestGateway, Instance) {
    let instance = Instance::default();
    let gateway = warmed(Settings::default().builder_with(&instance).start().await).await;
    gateway
        .given_session("agent:main:main", [model::NewMessage::user("kept"), model::NewMessage::user("kept too")])
        .await;
    (gateway, instance)
}

fn methods(instance: &Instance) -> Vec<(&'static str, Option<Scope>)> {
    let argent = instance.read().unwrap().clone().unwrap();
    argent.table().iter().map(|method| (method.name, method.scope)).collect()
}

#[tokio::test]
async fn no_method_is_served_before_the_handshake() {
    let (gateway, instance) = walked().await;
    let before = gateway.contents().await;
    for (method, _) in methods(&instance) {
        let mut client = Client::open(&gateway, &[]).await;
        let error = client.call(method, tempting(method)).await.expect_err(method);
        assert_eq!(error["message"], "invalid handshake: first request must be connect", "{method}");
        assert_eq!(client.ws.closed().await, 1008, "{method}");
    }
    assert_eq!(gateway.contents().await, before);
    gateway.stop().await;
}

#[tokio::test]
async fn no_method_is_served_without_its_scope() {
    let (gateway, instance) = walked().await;
    let before = gateway.contents().await;
    for (method, scope) in methods(&instance) {
        let Some(scope) = scope else { continue };
        // Everything but the scope; a scope that includes it counts as it.
        let others = [Scope::Read, Scope::Write, Scope::Admin, Scope::Approvals, Scope::Pairing];
        let others: Vec<Scope> = others.into_iter().filter(|other| *other != scope).collect();
        let mut client = Client::with(&gateway, &others).await;
        let error = client.call(method, tempting(method)).await.expect_err(method);
        let word = format!("operator.{}", scope.as_str());
        assert_eq!(error["message"], format!("missing scope: {word}"), "{method}");
        assert_eq!(
            error["details"],
            json!({ "code": "MISSING_SCOPE", "missingScope": word, "requiredScopes": [word], "rpcCode": -32002 }),
            "{method}"
        );
        client.ws.close().await;
    }
    assert_eq!(gateway.contents().await, before);
    gateway.stop().await;
}

#[tokio::test]
async fn nodes_reach_nothing_but_health() {
    let (gateway, instance) = walked().await;
    let before = gateway.contents().await;
    for (method, _) in methods(&instance) {
        let mut params = hello(gateway.admin());
        params["role"] = json!("node");
        let mut node = Client::connect(&gateway, params).await;
        match node.call(method, tempting(method)).await {
            Ok(_) => assert_eq!(method, "health"),
            Err(error) => assert_eq!(error["message"], "unauthorized role: node", "{method}"),
        }
        node.ws.close().await;
    }
    assert_eq!(gateway.contents().await, before);
    gateway.stop().await;
}

#[tokio::test]
async fn hello_lists_what_is_served() {
    let (gateway, instance) = walked().await;
    let client = Client::operator(&gateway).await;
    let listed: Vec<&str> =
        client.hello["features"]["methods"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let served: Vec<&str> =
        std::iter::once("connect").chain(methods(&instance).into_iter().map(|(name, _)| name)).collect();
    assert_eq!(listed, served);
    gateway.stop().await;
}

#[test]
fn the_contract_describes_every_method() {
    let document = dialect_argent::openrpc("1.2.3");
    let methods = document["methods"].as_array().unwrap();
    let names: Vec<&str> = methods.iter().filter_map(|method| method["name"].as_str()).collect();
    let table = dialect_argent::table::table();
    assert_eq!(names.len(), table.len() + 1);
    for method in methods {
        assert!(
            method["description"].as_str().is_some_and(|text| text.len() > 10),
            "{} lacks a description",
            method["name"]
        );
    }
    // Every schema of the document is a schema.
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    compiler.add_resource("contract.json", document.clone()).unwrap();
    let mut schemas = Schemas::new();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        compiler.compile(&format!("contract.json#/components/schemas/{name}"), &mut schemas).unwrap();
    }
}
