//! The tokens of a model file: text to ids, ids to bytes. Byte-level BPE only.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf as _;
use tokenizers::Tokenizer;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use crate::error::EngineError;
use crate::grammar::TokenOrder;

/// `tokenizer.ggml.token_type` of tokens that stand for no text.
const CONTROL: u64 = 3;
/// Tokens that end an answer in one model family or the other, beside the file's own `eos`.
const END_TEXTS: [&str; 5] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>"];

pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// Bytes by id, empty for control tokens.
    pieces: Vec<Box<[u8]>>,
    /// Texts of control tokens.
    control: Vec<String>,
    ends: Vec<u32>,
    order: OnceLock<Arc<TokenOrder>>,
}

impl Vocabulary {
    pub fn read(content: &Content) -> Result<Self, EngineError> {
        let facts = &content.metadata;
        let model = facts.get("tokenizer.ggml.model").and_then(|value| value.to_string().ok());
        if model.is_none_or(|model| model != "gpt2") {
            let model = model.map_or("none", String::as_str);
            return Err(EngineError::Vocabulary(format!(
                "it is of the kind `{model}`, only byte-level `gpt2` is supported"
            )));
        }
        let tokenizer = tokenizer(content)?;
        let texts = array(content, "tokenizer.ggml.tokens")?;
        let kinds = array(content, "tokenizer.ggml.token_type").unwrap_or_default();
        let mut pieces = Vec::with_capacity(texts.len());
        let mut control = Vec::new();
        let mut ends: Vec<u32> = facts.get("tokenizer.ggml.eos_token_id").and_then(number).into_iter().collect();
        let bytes_of = byte_table();
        for (id, text) in (0_u32..).zip(texts) {
            let text = text.to_string().map_err(|_| EngineError::Vocabulary(format!("token {id} is not text")))?;
            let is_control = kinds.get(id as usize).and_then(whole).is_some_and(|kind| kind == CONTROL);
            if is_control {
                if END_TEXTS.contains(&text.as_str()) && !ends.contains(&id) {
                    ends.push(id);
                }
                control.push(text.clone());
                pieces.push(Box::from([]));
            } else {
                pieces.push(
                    text.chars()
                        .map(&bytes_of)
                        .collect::<Option<Vec<u8>>>()
                        .unwrap_or_else(|| text.clone().into_bytes())
                        .into(),
                );
            }
        }
        Ok(Self { tokenizer, pieces, control, ends, order: OnceLock::new() })
    }

    /// Control texts such as `<|im_end|>` become their tokens; see [`Vocabulary::disarm`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let encoding =
            self.tokenizer.encode_fast(text, false).map_err(|error| EngineError::Vocabulary(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The bytes of a token, empty for control tokens and unknown ids.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id as usize).map_or(&[], |piece| piece)
    }

    pub fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub fn has_control(&self, text: &str) -> bool {
        self.control.iter().any(|known| known == text)
    }

    /// The vocabulary sorted for masks; made at the first call, about 20 ms for 50,000 tokens.
    pub fn order(&self) -> Arc<TokenOrder> {
        Arc::clone(self.order.get_or_init(|| Arc::new(TokenOrder::new(&self.pieces))))
    }

    /// `text` with control texts broken up, so that nobody can end a message and begin another role's
    /// by writing `<|im_end|>` in it.
    pub fn disarm<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for control in self.control.iter().filter(|control| control.len() > 1) {
            if text.contains(control.as_str()) {
                let first = control.chars().next().map_or(1, char::len_utf8);
                let broken = format!("{} {}", &control[..first], &control[first..]);
                text = Cow::Owned(text.replace(control.as_str(), &broken));
            }
        }
        text
    }
}

fn tokenizer(content: &Content) -> Result<Tokenizer, EngineError> {
    let unusable = |error: candle_core::Error| EngineError::Vocabulary(error.to_string());
    let mut tokenizer = Tokenizer::from_gguf(content).map_err(unusable)?;
    let split = content.metadata.get("tokenizer.ggml.pre").and_then(|value| value.to_string().ok());
    let known =
        split.is_some_and(|split| ["qwen2", "llama3", "smaug-bpe", "lfm2", "llama-bpe"].contains(&split.as_str()));
    if !known {
        // The engine's fallback adds a space in front. SmolLM2 also reads numbers digit by digit.
        let bytes = PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true));
        let digits = PreTokenizerWrapper::Digits(Digits::new(true));
        let is_smollm = split.is_some_and(|split| split == "smollm");
        let steps = if is_smollm { vec![digits, bytes] } else { vec![bytes] };
        tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    }
    Ok(tokenizer)
}

fn array<'c>(content: &'c Content, key: &'static str) -> Result<&'c [Value], EngineError> {
    match content.metadata.get(key) {
        Some(Value::Array(values)) => Ok(values),
        _ => Err(EngineError::MissingFact(key)),
    }
}

fn number(value: &Value) -> Option<u32> {
    whole(value).and_then(|number| u32::try_from(number).ok())
}

/// Any of the file's integer types; writers do not agree on one.
fn whole(value: &Value) -> Option<u64> {
    value.to_u64().ok().or_else(|| match value {
        Value::I8(number) => u64::try_from(*number).ok(),
        Value::I16(number) => u64::try_from(*number).ok(),
        Value::I32(number) => u64::try_from(*number).ok(),
        Value::I64(number) => u64::try_from(*number).ok(),
        _ => None,
    })
}

/// GPT-2's spelling of bytes as printable characters, read backwards: printable Latin-1 stands for itself,
/// the other bytes in order for the characters from U+0100 on.
fn byte_table() -> impl Fn(char) -> Option<u8> {
    let itself = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let others: Vec<u8> = (0..=u8::MAX).filter(|byte| !itself(*byte)).collect();
    move |character| match u32::from(character) {
        code @ 0..=255 => u8::try_from(code).ok().filter(|byte| itself(*byte)),
        code => others.get(code as usize - 256).copied(),
    }
}

#[cfg(test)]
mod tests {
    use crate::tiny;

    #[test]
    fn text_becomes_tokens_and_their_bytes_the_text_again() {
        let vocabulary = tiny::vocabulary();
        for text in ["hello the 2026 größe 日本 \n\t\0", "", "<|im_end|"] {
            let tokens = vocabulary.encode(text).unwrap();
            let bytes: Vec<u8> = tokens.iter().flat_map(|id| vocabulary.piece(*id).to_vec()).collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
        assert_eq!(vocabulary.encode("hell").unwrap().len(), 1);
        assert!(vocabulary.piece(99_999).is_empty());
    }

    #[test]
    fn control_texts_are_tokens_unless_a_user_wrote_them() {
        let vocabulary = tiny::vocabulary();
        let tokens = vocabulary.encode("<|im_start|>he<|im_end|>").unwrap();
        assert_eq!((tokens.len(), tokens[0], tokens[2]), (3, 1, 2));
        assert!(vocabulary.is_end(2) && vocabulary.is_end(0) && !vocabulary.is_end(1));
        let harmless = vocabulary.disarm("a <|im_end|> b <|im_start|>");
        assert!(vocabulary.encode(&harmless).unwrap().iter().all(|id| *id > 2));
        assert_eq!(vocabulary.disarm("a < b"), "a < b");
    }
}
