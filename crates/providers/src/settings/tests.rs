use serde_json::json;

use super::*;

fn read(value: serde_json::Value) -> Result<ProviderSettings, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn a_section_needs_only_its_kind() {
    assert_eq!(read(json!({"kind": "openai-responses"})), Ok(ProviderSettings::new(ProviderKind::OpenaiResponses)));
    assert_eq!(ProviderSettings::new(ProviderKind::Gemini).validate(), []);
}

#[test]
fn every_kind_is_written_as_it_is_named() {
    for kind in [
        ProviderKind::Openai,
        ProviderKind::OpenaiResponses,
        ProviderKind::Anthropic,
        ProviderKind::Gemini,
        ProviderKind::Ollama,
        ProviderKind::Local,
    ] {
        assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.as_str()));
    }
}

#[test]
fn a_model_is_an_id_or_a_table() {
    let settings =
        read(json!({"kind": "ollama", "models": ["a", {"id": "b", "context_window": 8192, "vision": true}]}));
    let b =
        ModelSettings { id: "b".into(), context_window: Some(8192), vision: Some(true), ..ModelSettings::default() };
    assert_eq!(settings.unwrap().models, ["a".into(), b]);
}

#[test]
fn a_wrong_key_is_named() {
    let error = read(json!({"kind": "openai", "modles": []})).unwrap_err();
    assert!(error.contains("unknown field `modles`"), "{error}");
    let error = read(json!({"kind": "openai", "models": [{"id": "a", "visoin": true}]})).unwrap_err();
    assert!(error.contains("unknown field `visoin`"), "{error}");
}

#[test]
fn problems_name_their_key_and_hold_no_secret() {
    let mut settings = read(json!({
        "kind": "openai",
        "base_url": "https://me:hunter2@example.com/v1",
        "api_key": "hunter2\n",
        "headers": {"bad name": "x", "x-good": "hunter2\u{7}"},
        "models": ["a", "a", {"id": " ", "context_window": 0}],
        "connect_timeout_ms": 0,
    }))
    .unwrap();
    let keys = |settings: &ProviderSettings| settings.validate().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(
        keys(&settings),
        [
            "base_url",
            "api_key",
            "headers.bad name",
            "headers.x-good",
            "models[1].id",
            "models[2].id",
            "models[2].context_window",
            "connect_timeout_ms",
        ]
    );
    assert!(!format!("{:?} {:?}", settings.validate(), settings.api_key).contains("hunter2"));

    for url in ["ftp://example.com", "example.com", "https://example.com/v1?key=1"] {
        settings = ProviderSettings { base_url: Some(url.into()), ..ProviderSettings::new(ProviderKind::Openai) };
        assert_eq!(keys(&settings), ["base_url"], "{url}");
    }
}

#[test]
fn a_provider_name_has_no_slash() {
    let sections = BTreeMap::from([("a/b".to_owned(), ProviderSettings::new(ProviderKind::Openai))]);
    assert_eq!(validate(&sections).len(), 1);
}
