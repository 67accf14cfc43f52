use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tiny;
use providers::Sampling;

/// Gives logits that look random and depend on what was fed.
struct Noise {
    state: u64,
    size: usize,
    fed: Vec<u32>,
    /// Logits for these tokens in this order come first.
    script: Vec<u32>,
}

impl Noise {
    fn new(seed: u64, script: Vec<u32>) -> Self {
        Self { state: seed, size: tiny::tokens().len(), fed: Vec::new(), script }
    }
}

impl LanguageModel for Noise {
    fn begin(&mut self, _prompt: &[u32]) -> usize {
        0
    }

    fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.fed.extend_from_slice(tokens);
        let mut logits: Vec<f32> = (0..self.size)
            .map(|_| {
                self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                f32::from(u16::try_from(self.state >> 48).unwrap()) / 8192.0
            })
            .collect();
        // The end is never drawn by chance, so that limits and stops are what ends an answer.
        (logits[0], logits[2]) = (-100.0, -100.0);
        if !self.script.is_empty() {
            logits[self.script.remove(0) as usize] = 1000.0;
        }
        Ok(logits)
    }
}

#[derive(Default)]
struct Collected {
    chunks: Vec<Chunk>,
    /// Hangs up after so many chunks.
    patience: Option<usize>,
}

impl Sink for Collected {
    fn send(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }

    fn is_open(&self) -> bool {
        self.patience.is_none_or(|patience| self.chunks.len() < patience)
    }
}

impl Collected {
    fn text(&self) -> String {
        self.chunks
            .iter()
            .filter_map(|chunk| if let Chunk::Text(text) = chunk { Some(text.as_str()) } else { None })
            .collect()
    }

    /// Name and arguments of the call.
    fn call(&self) -> Option<(String, String)> {
        let Some(Chunk::ToolCall { name, .. }) = self.chunks.first() else { return None };
        let arguments = self.chunks[1..].iter().map(|chunk| match chunk {
            Chunk::ToolArguments { text, .. } => text.as_str(),
            other => panic!("{other:?} inside a call"),
        });
        Some((name.clone(), arguments.collect()))
    }
}

fn order(shape: Shape, max_tokens: usize) -> Order {
    let sampler = Sampler::new(&Sampling::default(), 0);
    Order { prompt: vec![5, 6, 7], max_tokens, stops: Vec::new(), sampler, shape, call_id: "call_1".into() }
}

type Outcome = Result<Option<(FinishReason, Usage)>, EngineError>;

fn run(seed: u64, script: &str, order: Order) -> (Collected, Noise, Outcome) {
    let vocabulary = tiny::vocabulary();
    let mut engine = Noise::new(seed, vocabulary.encode(script).unwrap());
    let mut sink = Collected::default();
    let outcome = generate(&mut engine, &vocabulary, order, &mut sink);
    (sink, engine, outcome)
}

fn tools() -> Arc<Calls> {
    let weather = json!({"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 7}}});
    let pick = json!({"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["a", "b"]}, "tags": {"type": "array", "items": {"type": "string"}}}});
    Arc::new(Calls::new([("get_weather", &weather), ("pick", &pick)]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_required_call_is_whole_and_inside_the_limit_whatever_the_model_likes(seed in any::<u64>(), max in 60_usize..140) {
        let (sink, _, outcome) = run(seed, "", order(Shape::Call(tools()), max));
        let (finish, usage) = outcome.unwrap().unwrap();
        prop_assert_eq!(finish, FinishReason::ToolCalls);
        prop_assert!(usage.output as usize <= max, "{} of {}", usage.output, max);
        let (name, arguments) = sink.call().unwrap();
        let arguments: Value = serde_json::from_str(&arguments).unwrap();
        match name.as_str() {
            "get_weather" => {
                prop_assert!(arguments["city"].is_string());
                prop_assert!(arguments.get("days").is_none_or(|days| (1..=7).contains(&days.as_i64().unwrap())));
            }
            "pick" => prop_assert!(["a", "b"].contains(&arguments["kind"].as_str().unwrap())),
            other => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn json_is_whole_inside_the_limit_and_says_when_it_was_cut(seed in any::<u64>(), max in 12_usize..80) {
        let schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
        let (sink, _, outcome) = run(seed, "", order(Shape::Json(Arc::new(Grammar::of_schema(&schema))), max));
        let (finish, usage) = outcome.unwrap().unwrap();
        prop_assert!(usage.output as usize <= max);
        let value: Value = serde_json::from_str(&sink.text()).unwrap();
        prop_assert!(value["a"].is_string());
        prop_assert!(matches!(finish, FinishReason::Stop | FinishReason::Length));
    }
}

#[test]
fn a_limit_that_holds_no_call_is_refused_and_named() {
    let (_, _, outcome) = run(1, "", order(Shape::Call(tools()), 10));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("10 output tokens"), "{error}");
}

#[test]
fn text_may_always_be_written_and_ends_at_the_limit_with_every_token_counted() {
    let (sink, engine, outcome) = run(3, "hello", order(Shape::TextOrCall(tools()), 20));
    assert_eq!(outcome.unwrap().unwrap(), (FinishReason::Length, Usage { input: 3, output: 20, ..Usage::default() }));
    assert!(sink.text().starts_with("hello"));
    assert!(sink.call().is_none());
    // The last token picked is not fed any more.
    assert_eq!(engine.fed.len(), 3 + 19);
}

#[test]
fn an_answer_that_opens_like_a_call_becomes_one() {
    let (sink, _, outcome) = run(3, "{ \"name\":", order(Shape::TextOrCall(tools()), 120));
    assert_eq!(outcome.unwrap().unwrap().0, FinishReason::ToolCalls);
    let (_, arguments) = sink.call().unwrap();
    assert!(serde_json::from_str::<Value>(&arguments).unwrap().is_object());
}

#[test]
fn a_call_that_would_not_fit_any_more_stays_text() {
    let (sink, _, outcome) = run(3, "{\"name\":", order(Shape::TextOrCall(tools()), 15));
    assert_eq!(outcome.unwrap().unwrap().0, FinishReason::Length);
    assert!(sink.text().starts_with("{\"name\":"), "{}", sink.text());
}

#[test]
fn half_an_opening_at_the_end_is_given_out_as_text() {
    let (sink, _, outcome) = run(3, "{\"na", order(Shape::TextOrCall(tools()), 3));
    assert_eq!(outcome.unwrap().unwrap().0, FinishReason::Length);
    assert_eq!(sink.text(), "{\"na");
}

#[test]
fn a_stop_text_and_the_end_token_end_the_answer() {
    let stops = vec!["STOP".to_owned()];
    let (sink, _, outcome) = run(3, "heSTOP", Order { stops, ..order(Shape::Text, 50) });
    assert_eq!(outcome.unwrap().unwrap().0, FinishReason::Stop);
    assert_eq!(sink.text(), "he");
    let (sink, _, outcome) = run(3, "he<|im_end|>", order(Shape::Text, 50));
    assert_eq!(outcome.unwrap().unwrap(), (FinishReason::Stop, Usage { input: 3, output: 1, ..Usage::default() }));
    assert_eq!(sink.text(), "he");
}

#[test]
fn nothing_is_computed_for_a_listener_that_hung_up() {
    for shape in [Shape::Text, Shape::Call(tools()), Shape::TextOrCall(tools())] {
        let vocabulary = tiny::vocabulary();
        let mut engine = Noise::new(9, Vec::new());
        let mut sink = Collected { patience: Some(3), ..Collected::default() };
        let outcome = generate(&mut engine, &vocabulary, order(shape, 400), &mut sink).unwrap();
        assert_eq!(outcome, None);
        assert!(
            sink.chunks.len() < 6 && engine.fed.len() < 150,
            "{} chunks, {} tokens",
            sink.chunks.len(),
            engine.fed.len()
        );
    }
    let mut engine = Noise::new(9, Vec::new());
    let mut sink = Collected { patience: Some(0), ..Collected::default() };
    assert_eq!(generate(&mut engine, &tiny::vocabulary(), order(Shape::Text, 400), &mut sink).unwrap(), None);
    assert!(engine.fed.is_empty());
}
