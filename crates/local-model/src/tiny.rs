//! A made-up model of a few kilobytes for tests: one layer, a vocabulary of the 256 bytes and a few pieces.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use candle_core::quantized::gguf_file::{Content, Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::catalogue::{CHAT_FILE, ModelKind};
use crate::manifest::{self, InstalledFile, Manifest, sha256_of};
use crate::template::CHATML;
use crate::vocabulary::Vocabulary;

pub const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const PIECES: [(&str, &str); 6] = [("h", "e"), ("l", "l"), ("he", "ll"), ("\"", ":"), ("{", "\""), ("Ġ", "t")];
const WIDTH: usize = 32;
const INNER: usize = 64;

fn spelled(byte: u8) -> char {
    let itself = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    if itself(byte) {
        return char::from(byte);
    }
    let place = (0..byte).filter(|other| !itself(*other)).count();
    char::from_u32(256 + u32::try_from(place).unwrap()).unwrap()
}

fn texts(texts: impl IntoIterator<Item = String>) -> Value {
    Value::Array(texts.into_iter().map(Value::String).collect())
}

pub fn tokens() -> Vec<String> {
    let control = CONTROL.iter().map(|text| (*text).to_owned());
    let bytes = (0..=u8::MAX).map(|byte| spelled(byte).to_string());
    control.chain(bytes).chain(PIECES.iter().map(|(a, b)| format!("{a}{b}"))).collect()
}

fn facts() -> Vec<(&'static str, Value)> {
    let tokens = tokens();
    let kinds = (0..tokens.len()).map(|id| Value::I32(if id < CONTROL.len() { 3 } else { 1 })).collect();
    vec![
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", Value::U32(1)),
        ("llama.context_length", Value::U32(512)),
        ("llama.embedding_length", Value::U32(32)),
        ("llama.attention.head_count", Value::U32(2)),
        ("llama.attention.head_count_kv", Value::U32(1)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("smollm".into())),
        ("tokenizer.ggml.tokens", texts(tokens)),
        ("tokenizer.ggml.token_type", Value::Array(kinds)),
        ("tokenizer.ggml.merges", texts(PIECES.iter().map(|(a, b)| format!("{a} {b}")))),
        ("tokenizer.ggml.eos_token_id", Value::U32(2)),
        ("tokenizer.chat_template", Value::String(CHATML.into())),
    ]
}

/// Deterministic values between -0.5 and 0.5.
fn noise(rows: usize, columns: usize, seed: u64) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 65_535.0 - 0.5
    };
    let values: Vec<f32> = (0..rows * columns).map(|_| next()).collect();
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

/// Writes the model with its matrices packed as `kind`.
pub fn write_model(path: &Path, kind: GgmlDType) {
    let matrix = |rows, columns, seed| QTensor::quantize(&noise(rows, columns, seed), kind).unwrap();
    let norm = || {
        QTensor::quantize(&Tensor::ones(WIDTH, candle_core::DType::F32, &Device::Cpu).unwrap(), GgmlDType::F32).unwrap()
    };
    let tensors = [
        ("token_embd.weight", matrix(tokens().len(), WIDTH, 1)),
        ("output_norm.weight", norm()),
        ("blk.0.attn_norm.weight", norm()),
        ("blk.0.ffn_norm.weight", norm()),
        ("blk.0.attn_q.weight", matrix(WIDTH, WIDTH, 2)),
        ("blk.0.attn_k.weight", matrix(WIDTH / 2, WIDTH, 3)),
        ("blk.0.attn_v.weight", matrix(WIDTH / 2, WIDTH, 4)),
        ("blk.0.attn_output.weight", matrix(WIDTH, WIDTH, 5)),
        ("blk.0.ffn_gate.weight", matrix(INNER, WIDTH, 6)),
        ("blk.0.ffn_up.weight", matrix(INNER, WIDTH, 7)),
        ("blk.0.ffn_down.weight", matrix(WIDTH, INNER, 8)),
    ];
    let facts = facts();
    let facts: Vec<(&str, &Value)> = facts.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    write(&mut File::create(path).unwrap(), &facts, &tensors).unwrap();
}

pub fn vocabulary() -> Arc<Vocabulary> {
    static MADE: OnceLock<Arc<Vocabulary>> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        write_model(&path, GgmlDType::F32);
        let content = Content::read(&mut File::open(&path).unwrap()).unwrap();
        Arc::new(Vocabulary::read(&content).unwrap())
    };
    Arc::clone(MADE.get_or_init(make))
}

/// Puts the model into a models folder under a name.
pub fn install_as(models_dir: &Path, name: &str) {
    let folder = models_dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(CHAT_FILE);
    write_model(&path, GgmlDType::Q8_0);
    let file = InstalledFile {
        name: CHAT_FILE.into(),
        bytes: std::fs::metadata(&path).unwrap().len(),
        sha256: sha256_of(&path).unwrap(),
    };
    let manifest = Manifest {
        name: name.into(),
        kind: ModelKind::Chat,
        about: "tiny".into(),
        licence: "none".into(),
        source: "test".into(),
        files: vec![file],
    };
    manifest::write(&folder, &manifest).unwrap();
}
