//! Each vendor's recorded answers, in the shapes that the vendors document, and what they must come out as.

use model::Usage;
use serde_json::{Value, json};

use super::server::Reply;
use crate::chat::{Chunk, FinishReason};
use crate::settings::ProviderKind;

/// A recorded body and the chunks that it stands for, neighbours of a kind joined.
#[derive(Debug, Clone)]
pub struct Recording {
    pub body: &'static str,
    pub chunks: Vec<Chunk>,
}

/// Everything that [`suite::run`](super::suite::run) needs to know of one vendor.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub kind: ProviderKind,
    /// A model that is known to think.
    pub model: &'static str,
    /// Path and query that a chat is sent to.
    pub chat_target: &'static str,
    /// The header with the key `test-key-123`.
    pub key_header: (&'static str, &'static str),
    pub content_type: &'static str,
    /// `false` when the ids of calls are made by us.
    pub gives_call_ids: bool,
    pub text: Recording,
    pub tools: Recording,
    pub reasoning: Recording,
    /// Empty lists, nulls and unknown things around `Grüße, 🐴!`.
    pub empty: Recording,
    /// Stopped by the limit after `And so`.
    pub length: Recording,
    /// `Half an answer` without its end.
    pub unfinished: &'static str,
    /// `Half an answer`, then an error object.
    pub error: &'static str,
    /// An event that is not what the protocol says.
    pub garbage: &'static str,
    /// Status and body of the refusal of a conversation that is too long.
    pub too_long: (u16, &'static str),
    /// Answers by path for the list of models.
    pub model_routes: &'static [(&'static str, &'static str)],
    /// Ids of the list with their context windows and capabilities.
    pub models: Vec<(&'static str, Option<u32>, Vec<&'static str>)>,
    /// Path and answer for the embeddings of two inputs, `[1, 0.5]` and `[0, 1]`.
    pub embeddings: Option<(&'static str, &'static str)>,
}

impl Fixture {
    /// A successful stream with this body.
    pub fn stream(&self, body: impl Into<Vec<u8>>) -> Reply {
        Reply::new(200, self.content_type, body)
    }
}

const SSE: &str = "text/event-stream";
const CHAT: [&str; 3] = ["chat", "tools", "streaming"];
const GREETING: &str = "Grüße, 🐴!";

fn usage(input: u64, output: u64, cache_read: u64, reasoning: u64) -> Usage {
    Usage { input, output, cache_read, cache_write: 0, reasoning }
}

fn text(text: &str) -> Chunk {
    Chunk::Text(text.to_owned())
}

fn reasoning(text: &str) -> Chunk {
    Chunk::Reasoning(text.to_owned())
}

fn call(index: usize, id: &str, name: &str, arguments: &Value) -> [Chunk; 2] {
    [
        Chunk::ToolCall { index, id: id.to_owned(), name: name.to_owned() },
        Chunk::ToolArguments { index, text: arguments.to_string() },
    ]
}

fn greeting(usage: Option<Usage>) -> Vec<Chunk> {
    let mut chunks = vec![text(GREETING)];
    chunks.extend(usage.map(Chunk::Usage));
    chunks.push(Chunk::Finish(FinishReason::Stop));
    chunks
}

fn cut_short() -> Vec<Chunk> {
    vec![text("And so"), Chunk::Finish(FinishReason::Length)]
}

fn two_calls(first_id: &str, second_id: &str, block: Option<Value>) -> Vec<Chunk> {
    let mut chunks = call(0, first_id, "clock", &json!({"zone": "UTC"})).to_vec();
    chunks.extend(block.map(Chunk::ReasoningBlock));
    chunks.extend(call(1, second_id, "weather", &json!({"city": "Köln"})));
    chunks.extend([Chunk::Usage(usage(30, 12, 0, 0)), Chunk::Finish(FinishReason::ToolCalls)]);
    chunks
}

pub fn openai() -> Fixture {
    let wide = vec!["chat", "vision", "tools", "thinking", "streaming"];
    Fixture {
        kind: ProviderKind::Openai,
        model: "gpt-5-mini",
        chat_target: "/chat/completions",
        key_header: ("authorization", "Bearer test-key-123"),
        content_type: SSE,
        gives_call_ids: true,
        text: Recording {
            body: include_str!("../../recordings/openai/text.sse"),
            chunks: greeting(Some(usage(20, 5, 8, 0))),
        },
        tools: Recording {
            body: include_str!("../../recordings/openai/tools.sse"),
            chunks: two_calls("call_a", "call_b", None),
        },
        reasoning: Recording {
            body: include_str!("../../recordings/openai/reasoning.sse"),
            chunks: vec![
                reasoning("First thöught."),
                text("Done."),
                Chunk::Usage(usage(20, 9, 16, 6)),
                Chunk::Finish(FinishReason::Stop),
            ],
        },
        empty: Recording { body: include_str!("../../recordings/openai/empty.sse"), chunks: greeting(None) },
        length: Recording { body: include_str!("../../recordings/openai/length.sse"), chunks: cut_short() },
        unfinished: include_str!("../../recordings/openai/unfinished.sse"),
        error: include_str!("../../recordings/openai/error.sse"),
        garbage: "data: {\"choices\": \"none\"}\n\n",
        too_long: (400, include_str!("../../recordings/openai/too_long.json")),
        model_routes: &[("/models", include_str!("../../recordings/openai/models.json"))],
        models: vec![
            ("gpt-4o", Some(128_000), vec!["chat", "vision", "tools", "streaming"]),
            ("vendor/wide", Some(500_000), wide),
            ("text-embedding-3-small", Some(8191), vec!["embeddings"]),
        ],
        embeddings: Some(("/embeddings", include_str!("../../recordings/openai/embeddings.json"))),
    }
}

pub fn openai_responses() -> Fixture {
    let block = json!({
        "id": "rs_1",
        "type": "reasoning",
        "encrypted_content": "gAAAfull",
        "summary": [{"type": "summary_text", "text": "First thöught."}, {"type": "summary_text", "text": "Second."}],
    });
    Fixture {
        kind: ProviderKind::OpenaiResponses,
        chat_target: "/responses",
        text: Recording {
            body: include_str!("../../recordings/openai_responses/text.sse"),
            chunks: greeting(Some(usage(20, 5, 8, 0))),
        },
        tools: Recording {
            body: include_str!("../../recordings/openai_responses/tools.sse"),
            chunks: two_calls("call_a", "call_b", None),
        },
        reasoning: Recording {
            body: include_str!("../../recordings/openai_responses/reasoning.sse"),
            chunks: vec![
                reasoning("First thöught.\n\nSecond."),
                Chunk::ReasoningBlock(block),
                text("Done."),
                Chunk::Usage(usage(20, 9, 16, 6)),
                Chunk::Finish(FinishReason::Stop),
            ],
        },
        empty: Recording { body: include_str!("../../recordings/openai_responses/empty.sse"), chunks: greeting(None) },
        length: Recording { body: include_str!("../../recordings/openai_responses/length.sse"), chunks: cut_short() },
        unfinished: include_str!("../../recordings/openai_responses/unfinished.sse"),
        error: include_str!("../../recordings/openai_responses/error.sse"),
        garbage: "data: {\"type\": \"response.output_text.delta\", \"delta\": {}}\n\n",
        too_long: (400, include_str!("../../recordings/openai_responses/too_long.json")),
        embeddings: None,
        ..openai()
    }
}

pub fn anthropic() -> Fixture {
    let thinking = json!({"type": "thinking", "thinking": "First thöught.", "signature": "EqQBsigned=="});
    let redacted = json!({"type": "redacted_thinking", "data": "EmwKAhgB"});
    let all = vec!["chat", "vision", "tools", "thinking", "streaming"];
    Fixture {
        kind: ProviderKind::Anthropic,
        model: "claude-sonnet-4-5",
        chat_target: "/v1/messages",
        key_header: ("x-api-key", "test-key-123"),
        content_type: SSE,
        gives_call_ids: true,
        text: Recording {
            body: include_str!("../../recordings/anthropic/text.sse"),
            chunks: greeting(Some(Usage { cache_write: 2, ..usage(20, 5, 8, 0) })),
        },
        tools: Recording {
            body: include_str!("../../recordings/anthropic/tools.sse"),
            chunks: two_calls("toolu_a", "toolu_b", None),
        },
        reasoning: Recording {
            body: include_str!("../../recordings/anthropic/reasoning.sse"),
            chunks: vec![
                reasoning("First thöught."),
                Chunk::ReasoningBlock(thinking),
                Chunk::ReasoningBlock(redacted),
                text("Done."),
                Chunk::Usage(usage(20, 9, 16, 6)),
                Chunk::Finish(FinishReason::Stop),
            ],
        },
        empty: Recording { body: include_str!("../../recordings/anthropic/empty.sse"), chunks: greeting(None) },
        length: Recording { body: include_str!("../../recordings/anthropic/length.sse"), chunks: cut_short() },
        unfinished: include_str!("../../recordings/anthropic/unfinished.sse"),
        error: include_str!("../../recordings/anthropic/error.sse"),
        garbage: "data: {\"type\": \"content_block_delta\"}\n\n",
        too_long: (400, include_str!("../../recordings/anthropic/too_long.json")),
        model_routes: &[("/v1/models", include_str!("../../recordings/anthropic/models.json"))],
        models: vec![("claude-sonnet-4-5", Some(200_000), all.clone()), ("claude-opus-4-6", Some(1_000_000), all)],
        embeddings: None,
    }
}

pub fn gemini() -> Fixture {
    let signed_call = json!({"type": "thought_signature", "call": "call-0", "signature": "c2lnbmVk"});
    let signed_text = json!({"type": "thought_signature", "signature": "dGV4dA=="});
    Fixture {
        kind: ProviderKind::Gemini,
        model: "gemini-2.5-flash",
        chat_target: "/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        key_header: ("x-goog-api-key", "test-key-123"),
        content_type: SSE,
        gives_call_ids: false,
        text: Recording {
            body: include_str!("../../recordings/gemini/text.sse"),
            chunks: greeting(Some(usage(20, 5, 8, 0))),
        },
        tools: Recording {
            body: include_str!("../../recordings/gemini/tools.sse"),
            chunks: two_calls("call-0", "call-1", Some(signed_call)),
        },
        reasoning: Recording {
            body: include_str!("../../recordings/gemini/reasoning.sse"),
            chunks: vec![
                reasoning("First thöught."),
                text("Done."),
                Chunk::ReasoningBlock(signed_text),
                Chunk::Usage(usage(20, 9, 16, 6)),
                Chunk::Finish(FinishReason::Stop),
            ],
        },
        empty: Recording {
            body: include_str!("../../recordings/gemini/empty.sse"),
            chunks: greeting(Some(usage(1, 0, 0, 0))),
        },
        length: Recording { body: include_str!("../../recordings/gemini/length.sse"), chunks: cut_short() },
        unfinished: include_str!("../../recordings/gemini/unfinished.sse"),
        error: include_str!("../../recordings/gemini/error.sse"),
        garbage: "data: {\"candidates\": 7}\n\n",
        too_long: (400, include_str!("../../recordings/gemini/too_long.json")),
        model_routes: &[("/models", include_str!("../../recordings/gemini/models.json"))],
        models: vec![
            ("gemini-2.5-flash", Some(1_048_576), vec!["chat", "vision", "tools", "thinking", "streaming"]),
            ("gemini-embedding-001", Some(2048), vec!["embeddings"]),
            ("imagen-4", None, vec![]),
        ],
        embeddings: Some((
            "/models/embedder:batchEmbedContents",
            include_str!("../../recordings/gemini/embeddings.json"),
        )),
    }
}

pub fn ollama() -> Fixture {
    Fixture {
        kind: ProviderKind::Ollama,
        model: "qwen3:8b",
        chat_target: "/api/chat",
        key_header: ("authorization", "Bearer test-key-123"),
        content_type: "application/x-ndjson",
        gives_call_ids: false,
        text: Recording {
            body: include_str!("../../recordings/ollama/text.ndjson"),
            chunks: greeting(Some(usage(20, 5, 0, 0))),
        },
        tools: Recording {
            body: include_str!("../../recordings/ollama/tools.ndjson"),
            chunks: two_calls("call-0", "call-1", None),
        },
        reasoning: Recording {
            body: include_str!("../../recordings/ollama/reasoning.ndjson"),
            chunks: vec![
                reasoning("First thöught."),
                text("Done."),
                Chunk::Usage(usage(20, 9, 0, 0)),
                Chunk::Finish(FinishReason::Stop),
            ],
        },
        empty: Recording { body: include_str!("../../recordings/ollama/empty.ndjson"), chunks: greeting(None) },
        length: Recording { body: include_str!("../../recordings/ollama/length.ndjson"), chunks: cut_short() },
        unfinished: include_str!("../../recordings/ollama/unfinished.ndjson"),
        error: include_str!("../../recordings/ollama/error.ndjson"),
        garbage: "<oops>\n",
        too_long: (400, include_str!("../../recordings/ollama/too_long.json")),
        model_routes: &[
            ("/api/tags", include_str!("../../recordings/ollama/tags.json")),
            ("/api/show", include_str!("../../recordings/ollama/show.json")),
        ],
        models: vec![("llama3.2:latest", Some(131_072), [&CHAT[..1], &["vision"], &CHAT[1..]].concat())],
        embeddings: Some(("/api/embed", include_str!("../../recordings/ollama/embeddings.json"))),
    }
}
