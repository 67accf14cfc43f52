//! With the real default models. They are looked for in the models folder that `PATCHBAY_TEST_MODELS` names;
//! without the variable these tests say so and pass, with it they must find both models there.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use local_model::{LocalProvider, LocalSettings};
use model::NewMessage;
use providers::{ChatRequest, Chunk, FinishReason, Provider as _, ResponseFormat, Sampling, ToolChoice, ToolSpec};
use serde_json::{Value, json};

/// As in the binary, so that what is said about memory is true there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn provider(idle_unload_secs: u64) -> Option<LocalProvider> {
    provider_with(&LocalSettings { idle_unload_secs, ..LocalSettings::default() })
}

fn provider_with(settings: &LocalSettings) -> Option<LocalProvider> {
    let Some(folder) = std::env::var_os("PATCHBAY_TEST_MODELS").map(PathBuf::from) else {
        eprintln!("PATCHBAY_TEST_MODELS is not set: nothing is tested");
        return None;
    };
    let installed: Vec<String> = local_model::list(&folder).into_iter().map(|model| model.manifest.name).collect();
    assert_eq!(installed, ["all-minilm-l6-v2", "smollm2-135m-instruct"], "in {}", folder.display());
    Some(LocalProvider::new("local", &folder, settings))
}

fn asking(question: &str) -> ChatRequest {
    ChatRequest { model: "default".into(), messages: vec![NewMessage::user(question)], ..ChatRequest::default() }
}

fn weather_tools() -> Vec<ToolSpec> {
    let city = json!({"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "maxLength": 40}, "days": {"type": "integer", "minimum": 1, "maximum": 7}}});
    [
        "get_weather",
        "get_time",
        "read_file",
        "write_file",
        "list_files",
        "run_command",
        "web_search",
        "web_fetch",
        "memory_search",
    ]
    .map(|name| ToolSpec { name: name.into(), description: format!("does {name}"), parameters: city.clone().into() })
    .to_vec()
}

async fn answer(provider: &LocalProvider, request: ChatRequest) -> (String, Vec<Chunk>) {
    let began = Instant::now();
    let chunks: Vec<Chunk> = provider.chat(request).await.unwrap().map(Result::unwrap).collect().await;
    let text = chunks
        .iter()
        .filter_map(|chunk| if let Chunk::Text(text) = chunk { Some(text.as_str()) } else { None })
        .collect();
    if let [.., Chunk::Usage(usage), Chunk::Finish(_)] = chunks.as_slice() {
        let took = began.elapsed();
        #[allow(clippy::cast_precision_loss)]
        let speed = usage.output as f64 / took.as_secs_f64();
        eprintln!("{text:?}: {} + {} tokens in {took:?}, {speed:.1} tokens/s", usage.input, usage.output);
    }
    (text, chunks)
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn the_capital_of_france_is_paris() {
    let Some(provider) = provider(300) else { return };
    let (text, chunks) = answer(&provider, asking("What is the capital of France?")).await;
    assert!(text.contains("Paris"), "{text}");
    let [.., Chunk::Usage(usage), Chunk::Finish(FinishReason::Stop)] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert!((20..40).contains(&usage.input) && (5..20).contains(&usage.output), "{usage:?}");

    // In the words of others, with the temperature of a client, an agent's long system text and its tools.
    for (index, question) in
        ["what's the capital of france", "Hello, what is the capital of France?"].into_iter().enumerate()
    {
        let mut request = asking(question);
        request
            .messages
            .insert(0, NewMessage::system("You are Zed, a careful agent. Think step by step. ".repeat(100)));
        request.sampling =
            Sampling { temperature: Some(0.7), seed: Some(i64::try_from(index).unwrap()), ..Sampling::default() };
        request.tools = weather_tools();
        let (text, _) = answer(&provider, request).await;
        assert!(text.contains("Paris"), "{text}");
    }
}

#[tokio::test]
async fn a_second_question_of_a_conversation_reads_only_what_is_new() {
    let Some(provider) = provider(300) else { return };
    let mut request = asking("What is the capital of France?");
    let (text, _) = answer(&provider, request.clone()).await;
    request.messages.extend([NewMessage::assistant(text), NewMessage::user("And the capital of Italy?")]);
    let (text, chunks) = answer(&provider, request).await;
    let [.., Chunk::Usage(usage), Chunk::Finish(_)] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert!(usage.cache_read > 25 && usage.input > usage.cache_read, "{usage:?}");
    assert!(!text.is_empty());
}

#[tokio::test]
async fn a_required_call_is_valid_and_takes_its_argument_from_the_question() {
    let Some(provider) = provider(300) else { return };
    let request = ChatRequest {
        tools: weather_tools().into_iter().take(1).collect(),
        tool_choice: ToolChoice::Required,
        ..asking("What is the weather in Oslo?")
    };
    let (_, chunks) = answer(&provider, request).await;
    let Chunk::ToolCall { index: 0, name, .. } = &chunks[0] else { panic!("{chunks:?}") };
    assert_eq!(name, "get_weather");
    let arguments: String = chunks
        .iter()
        .filter_map(|chunk| if let Chunk::ToolArguments { text, .. } = chunk { Some(text.as_str()) } else { None })
        .collect();
    eprintln!("arguments: {arguments}");
    let arguments: Value = serde_json::from_str(&arguments).unwrap();
    assert!(arguments["city"].as_str().unwrap().contains("Oslo"), "{arguments}");
    assert_eq!(chunks.last(), Some(&Chunk::Finish(FinishReason::ToolCalls)));
}

#[tokio::test]
async fn an_answer_in_json_follows_its_schema() {
    let Some(provider) = provider(300) else { return };
    let schema = json!({"type": "object", "required": ["capital", "continent"], "properties": {
        "capital": {"type": "string", "maxLength": 30}, "continent": {"enum": ["Africa", "America", "Asia", "Europe"]}}});
    let format = ResponseFormat::JsonSchema { name: "country".into(), schema, strict: true };
    let (text, _) =
        answer(&provider, ChatRequest { response_format: Some(format), ..asking("What is the capital of France?") })
            .await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["continent"], "Europe");
    assert!(value["capital"].as_str().unwrap().contains("Paris"), "{text}");
}

#[tokio::test]
async fn a_long_conversation_is_cut_to_the_window_and_answered() {
    let Some(provider) = provider_with(&LocalSettings { context: 768, ..LocalSettings::default() }) else { return };
    let mut messages = Vec::new();
    for index in 0..60 {
        messages.push(NewMessage::user(format!("Tell me about number {index}. {}", "It is a good number. ".repeat(8))));
        messages.push(NewMessage::assistant(format!("{index} is the number after {}.", index - 1)));
    }
    messages.push(NewMessage::user("What is the capital of France?"));
    let began = Instant::now();
    let request = ChatRequest {
        messages,
        sampling: Sampling { max_output_tokens: Some(24), ..Sampling::default() },
        ..asking("")
    };
    let (_, chunks) = answer(&provider, request).await;
    let [.., Chunk::Usage(usage), Chunk::Finish(_)] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert!((300..=744).contains(&usage.input), "{usage:?}");
    eprintln!("{} tokens read in {:?}", usage.input, began.elapsed());
}

#[tokio::test]
async fn texts_of_like_meaning_have_like_vectors() {
    let Some(provider) = provider(300) else { return };
    let long = "word ".repeat(2000);
    let texts = [
        "A cat sleeps on the sofa.",
        "A kitten naps on the couch.",
        "The central bank raised interest rates.",
        &long,
        "",
    ];
    let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    let began = Instant::now();
    let embedded = provider.embed("default-embedder", &texts).await.unwrap();
    eprintln!("first call with loading: {:?}", began.elapsed());
    assert_eq!((embedded.vectors.len(), embedded.model.as_str()), (5, "all-minilm-l6-v2"));
    let product =
        |a: usize, b: usize| -> f32 { embedded.vectors[a].iter().zip(&embedded.vectors[b]).map(|(x, y)| x * y).sum() };
    for index in 0..texts.len() {
        assert_eq!(embedded.vectors[index].len(), 384);
        assert!((product(index, index) - 1.0).abs() < 1e-4);
    }
    eprintln!("alike {:.3}, unlike {:.3}", product(0, 1), product(0, 2));
    assert!(product(0, 1) > 0.5 && product(0, 2) < 0.2);
    // The long text is cut at 256 tokens.
    let tokens = embedded.input_tokens.unwrap();
    assert!((280..330).contains(&tokens), "{tokens}");
    // Alone or in a batch, padded or not, it is the same vector.
    let began = Instant::now();
    let alone = provider.embed("all-minilm-l6-v2", &texts[..1]).await.unwrap();
    eprintln!("one short text: {:?}", began.elapsed());
    let difference: f32 = alone.vectors[0].iter().zip(&embedded.vectors[0]).map(|(a, b)| (a - b).abs()).sum();
    assert!(difference < 1e-3, "{difference}");
}

#[tokio::test]
async fn memory_comes_with_the_first_request_and_goes_when_idle() {
    let before = resident_mb();
    let Some(provider) = provider(1) else { return };
    let made = resident_mb();
    answer(&provider, asking("What is the capital of France?")).await;
    provider.embed("default-embedder", &["a".into()]).await.unwrap();
    let loaded = resident_mb();
    provider.chat_loaded().wait_for(Option::is_none).await.unwrap();
    provider.embedder_loaded().wait_for(Option::is_none).await.unwrap();
    // The allocator hands pages back to the system on its own clock; there is no event to wait for.
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let given_back = async {
        while resident_mb() > before + 60 {
            tick.tick().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), given_back).await;
    eprintln!(
        "resident: {before} MB, {made} MB with a provider, {loaded} MB with both models, {} MB after",
        resident_mb()
    );
    assert!(made <= before + 2 && loaded > before + 150);
    assert!(in_time.is_ok(), "{} MB are still resident", resident_mb());
    let (text, _) = answer(&provider, asking("What is the capital of France?")).await;
    assert!(text.contains("Paris"));
}
