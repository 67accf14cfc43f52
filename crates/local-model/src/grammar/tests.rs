use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Whether `text` is one whole JSON value of the grammar, and nothing is left open.
fn accepts(grammar: &Grammar, text: &str) -> bool {
    State::start(grammar).step_all(grammar, text.as_bytes()).is_some_and(|state| state.may_end(grammar))
}

fn valid(schema: &Value, text: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))?;
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("urn:schema", schema.clone()).map_err(|error| error.to_string())?;
    let index = compiler.compile("urn:schema", &mut schemas).map_err(|error| format!("{schema}: {error}"))?;
    schemas.validate(&value, index).map_err(|error| format!("{text} against {schema}: {error}"))
}

/// Every single byte, and pieces such as a real vocabulary has, some of them torn inside a character.
fn vocabulary() -> Arc<TokenOrder> {
    let mut tokens: Vec<Box<[u8]>> = (0..=u8::MAX).map(|byte| Box::from([byte])).collect();
    for piece in [
        "{\"", "\": ", "\": \"", ", \"", "\", \"", "}}", "]]", "[[", "true", "null", "12", "-1", "0.", "abc", " the",
        "\\n", "\\u00", "é", "日本", "\"}",
    ] {
        tokens.push(piece.as_bytes().into());
    }
    tokens.push([0xe6, 0x97].into());
    tokens.push([0xa5, 0xe6].into());
    tokens.push(Box::from([]));
    Arc::new(TokenOrder::new(&tokens))
}

/// Walks by the given choices for at most `budget` tokens, then closes.
fn walk(schema: &Value, choices: &[u16], budget: usize) -> String {
    let grammar = Arc::new(Grammar::of_schema(schema));
    let order = vocabulary();
    let mut masker = Masker::new(Arc::clone(&grammar), Arc::clone(&order));
    let mut state = State::start(&grammar);
    let mut text = Vec::new();
    for choice in choices.iter().take(budget) {
        if state.must_end() || (state.may_end(&grammar) && choice % 5 == 0) {
            break;
        }
        let ids: Vec<u32> = masker.mask(&state).ids().collect();
        if ids.is_empty() {
            // A number that no further digit fits: complete, and nothing can follow.
            assert!(state.may_end(&grammar), "dead end after {} in {schema}", String::from_utf8_lossy(&text));
            break;
        }
        let bytes = order.bytes_of(ids[usize::from(*choice) % ids.len()]).expect("masks only allow known tokens");
        state = state.step_all(&grammar, bytes).expect("the mask allowed it");
        text.extend(bytes);
    }
    let closing = state.closing(&grammar);
    let end =
        state.step_all(&grammar, &closing).unwrap_or_else(|| panic!("{schema}: {}", String::from_utf8_lossy(&closing)));
    assert!(end.may_end(&grammar));
    text.extend(closing);
    String::from_utf8(text).expect("strings are whole characters")
}

fn scalar_schema() -> impl Strategy<Value = Value> {
    let range = (-2000_i64..2000, 0_i64..300);
    prop_oneof![
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        Just(json!({"type": "string"})),
        (0_u32..4, 0_u32..5)
            .prop_map(|(min, more)| json!({"type": "string", "minLength": min, "maxLength": min + more})),
        Just(json!({"type": "integer"})),
        range.clone().prop_map(|(low, more)| json!({"type": "integer", "minimum": low, "maximum": low + more})),
        (-50_i64..50).prop_map(|low| json!({"type": "integer", "exclusiveMinimum": low})),
        Just(json!({"type": "number"})),
        range.prop_map(|(low, more)| {
            #[allow(clippy::cast_precision_loss)]
            let (low, high) = (low as f64 / 8.0, (low + more + 1) as f64 / 8.0);
            json!({"type": "number", "minimum": low, "exclusiveMaximum": high})
        }),
        prop::collection::vec("[a-c]{0,3}", 1..6).prop_map(|mut words| {
            words.sort();
            words.dedup();
            json!({ "enum": words })
        }),
        Just(json!({"enum": [1, 12, 123, null, true, [1], {"a": 2}]})),
        Just(json!({"const": "größe \"x\""})),
        Just(json!({})),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    scalar_schema().prop_recursive(3, 24, 5, |inner| {
        let fields = prop::collection::btree_map("[a-z \"ü]{0,5}", (inner.clone(), any::<bool>()), 0..5);
        prop_oneof![
            fields.prop_map(|fields| {
                let required: Vec<&String> =
                    fields.iter().filter(|(_, (_, required))| *required).map(|(name, _)| name).collect();
                let properties: serde_json::Map<String, Value> =
                    fields.iter().map(|(name, (schema, _))| (name.clone(), schema.clone())).collect();
                json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
            }),
            inner.clone().prop_map(|values| json!({"type": "object", "additionalProperties": values})),
            (inner.clone(), 0_u32..3, 0_u32..3).prop_map(
                |(items, min, more)| json!({"type": "array", "items": items, "minItems": min, "maxItems": min + more})
            ),
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            prop::collection::vec(inner, 1..4).prop_map(|alternatives| json!({ "anyOf": alternatives })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_walk_over_allowed_tokens_ends_in_json_of_the_schema(
        schema in schema(),
        choices in prop::collection::vec(any::<u16>(), 0..60),
        budget in 0_usize..60,
    ) {
        let text = walk(&schema, &choices, budget);
        prop_assert_eq!(valid(&schema, &text), Ok(()));
    }

    #[test]
    fn a_mask_allows_exactly_the_tokens_that_the_automaton_takes(schema in schema(), choices in prop::collection::vec(any::<u16>(), 0..20)) {
        let grammar = Arc::new(Grammar::of_schema(&schema));
        let order = vocabulary();
        let mut masker = Masker::new(Arc::clone(&grammar), Arc::clone(&order));
        let mut state = State::start(&grammar);
        for choice in choices {
            let mask = masker.mask(&state);
            for id in 0..300 {
                let taken = order.bytes_of(id).is_some_and(|bytes| state.step_all(&grammar, bytes).is_some());
                prop_assert_eq!(mask.allows(id), taken, "token {}", id);
            }
            let ids: Vec<u32> = mask.ids().collect();
            if ids.is_empty() {
                break;
            }
            state = state.step_all(&grammar, order.bytes_of(ids[usize::from(choice) % ids.len()]).unwrap()).unwrap();
        }
    }

    #[test]
    fn bounded_integers_are_taken_exactly(low in -300_i64..300, more in 0_i64..400, value in -800_i64..800) {
        let grammar = Grammar::of_schema(&json!({"type": "integer", "minimum": low, "maximum": low + more}));
        prop_assert_eq!(accepts(&grammar, &value.to_string()), (low..=low + more).contains(&value));
    }
}

#[test]
fn a_schema_that_contains_itself_stays_finite() {
    let schema = json!({
        "$defs": {"tree": {"type": "object", "required": ["label"], "additionalProperties": false,
            "properties": {"label": {"enum": ["x", "xy"]}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}},
        "$ref": "#/$defs/tree"
    });
    let grammar = Grammar::of_schema(&schema);
    assert!(accepts(&grammar, r#"{"label": "x", "children": [{"label": "xy"}, {"label": "x", "children": []}]}"#));
    assert!(!accepts(&grammar, r#"{"label": "z"}"#));
    let open = State::start(&grammar).step_all(&grammar, br#"{"label": "x", "children": [{"la"#).unwrap();
    assert_eq!(String::from_utf8(open.closing(&grammar)).unwrap(), r#"bel": "x"}]}"#);
}

#[test]
fn a_schema_without_any_finite_value_becomes_any_json() {
    let schema = json!({"$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}}, "$ref": "#/$defs/a"});
    let grammar = Grammar::of_schema(&schema);
    assert!(State::start(&grammar).closing(&grammar).len() < 20);
    let looped = Grammar::of_schema(&json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}));
    assert!(accepts(&looped, "[1]"));
}

#[test]
fn required_fields_come_first_and_optional_ones_may_be_left_out() {
    let schema = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}}});
    let grammar = Grammar::of_schema(&schema);
    assert!(accepts(&grammar, r#"{"city": "Paris"}"#));
    assert!(accepts(&grammar, r#"{"city": "Paris", "days": 7}"#));
    assert!(!accepts(&grammar, r#"{"city": "Paris", "days": 8}"#));
    assert!(!accepts(&grammar, r#"{"days": 1}"#));
    assert!(!accepts(&grammar, r#"{"city": "Paris", "other": 1}"#));
}

#[test]
fn calls_name_one_of_the_tools_and_follow_its_schema() {
    let weather = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    let none = json!({"type": "object"});
    let grammar = Grammar::of_calls([("get_weather", &weather), ("get_time", &none)]);
    assert!(accepts(&grammar, r#"{"name": "get_weather", "arguments": {"city": "Oslo"}}"#));
    assert!(accepts(&grammar, r#"{"name": "get_time", "arguments": {}}"#));
    assert!(!accepts(&grammar, r#"{"name": "get_time", "arguments": {"city": "Oslo"}}"#));
    assert!(!accepts(&grammar, r#"{"name": "get_news", "arguments": {}}"#));
    let (forced, _) = State::start(&grammar).forced(&grammar);
    assert_eq!(String::from_utf8(forced).unwrap(), r#"{"name": "get_"#);
}

#[test]
fn strings_refuse_control_characters_and_lone_surrogates() {
    let grammar = Grammar::of_schema(&json!({"type": "string"}));
    assert!(accepts(&grammar, r#""a\u00e9\n\"""#));
    assert!(!accepts(&grammar, r#""\ud83d""#));
    assert!(!accepts(&grammar, "\"a\nb\""));
    assert!(State::start(&grammar).step_all(&grammar, b"\"\xff").is_none());
    assert!(State::start(&grammar).step_all(&grammar, b"\"\xed\xa0").is_none());
}

#[test]
fn all_of_and_any_of_beside_properties_are_merged() {
    let schema = json!({"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}],
        "$defs": {"base": {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}}});
    assert!(accepts(&Grammar::of_schema(&schema), r#"{"a": true, "b": 1}"#));
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    let grammar = Grammar::of_schema(&schema);
    assert!(accepts(&grammar, r#"{"b": 1}"#) && accepts(&grammar, r#"{"a": 1}"#));
    assert!(!accepts(&grammar, "{}"));
}
