//! A chat model out of one GGUF file: weights, vocabulary and chat template.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};

use crate::error::EngineError;
use crate::llama::{Llama, Shape};
use crate::template::{CHATML, ChatTemplate};
use crate::vocabulary::Vocabulary;

/// Models with fewer weights than this follow no instructions worth sending.
const SMALL_WEIGHTS_MAX: usize = 1_000_000_000;

/// What a file says of itself, without its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub weights: usize,
    /// Tokens that the model was trained to read.
    pub context: usize,
    pub shape: Shape,
}

impl Facts {
    /// Too small to follow a system text.
    pub fn is_small(&self) -> bool {
        self.weights < SMALL_WEIGHTS_MAX
    }
}

/// A loaded chat model.
pub struct ChatModel {
    pub vocabulary: Vocabulary,
    pub template: ChatTemplate,
    pub facts: Facts,
    /// Tokens of prompt and answer together.
    pub window: usize,
    pub llama: Llama,
}

impl ChatModel {
    /// Reads the whole file. `window` is cut to what the model was trained for.
    pub fn load(path: &Path, window: usize) -> Result<Self, EngineError> {
        let (content, mut file) = open(path)?;
        let facts = facts(&content)?;
        let vocabulary = Vocabulary::read(&content)?;
        let template = template(&content, &vocabulary)?;
        let window = window.min(facts.context);
        let llama = Llama::load(&content, &mut file, facts.shape, window).map_err(|error| unusable(path, error))?;
        Ok(Self { vocabulary, template, facts, window, llama })
    }
}

/// Checks, from its header alone, that a file can be run here.
pub fn inspect(path: &Path) -> Result<Facts, EngineError> {
    let (content, _) = open(path)?;
    let facts = facts(&content)?;
    let vocabulary = Vocabulary::read(&content)?;
    template(&content, &vocabulary)?;
    Ok(facts)
}

fn open(path: &Path) -> Result<(Content, BufReader<File>), EngineError> {
    let file = File::open(path).map_err(|source| EngineError::Read { path: path.to_owned(), source })?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let content = Content::read(&mut file).map_err(|error| unusable(path, error))?;
    Ok((content, file))
}

fn unusable(path: &Path, error: impl std::fmt::Display) -> EngineError {
    EngineError::Unusable { path: path.to_owned(), reason: error.to_string() }
}

fn facts(content: &Content) -> Result<Facts, EngineError> {
    let architecture = text(content, "general.architecture").ok_or(EngineError::MissingFact("general.architecture"))?;
    let experts = whole(content, "llama.expert_count").unwrap_or(0);
    if architecture != "llama" || experts > 1 {
        return Err(EngineError::Architecture(architecture.to_owned()));
    }
    let needed =
        |key: &'static str| whole(content, key).filter(|value| *value > 0).ok_or(EngineError::MissingFact(key));
    let float = |key: &'static str| content.metadata.get(key).and_then(|value| value.to_f32().ok());
    let heads = needed("llama.attention.head_count")?;
    let width = needed("llama.embedding_length")?;
    let head_size = whole(content, "llama.attention.key_length").unwrap_or(width / heads);
    let kv_heads = whole(content, "llama.attention.head_count_kv").unwrap_or(heads);
    let rotated = whole(content, "llama.rope.dimension_count").unwrap_or(head_size);
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) || rotated != head_size || !head_size.is_multiple_of(2) {
        return Err(EngineError::Architecture(format!("{architecture} with heads {heads}/{kv_heads} of {head_size}")));
    }
    let shape = Shape {
        layers: needed("llama.block_count")?,
        heads,
        kv_heads,
        head_size,
        width,
        norm_epsilon: float("llama.attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
        rope_base: float("llama.rope.freq_base").unwrap_or(10_000.0),
    };
    let weights = content.tensor_infos.values().map(|tensor| tensor.shape.elem_count()).sum();
    Ok(Facts { weights, context: needed("llama.context_length")?, shape })
}

fn text<'c>(content: &'c Content, key: &str) -> Option<&'c str> {
    content.metadata.get(key).and_then(|value| value.to_string().ok()).map(String::as_str)
}

fn whole(content: &Content, key: &str) -> Option<usize> {
    content.metadata.get(key).and_then(|value| value.to_u64().ok()).and_then(|value| usize::try_from(value).ok())
}

fn template(content: &Content, vocabulary: &Vocabulary) -> Result<ChatTemplate, EngineError> {
    let source = match text(content, "tokenizer.chat_template") {
        Some(source) => source,
        None if vocabulary.has_control("<|im_start|>") => CHATML,
        None => return Err(EngineError::MissingFact("tokenizer.chat_template")),
    };
    let token = |key: &str| {
        let Some(Value::Array(tokens)) = content.metadata.get("tokenizer.ggml.tokens") else { return None };
        tokens.get(whole(content, key)?)?.to_string().ok().cloned()
    };
    let bos = token("tokenizer.ggml.bos_token_id").unwrap_or_default();
    let eos = token("tokenizer.ggml.eos_token_id").unwrap_or_default();
    ChatTemplate::new(source, &bos, &eos)
}
