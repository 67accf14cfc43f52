use model::Secret;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sample::{Auth, Home, ProviderSection, Sample, TEXT, Token};

#[test]
fn names_of_secrets_are_known_in_any_spelling() {
    for name in
        ["token", "botToken", "API_KEY", "apikey", "api-key", "private_key", "client_secret", "PASSWORD", "credentials"]
    {
        assert!(is_secret_name(name), "{name}");
    }
    for name in ["key", "id", "author", "keys", "model", "pass"] {
        assert!(!is_secret_name(name), "{name}");
    }
}

#[test]
fn texts_under_a_secret_name_are_hidden_and_nothing_else() {
    let shown = redacted(&json!({
        "max_tokens": 5,
        "tokens": ["a", "b", {"id": "kept", "secret": "c"}],
        "password": "d",
        "auth": {"token": [{"id": "ci", "scopes": ["read"]}]},
        "url": "postgres://user:p@ss@host/db?x=1",
        "plain": "https://host/a:b@c",
        "port": "http://host:8080/@scope",
        "api_key": null,
    }));
    assert_eq!(
        shown,
        json!({
            "max_tokens": 5,
            "tokens": [REDACTED, REDACTED, {"id": "kept", "secret": REDACTED}],
            "password": REDACTED,
            "auth": {"token": [{"id": "ci", "scopes": ["read"]}]},
            "url": "postgres://user:[REDACTED]@host/db?x=1",
            "plain": "https://host/a:b@c",
            "port": "http://host:8080/@scope",
            "api_key": null,
        })
    );
}

#[test]
fn a_section_is_shown_alone() {
    let sample = Sample::default();
    assert_eq!(section(&sample, "store"), Some(json!({"url": "sqlite:patchbay.db", "readers": 4})));
    assert_eq!(section(&sample, "gone"), None);
}

/// What is shown is valid by the schema that is published for it.
#[test]
fn what_is_shown_conforms_to_the_schema() {
    let schema = crate::schema::<Sample>();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("urn:patchbay:config", schema.clone()).unwrap();
    let mut schemas = boon::Schemas::new();
    let compiled = compiler.compile("urn:patchbay:config", &mut schemas).unwrap();
    let loaded = Home::with(TEXT).layers().load::<Sample>().unwrap();
    for shown in [redacted(&Sample::default()), redacted(loaded.config.as_ref())] {
        schemas.validate(&shown, compiled).unwrap_or_else(|error| panic!("{error}"));
    }
    for wrong in [
        json!({"stroe": {}}),
        json!({"agents": {"main": {"modle": "x"}}}),
        json!({"providers": {"a": {"kind": "ollama", "base_url": "x"}}}),
        json!({"logs": {"keep_day": 1}}),
        json!({"store": {"readers": 0}}),
    ] {
        assert!(schemas.validate(&wrong, compiled).is_err(), "{wrong}");
    }
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$id"], "urn:patchbay:config");
    assert_eq!(schema["title"], "Patchbay configuration");
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["listen"]["description"], "Where to listen.");
    assert_eq!(schema["properties"]["store"]["default"]["readers"], 4);
}

proptest! {
    #[test]
    fn no_secret_is_left(secret in "[A-Za-z][A-Za-z0-9/+:?]{7,40}") {
        let sample = Sample {
            auth: Auth {
                token: vec![Token { id: "ci".into(), secret: Secret::new(secret.clone()), scopes: Vec::new() }],
                password: Some(secret.clone()),
                required: true,
            },
            providers: [("p".to_owned(), ProviderSection::Openai { base_url: Some(format!("http://u:{secret}@h")), api_key: Some(Secret::new(secret.clone())) })].into(),
            extra: [("Bot-Token".to_owned(), json!([secret.clone()])), ("x".to_owned(), json!({"private_key": secret.clone()}))].into(),
            ..Sample::default()
        };
        prop_assert!(!redacted(&sample).to_string().contains(&secret));
        let debug = format!("{:?}", sample.auth.token);
        prop_assert!(!debug.contains(&secret));
    }
}
