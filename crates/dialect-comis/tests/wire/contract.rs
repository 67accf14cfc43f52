//! The published contract is that of the routes and methods themselves.

use serde_json::Value;

#[test]
fn the_document_describes_every_route_whole() {
    let mut generator = dialect::contract_http::generator();
    let paths = dialect_comis::paths(&mut generator);
    let document = dialect::contract_http::openapi("Comis", "1", "", [paths], generator);
    let routes: Vec<(&String, &String, &Value)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, operations)| {
            operations.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
        })
        .collect();
    let names: Vec<String> = routes.iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    assert_eq!(names.len(), 9, "{names:?}");
    for (path, method, operation) in &routes {
        assert!(
            operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.') || summary.contains(':')),
            "{method} {path}"
        );
        assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        if path.starts_with("/api/") && *path != "/api/health" {
            for status in ["401", "403", "429", "500"] {
                assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
            }
            assert_eq!(operation["x-scopes"], serde_json::json!(["rpc"]), "{method} {path}");
        }
    }
    assert_references_exist(&document, &document);
    let query = &document["paths"]["/api/chat/stream"]["get"]["parameters"];
    let names: Vec<&str> =
        query.as_array().unwrap().iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["agentId", "message", "sessionKey", "token"]);
}

fn assert_references_exist(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').expect("references stay inside");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|value| assert_references_exist(value, document));
        }
        Value::Array(items) => items.iter().for_each(|value| assert_references_exist(value, document)),
        _ => {}
    }
}
