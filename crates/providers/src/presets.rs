//! What is generally known of well-known model families, by the beginning of the id.
//!
//! A vendor's own list and the configuration both overrule this table. Numbers are tokens as the
//! vendors publish them; where members of a family differ, the smaller one stands here.

use crate::provider::Capabilities;

/// What the table says of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preset {
    pub context_window: Option<u32>,
    pub max_output_tokens: Option<u32>,
    pub capabilities: Capabilities,
}

const TEXT: Capabilities = Capabilities::CHAT;
const SEES: Capabilities = Capabilities { vision: true, ..TEXT };
const THINKS: Capabilities = Capabilities { thinking: true, ..TEXT };
const SEES_AND_THINKS: Capabilities = Capabilities { vision: true, thinking: true, ..TEXT };
const EMBEDS: Capabilities = Capabilities { embeddings: true, ..NOTHING };
/// Speech, pictures, moderation: listed by vendors, of no use here.
const NOTHING: Capabilities =
    Capabilities { chat: false, vision: false, tools: false, thinking: false, streaming: false, embeddings: false };

const K: u32 = 1024;

/// Beginning of the id, context window, longest answer, capabilities. 0 = not known.
const TABLE: &[(&str, u32, u32, Capabilities)] = &[
    ("all-minilm", 512, 0, EMBEDS),
    ("bge-", 8 * K, 0, EMBEDS),
    ("claude-", 200_000, 32_000, SEES_AND_THINKS),
    ("claude-3-", 200_000, 4096, SEES),
    ("claude-3-5-", 200_000, 8192, SEES),
    ("claude-3-7-", 200_000, 64_000, SEES_AND_THINKS),
    ("claude-haiku-4", 200_000, 64_000, SEES_AND_THINKS),
    ("claude-opus-4-5", 200_000, 64_000, SEES_AND_THINKS),
    ("claude-opus-4-6", 200_000, 128_000, SEES_AND_THINKS),
    ("claude-opus-4-7", 200_000, 128_000, SEES_AND_THINKS),
    ("claude-opus-4-8", 200_000, 128_000, SEES_AND_THINKS),
    ("claude-sonnet-", 200_000, 64_000, SEES_AND_THINKS),
    ("codestral", 256 * K, 0, TEXT),
    ("command-a", 256_000, 8_000, TEXT),
    ("command-r", 128_000, 4_000, TEXT),
    ("dall-e", 0, 0, NOTHING),
    ("deepseek-chat", 128 * K, 8 * K, TEXT),
    ("deepseek-r1", 128 * K, 32 * K, THINKS),
    ("deepseek-reasoner", 128 * K, 64 * K, THINKS),
    ("deepseek-v3", 128 * K, 8 * K, TEXT),
    ("devstral", 128 * K, 0, TEXT),
    ("gemini-", 1024 * K, 8 * K, SEES),
    ("gemini-2.5", 1024 * K, 64 * K, SEES_AND_THINKS),
    ("gemini-3", 1024 * K, 64 * K, SEES_AND_THINKS),
    ("gemini-embedding", 2 * K, 0, EMBEDS),
    ("gemma3", 128 * K, 8 * K, SEES),
    ("gemma-3", 128 * K, 8 * K, SEES),
    ("glm-4", 128_000, 96_000, THINKS),
    ("gpt-3.5", 16_385, 4096, TEXT),
    ("gpt-4", 8192, 4096, TEXT),
    ("gpt-4-turbo", 128_000, 4096, SEES),
    ("gpt-4.1", 1_047_576, 32_768, SEES),
    ("gpt-4o", 128_000, 16_384, SEES),
    ("gpt-5", 400_000, 128_000, SEES_AND_THINKS),
    ("gpt-5-chat", 128_000, 16_384, SEES),
    ("gpt-audio", 0, 0, NOTHING),
    ("gpt-image", 0, 0, NOTHING),
    ("gpt-oss", 128 * K, 32 * K, THINKS),
    ("gpt-realtime", 0, 0, NOTHING),
    ("grok-3", 128 * K, 0, TEXT),
    ("grok-3-mini", 128 * K, 0, THINKS),
    ("grok-4", 256_000, 0, SEES_AND_THINKS),
    ("imagen", 0, 0, NOTHING),
    ("kimi-k2", 256 * K, 0, TEXT),
    ("kimi-k2-thinking", 256 * K, 0, THINKS),
    ("llama-3", 128 * K, 0, TEXT),
    ("llama-4", 128 * K, 0, SEES),
    ("llama3", 8 * K, 0, TEXT),
    ("llama3.1", 128 * K, 0, TEXT),
    ("llama3.2", 128 * K, 0, TEXT),
    ("llama3.3", 128 * K, 0, TEXT),
    ("magistral", 128 * K, 40_000, THINKS),
    ("ministral", 128 * K, 0, TEXT),
    ("mistral-", 32 * K, 0, TEXT),
    ("mistral-embed", 8 * K, 0, EMBEDS),
    ("mistral-large", 128 * K, 0, TEXT),
    ("mistral-medium", 128 * K, 0, SEES),
    ("mistral-small", 128 * K, 0, SEES),
    ("mxbai-embed", 512, 0, EMBEDS),
    ("nomic-embed", 2 * K, 0, EMBEDS),
    ("o1", 200_000, 100_000, SEES_AND_THINKS),
    ("o3", 200_000, 100_000, SEES_AND_THINKS),
    ("o3-mini", 200_000, 100_000, THINKS),
    ("o4-mini", 200_000, 100_000, SEES_AND_THINKS),
    ("omni-moderation", 0, 0, NOTHING),
    ("phi4", 16 * K, 0, TEXT),
    ("phi-4", 16 * K, 0, TEXT),
    ("qwen2.5", 32 * K, 8 * K, TEXT),
    ("qwen3", 40 * K, 0, THINKS),
    ("qwq", 128 * K, 0, THINKS),
    ("smollm", 8 * K, 0, TEXT),
    ("sora", 0, 0, NOTHING),
    ("text-embedding-", 8191, 0, EMBEDS),
    ("text-moderation", 0, 0, NOTHING),
    ("tts-", 0, 0, NOTHING),
    ("veo", 0, 0, NOTHING),
    ("whisper", 0, 0, NOTHING),
];

/// The entry with the longest beginning that `id` has, with or without a vendor's name and slash
/// before it. An id that speaks of embeddings makes embeddings.
pub(crate) fn preset(id: &str) -> Option<Preset> {
    let id = bare_id(id);
    let found =
        TABLE.iter().filter(|(beginning, ..)| id.starts_with(beginning)).max_by_key(|(beginning, ..)| beginning.len());
    let known = |tokens: u32| (tokens > 0).then_some(tokens);
    match found {
        Some(&(_, context, output, capabilities)) => {
            Some(Preset { context_window: known(context), max_output_tokens: known(output), capabilities })
        }
        None if id.contains("embed") => {
            Some(Preset { context_window: None, max_output_tokens: None, capabilities: EMBEDS })
        }
        None => None,
    }
}

/// The id without the names before it (`openai/gpt-5` → `gpt-5`), in lower case.
pub(crate) fn bare_id(id: &str) -> String {
    id.rsplit('/').next().unwrap_or(id).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_wins() {
        let tokens = |id| preset(id).and_then(|preset| preset.max_output_tokens);
        assert_eq!(tokens("claude-3-7-sonnet-20250219"), Some(64_000));
        assert_eq!(tokens("claude-3-haiku-20240307"), Some(4096));
        assert_eq!(tokens("anthropic/claude-Sonnet-4.5"), Some(64_000));
        assert_eq!(tokens("gpt-4o-mini"), Some(16_384));
    }

    #[test]
    fn embedders_are_known_by_their_names() {
        assert_eq!(preset("BAAI/bge-m3").unwrap().capabilities, EMBEDS);
        assert_eq!(preset("snowflake-arctic-embed2").unwrap().capabilities, EMBEDS);
        assert_eq!(preset("my-own-model"), None);
    }

    #[test]
    fn no_beginning_stands_twice() {
        let mut beginnings: Vec<&str> = TABLE.iter().map(|(beginning, ..)| *beginning).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        assert_eq!(beginnings.len(), TABLE.len());
    }
}
