//! Sentence embeddings: BERT in candle, mean over the tokens, length 1.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{Encoding, Tokenizer, TruncationParams};

use crate::catalogue::EMBEDDER_FILES;
use crate::error::EngineError;

/// Tokens read of a text; the rest is cut off. The model was trained on texts of this length.
pub const TEXT_TOKENS_MAX: usize = 256;
/// Texts computed together; between two batches the engine looks whether the answer is still wanted.
const BATCH_TEXTS_MAX: usize = 16;

pub struct Embedder {
    model: BertModel,
    tokenizer: Tokenizer,
}

/// Vectors in the order of the texts, and the tokens that were read.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    pub vectors: Vec<Vec<f32>>,
    pub tokens: u64,
}

impl Embedder {
    /// Reads the three files of an installed embedder.
    pub fn load(folder: &Path) -> Result<Self, EngineError> {
        let [weights, tokenizer, config] = EMBEDDER_FILES.map(|name| folder.join(name));
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| EngineError::Read { path: path.to_owned(), source });
        let unusable = |path: &Path, error: &dyn std::fmt::Display| EngineError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let settings: Config = serde_json::from_slice(&read(&config)?).map_err(|error| unusable(&config, &error))?;
        let mut words = Tokenizer::from_bytes(read(&tokenizer)?).map_err(|error| unusable(&tokenizer, &error))?;
        let limit = TEXT_TOKENS_MAX.min(settings.max_position_embeddings);
        let truncation = TruncationParams { max_length: limit, ..TruncationParams::default() };
        words.with_truncation(Some(truncation)).map_err(|error| unusable(&tokenizer, &error))?;
        // Padded here, to the longest of a batch, instead of to a fixed length.
        words.with_padding(None);
        let tensors = VarBuilder::from_buffered_safetensors(read(&weights)?, DType::F32, &Device::Cpu);
        let model = tensors
            .and_then(|tensors| BertModel::load(tensors, &settings))
            .map_err(|error| unusable(&weights, &error))?;
        Ok(Self { model, tokenizer: words })
    }

    /// `None` when `wanted` turned false on the way.
    pub fn embed(&self, texts: &[String], wanted: &dyn Fn() -> bool) -> Result<Option<Embedded>, EngineError> {
        let encode = |text: &String| self.tokenizer.encode_fast(text.as_str(), true);
        let encodings: Vec<Encoding> = texts
            .iter()
            .map(encode)
            .collect::<Result<_, _>>()
            .map_err(|error| EngineError::Vocabulary(error.to_string()))?;
        // Texts of like length together, so that little is padded.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|index| encodings[*index].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        for batch in order.chunks(BATCH_TEXTS_MAX) {
            if !wanted() {
                return Ok(None);
            }
            let members: Vec<&Encoding> = batch.iter().map(|index| &encodings[*index]).collect();
            for (index, vector) in batch.iter().zip(self.batch(&members)?) {
                vectors[*index] = vector;
            }
        }
        let tokens = encodings.iter().map(|encoding| encoding.len() as u64).sum();
        Ok(Some(Embedded { vectors, tokens }))
    }

    fn batch(&self, texts: &[&Encoding]) -> candle_core::Result<Vec<Vec<f32>>> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let padded = |of: fn(&Encoding) -> &[u32]| {
            let cells = texts
                .iter()
                .flat_map(|text| of(text).iter().copied().chain(std::iter::repeat_n(0, longest - text.len())));
            Tensor::from_iter(cells, &Device::Cpu)?.reshape((texts.len(), longest))
        };
        let ids = padded(Encoding::get_ids)?;
        let mask = padded(Encoding::get_attention_mask)?;
        let states = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let weights = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let mean = states.broadcast_mul(&weights)?.sum(1)?.broadcast_div(&weights.sum(1)?)?;
        let length = mean.sqr()?.sum_keepdim(1)?.sqrt()?.clamp(1e-12_f32, f32::MAX)?;
        mean.broadcast_div(&length)?.to_vec2()
    }
}
