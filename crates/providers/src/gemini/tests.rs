use model::Thinking;
use serde_json::{Value, json};

use super::request::body;
use super::resource;
use crate::chat::ToolChoice;
use crate::sample;

fn signed() -> Vec<Value> {
    vec![
        json!({"type": "thought_signature", "call": "c1", "signature": "c2ln"}),
        json!({"type": "thought_signature", "signature": "dHh0"}),
        json!({"type": "thinking", "thinking": "of another vendor", "signature": "x"}),
    ]
}

#[test]
fn a_request_is_told_in_the_vendors_words() {
    let png = json!({"inlineData": {"mimeType": "image/png", "data": "aW1n"}});
    let expected = json!({
        "systemInstruction": {"parts": [{"text": "Be brief.\n\nBe kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "What is this?"}, png]},
            {"role": "model", "parts": [
                {"text": "Let me see.", "thoughtSignature": "dHh0"},
                {"functionCall": {"name": "look", "args": {"at": "it"}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "clock", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "look", "response": {"result": "seen"}}},
                png,
                {"functionResponse": {"name": "clock", "response": {"error": "no clock here"}}},
            ]},
            {"role": "model", "parts": [{"text": "A horse."}]},
            {"role": "user", "parts": [
                {"inlineData": {"mimeType": "text/plain", "data": "aGk="}},
                {"inlineData": {"mimeType": "application/pdf", "data": "cGRm"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "d2F2"}},
                {"text": "The user is in a hurry."},
            ]},
        ],
        "tools": [{"functionDeclarations": [
            {"name": "look", "description": "Looks.", "parametersJsonSchema": sample::parameters()},
        ]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {
            "temperature": 0.7,
            "topP": 0.9,
            "maxOutputTokens": 20_000,
            "seed": 7,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "stopSequences": ["END"],
            "thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": true},
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
        },
        "vendor_field": {"x": 1},
    });
    assert_eq!(body(&sample::request("gemini-2.5-flash", signed()), true), expected);
}

#[test]
fn a_step_of_another_model_is_marked_for_the_third_generation() {
    let signature = |model: &str, blocks| {
        let body = body(&sample::request(model, blocks), true);
        body["contents"][1]["parts"][1].get("thoughtSignature").cloned()
    };
    assert_eq!(signature("gemini-3-pro", vec![]), Some(json!("skip_thought_signature_validator")));
    assert_eq!(signature("gemini-3-pro", signed()), Some(json!("c2ln")));
    assert_eq!(signature("gemini-2.5-pro", vec![]), None);
}

#[test]
fn each_generation_is_asked_to_think_in_its_own_way() {
    let config = |model: &str, thinks, level| {
        let mut request = sample::request(model, vec![]);
        request.thinking = Some(level);
        body(&request, thinks)["generationConfig"].get("thinkingConfig").cloned()
    };
    let budget = |tokens, shown| Some(json!({"thinkingBudget": tokens, "includeThoughts": shown}));
    assert_eq!(config("gemini-2.5-flash", true, Thinking::Off), budget(0, false));
    assert_eq!(config("gemini-2.5-pro", true, Thinking::Off), budget(128, false));
    assert_eq!(
        config("gemini-3-pro", true, Thinking::Medium),
        Some(json!({"thinkingLevel": "high", "includeThoughts": true}))
    );
    assert_eq!(config("gemini-2.0-flash", false, Thinking::High), None);
}

#[test]
fn choices_of_tools_have_their_modes() {
    let calling = |choice| {
        let mut request = sample::request("gemini-2.5-flash", vec![]);
        request.tool_choice = choice;
        body(&request, true)["toolConfig"]["functionCallingConfig"].clone()
    };
    assert_eq!(calling(ToolChoice::None), json!({"mode": "NONE"}));
    assert_eq!(calling(ToolChoice::Named("look".into())), json!({"mode": "ANY", "allowedFunctionNames": ["look"]}));
}

#[test]
fn an_id_cannot_lead_to_another_path() {
    assert_eq!(resource("gemini-2.5-flash").as_deref(), Some("models/gemini-2.5-flash"));
    assert_eq!(resource("tunedModels/mine").as_deref(), Some("tunedModels/mine"));
    for id in ["", "a/../../files", "a?alt=json", "a b", "a:embed", "a%2f"] {
        assert_eq!(resource(id), None, "{id}");
    }
}
