//! Every bound method is refused to those who may not call it, described, and told of in a transcript.

use boon::{Compiler, Schemas};
use dialect::Method;
use dialect_aleph::table::table;
use model::{NewMessage, Scope};
use ops::Class;
use providers::testkit::{Gate, Scripted};
use schemars::SchemaGenerator;
use serde_json::{Value, json};
use testkit::TestGateway;
use testkit::transcript::{Step, read_folder};

use crate::rig::{Client, folder, gateway};

/// Parameters that make each method do what it is for. A new method needs a line here, or these
/// tests would show nothing of it.
fn params(method: &str, run: &str) -> Value {
    match method {
        "agent.run" | "chat.send" => json!({ "message": "hi" }),
        "agent.cancel" | "agent.status" => json!({ "run_id": run }),
        "agent.explain" => json!({ "id": run }),
        "agent.respondToInput" => json!({ "run_id": run, "message": "more" }),
        "chat.abort" | "chat.clear" | "chat.history" => json!({}),
        "session.history" | "session.delete" => json!({ "session_key": "agent:main:old" }),
        "session.compact" => json!({ "session_key": "agent:main:old", "keep_recent": 0 }),
        "events.subscribe" | "events.unsubscribe" => json!({ "patterns": ["agent.*"] }),
        "models.get" | "models.capabilities" => json!({ "model_id": "scripted/model" }),
        "config.validate" => json!({ "config": {} }),
        "token.create" => json!({ "name": "new", "scopes": ["read"] }),
        "token.revoke" => json!({ "id": "tok_gone" }),
        "agent.list" | "session.list" | "events.list" | "models.list" | "config.get" | "config.reload"
        | "config.schema" | "cluster.status" | "token.list" | "commands.list" | "health" | "echo" | "version" => {
            json!({})
        }
        other => panic!("say which parameters make `{other}` do something"),
    }
}

/// A gateway with a session, and a run that is held in another one; gives its id.
async fn busy_gateway(gate: &Gate) -> (TestGateway, String) {
    let gateway = gateway().await;
    gateway.given_session("agent:main:old", [NewMessage::user("hello"), NewMessage::assistant("you")]).await;
    gateway.provider.push(Scripted::held(gate, "done"));
    let run = gateway.say("agent:main:busy", "wait").await;
    gate.reached().await;
    (gateway, run.to_string())
}

#[test]
fn every_method_is_called_in_a_transcript() {
    let transcripts = read_folder(&folder());
    let sent: Vec<&str> = transcripts
        .iter()
        .flat_map(|transcript| &transcript.steps)
        .filter_map(|(_, step)| if let Step::Send(text) = step { Some(text.as_str()) } else { None })
        .collect();
    let is_called = |name: &str| sent.iter().any(|text| text.contains(&format!("\"method\":\"{name}\"")));
    let table = table();
    let names = table.iter().map(|method| method.name).chain(["connect"]);
    let missing: Vec<&str> = names.filter(|name| !is_called(name)).collect();
    assert!(missing.is_empty(), "no transcript calls {missing:?}");
}

#[tokio::test]
async fn nobody_at_all_may_call_anything() {
    let gate = Gate::new();
    let (gateway, run) = busy_gateway(&gate).await;
    let mut nobody = Client::open(&gateway).await;
    let before = gateway.contents().await;
    for method in table().iter() {
        assert_eq!(nobody.code(method.name, params(method.name, &run)).await, -32000, "{}", method.name);
    }
    assert_eq!(gateway.contents().await, before);
    gate.open();
}

#[tokio::test]
async fn without_its_scope_a_method_is_refused_and_changes_nothing() {
    let gate = Gate::new();
    let (gateway, run) = busy_gateway(&gate).await;
    let before = gateway.contents().await;
    for method in table().iter() {
        let Some(scope) = method.scope else { continue };
        let others: Vec<Scope> =
            Scope::ALL.into_iter().filter(|other| *other != scope && *other != Scope::Mcp).collect();
        let mut client = Client::with(&gateway, &others).await;
        assert_eq!(client.code(method.name, params(method.name, &run)).await, -32002, "{}", method.name);
        assert_eq!(gateway.contents().await, before, "{}", method.name);
    }
    gate.open();
}

#[tokio::test]
async fn with_its_scope_alone_a_method_answers_as_its_schema_says() {
    for method in table().iter() {
        let gate = Gate::new();
        let (gateway, run) = busy_gateway(&gate).await;
        let scopes: Vec<Scope> =
            method.scope.into_iter().chain((method.name == "token.create").then_some(Scope::Read)).collect();
        // Whoever needs no scope may hold one that has nothing to do with it.
        let scopes = if scopes.is_empty() { vec![Scope::Pairing] } else { scopes };
        let mut client = Client::with(&gateway, &scopes).await;
        let asked = params(method.name, &run);
        conforms(method, "params", method.params_schema, &asked);
        match client.call(method.name, asked).await {
            Ok(result) => conforms(method, "result", method.result_schema, &result),
            Err(error) => assert_eq!((method.name, &error["code"]), ("token.revoke", &json!(-32004)), "{error}"),
        }
        gate.open();
        gateway.idle().await;
        gateway.stop().await;
    }
}

/// Compiles the schema, which must be one, and holds the value against it.
fn conforms(method: &Method, what: &str, schema: fn(&mut SchemaGenerator) -> schemars::Schema, value: &Value) {
    let mut generator = SchemaGenerator::default();
    let mut root: Value = schema(&mut generator).into();
    if let Value::Object(fields) = &mut root {
        fields.insert("$defs".into(), generator.take_definitions(true).into());
    }
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("mem:///schema.json", root).expect("a schema is a resource");
    let compiled = compiler.compile("mem:///schema.json", &mut schemas);
    let compiled = compiled.unwrap_or_else(|error| panic!("the {what} of {} have no schema: {error:#}", method.name));
    if let Err(error) = schemas.validate(value, compiled) {
        panic!("the {what} of {} break their schema: {error:#}\n{value:#}", method.name);
    }
}

#[test]
fn every_method_is_described() {
    for method in table().iter() {
        let docs = (method.docs)();
        let docs = docs.trim();
        assert!(docs.len() >= 20 && docs.ends_with('.'), "the reference text of {} is `{docs}`", method.name);
    }
}

#[test]
fn rate_classes_are_those_of_the_published_api() {
    for method in table().iter() {
        let class = match method.name {
            "agent.run" | "chat.send" => Class::Heavy,
            "session.compact" | "session.delete" | "config.reload" | "token.create" | "token.revoke" => Class::Write,
            _ => Class::Default,
        };
        assert_eq!(method.class, class, "{}", method.name);
    }
}

#[test]
fn the_contract_lists_every_method_and_connect() {
    let document = dialect_aleph::openrpc("1.2.3");
    let listed: Vec<&str> =
        document["methods"].as_array().unwrap().iter().filter_map(|method| method["name"].as_str()).collect();
    let table = table();
    let mut names: Vec<&str> = table.iter().map(|method| method.name).chain(["connect"]).collect();
    names.sort_unstable();
    assert_eq!((listed, &document["info"]["version"]), (names, &json!("1.2.3")));
}
