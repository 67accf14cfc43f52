//! The forward pass of a quantised llama, over candle's tensors.
//!
//! candle has one too; this one reads embedding rows from the quantised table instead of keeping it a second time
//! as floats (a third of the memory of a small model), cuts its cache back to where two conversations part instead
//! of starting over, and reads long prompts by multiplying unpacked weights (several times faster on x86-64).

use std::io::{Read, Seek};
use std::sync::Arc;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, IndexOp as _, Module as _, Result, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::rope_i;

use crate::error::EngineError;
use crate::generate::LanguageModel;

/// From this many tokens on, unpacking a weight once costs less than multiplying it packed, row by row.
const UNPACK_ROWS_MIN: usize = 16;

/// The numbers that describe a llama.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub width: usize,
    pub norm_epsilon: f32,
    pub rope_base: f32,
}

/// The weights, and the attention cache of the text computed last.
pub struct Llama {
    shape: Shape,
    embedding: Arc<QTensor>,
    blocks: Vec<Block>,
    norm: Tensor,
    output: QMatMul,
    /// `(window, head_size / 2)` each.
    cos: Tensor,
    sin: Tensor,
    window: usize,
    /// The tokens that the cache holds.
    fed: Vec<u32>,
}

struct Block {
    attention_norm: Tensor,
    query: Matrix,
    key: Matrix,
    value: Matrix,
    output: Matrix,
    feed_forward_norm: Tensor,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
    /// `(kv_heads, window, head_size)`; the first `fed` places are filled. Untouched memory is not resident.
    keys: Tensor,
    values: Tensor,
}

struct Matrix {
    packed: Arc<QTensor>,
    product: QMatMul,
}

impl Llama {
    /// Reads the weights. `window` is the longest text in tokens that will be fed.
    pub fn load<R: Read + Seek>(content: &Content, reader: &mut R, shape: Shape, window: usize) -> Result<Self> {
        let mut tensors = Tensors { content, reader };
        let embedding = Arc::new(tensors.packed("token_embd.weight")?);
        let output = match tensors.content.tensor_infos.contains_key("output.weight") {
            true => Arc::new(tensors.packed("output.weight")?),
            false => Arc::clone(&embedding),
        };
        let blocks =
            (0..shape.layers).map(|layer| Block::load(&mut tensors, layer, shape, window)).collect::<Result<_>>()?;
        let scales = match tensors.content.tensor_infos.contains_key("rope_freqs.weight") {
            true => tensors.plain("rope_freqs.weight")?.to_vec1::<f32>()?,
            false => Vec::new(),
        };
        let (cos, sin) = rotations(shape, window, &scales)?;
        let norm = tensors.plain("output_norm.weight")?;
        Ok(Self {
            shape,
            embedding,
            blocks,
            norm,
            output: QMatMul::from_arc(output)?,
            cos,
            sin,
            window,
            fed: Vec::new(),
        })
    }

    fn forward(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let (count, from) = (tokens.len(), self.fed.len());
        let mut state = self.embed(tokens)?;
        let place = Place {
            shape: self.shape,
            cos: self.cos.narrow(0, from, count)?,
            sin: self.sin.narrow(0, from, count)?,
            from,
            mask: mask(count, from)?,
        };
        for block in &mut self.blocks {
            let input = rms_norm(&state, &block.attention_norm, self.shape.norm_epsilon)?;
            state = (state + block.attend(&input, &place)?)?;
            let input = rms_norm(&state, &block.feed_forward_norm, self.shape.norm_epsilon)?;
            let gated = (silu(&block.gate.times(&input)?)? * block.up.times(&input)?)?;
            state = (state + block.down.times(&gated)?)?;
        }
        let last = rms_norm(&state.i(count - 1..)?.contiguous()?, &self.norm, self.shape.norm_epsilon)?;
        self.output.forward(&last)?.squeeze(0)?.to_vec1()
    }

    /// The rows of the tokens, unpacked.
    fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        let (rows, width) = self.embedding.shape().dims2()?;
        let table = self.embedding.data()?;
        let row_bytes = table.len() / rows;
        let mut packed = Vec::with_capacity(row_bytes * tokens.len());
        for token in tokens {
            let at = *token as usize * row_bytes;
            match table.get(at..at + row_bytes) {
                Some(row) => packed.extend_from_slice(row),
                None => candle_core::bail!("token {token} is not in the vocabulary of {rows}"),
            }
        }
        let storage = QStorage::from_data(packed.into(), &Device::Cpu, self.embedding.dtype())?;
        QTensor::new(storage, (tokens.len(), width))?.dequantize(&Device::Cpu)
    }
}

impl LanguageModel for Llama {
    fn begin(&mut self, prompt: &[u32]) -> usize {
        let common = self.fed.iter().zip(prompt).take_while(|(before, now)| before == now).count();
        // The last token is always computed: its logits are asked for.
        self.fed.truncate(common.min(prompt.len().saturating_sub(1)));
        self.fed.len()
    }

    fn feed(&mut self, tokens: &[u32]) -> std::result::Result<Vec<f32>, EngineError> {
        let tokens_after = self.fed.len() + tokens.len();
        if tokens_after > self.window {
            return Err(EngineError::TooLong { tokens: tokens_after, max: self.window });
        }
        // When it fails the cache holds garbage behind `fed`, which the next attempt overwrites.
        let logits = self.forward(tokens)?;
        self.fed.extend_from_slice(tokens);
        Ok(logits)
    }
}

/// Where in the text a portion stands.
struct Place {
    shape: Shape,
    cos: Tensor,
    sin: Tensor,
    from: usize,
    /// `None` for a single token, which sees all before it.
    mask: Option<Tensor>,
}

impl Block {
    fn load<R: Read + Seek>(tensors: &mut Tensors<'_, R>, layer: usize, shape: Shape, window: usize) -> Result<Self> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let cache = || Tensor::zeros((shape.kv_heads, window, shape.head_size), DType::F32, &Device::Cpu);
        Ok(Self {
            attention_norm: tensors.plain(&name("attn_norm"))?,
            query: tensors.matrix(&name("attn_q"))?,
            key: tensors.matrix(&name("attn_k"))?,
            value: tensors.matrix(&name("attn_v"))?,
            output: tensors.matrix(&name("attn_output"))?,
            feed_forward_norm: tensors.plain(&name("ffn_norm"))?,
            gate: tensors.matrix(&name("ffn_gate"))?,
            up: tensors.matrix(&name("ffn_up"))?,
            down: tensors.matrix(&name("ffn_down"))?,
            keys: cache()?,
            values: cache()?,
        })
    }

    fn attend(&mut self, input: &Tensor, place: &Place) -> Result<Tensor> {
        let Shape { heads, kv_heads, head_size, .. } = place.shape;
        let count = input.dim(0)?;
        let by_head =
            |rows: Tensor, heads: usize| rows.reshape((1, count, heads, head_size))?.transpose(1, 2)?.contiguous();
        let turn = |rows: Tensor, heads: usize| rope_i(&by_head(rows, heads)?, &place.cos, &place.sin)?.squeeze(0);
        let query = turn(self.query.times(input)?, heads)?;
        let key = turn(self.key.times(input)?, kv_heads)?;
        let value = by_head(self.value.times(input)?, kv_heads)?.squeeze(0)?;
        self.keys.slice_set(&key, 1, place.from)?;
        self.values.slice_set(&value, 1, place.from)?;
        let len = place.from + count;
        let keys = self.keys.narrow(1, 0, len)?;
        let values = self.values.narrow(1, 0, len)?;

        // Heads that share keys stand together, so one product serves them all.
        let group = heads / kv_heads;
        #[allow(clippy::cast_precision_loss, reason = "a head has a few hundred dimensions")]
        let scale = 1.0 / (head_size as f64).sqrt();
        let query = (query.reshape((kv_heads, group * count, head_size))? * scale)?;
        let mut scores = query.matmul(&keys.t()?)?;
        if let Some(mask) = &place.mask {
            scores = scores.reshape((kv_heads * group, count, len))?.broadcast_add(mask)?.reshape((
                kv_heads,
                group * count,
                len,
            ))?;
        }
        let mixed = softmax_last_dim(&scores)?.matmul(&values)?;
        let mixed = mixed.reshape((heads, count, head_size))?.transpose(0, 1)?.reshape((count, heads * head_size))?;
        self.output.times(&mixed)
    }
}

impl Matrix {
    /// `input` is `(rows, in)`, the result `(rows, out)`.
    fn times(&self, input: &Tensor) -> Result<Tensor> {
        if input.dim(0)? < UNPACK_ROWS_MIN {
            return self.product.forward(input);
        }
        input.matmul(&self.packed.dequantize(&Device::Cpu)?.t()?)
    }
}

struct Tensors<'a, R> {
    content: &'a Content,
    reader: &'a mut R,
}

impl<R: Read + Seek> Tensors<'_, R> {
    fn packed(&mut self, name: &str) -> Result<QTensor> {
        self.content.tensor(self.reader, name, &Device::Cpu)
    }

    fn plain(&mut self, name: &str) -> Result<Tensor> {
        self.packed(name)?.dequantize(&Device::Cpu)
    }

    fn matrix(&mut self, name: &str) -> Result<Matrix> {
        let packed = Arc::new(self.packed(name)?);
        Ok(Matrix { product: QMatMul::from_arc(Arc::clone(&packed))?, packed })
    }
}

/// Cosines and sines of the rotary positions; `scales` divide the frequencies of models trained for long texts.
#[allow(clippy::cast_precision_loss, reason = "positions and dimensions are small")]
fn rotations(shape: Shape, window: usize, scales: &[f32]) -> Result<(Tensor, Tensor)> {
    let half = shape.head_size / 2;
    let frequency = |index: usize| {
        let plain = shape.rope_base.powf(-2.0 * index as f32 / shape.head_size as f32);
        plain / scales.get(index).copied().unwrap_or(1.0)
    };
    let frequencies = Tensor::from_iter((0..half).map(frequency), &Device::Cpu)?.reshape((1, half))?;
    let positions =
        Tensor::from_iter((0..window).map(|position| position as f32), &Device::Cpu)?.reshape((window, 1))?;
    let angles = positions.matmul(&frequencies)?;
    Ok((angles.cos()?, angles.sin()?))
}

/// Minus infinity where a token would see one behind it; `(count, from + count)`.
fn mask(count: usize, from: usize) -> Result<Option<Tensor>> {
    if count == 1 {
        return Ok(None);
    }
    let len = from + count;
    let sees = |row: usize, column: usize| if column <= from + row { 0.0 } else { f32::NEG_INFINITY };
    let cells: Vec<f32> = (0..count).flat_map(|row| (0..len).map(move |column| sees(row, column))).collect();
    Tensor::from_vec(cells, (count, len), &Device::Cpu).map(Some)
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use crate::chat_model::ChatModel;
    use crate::generate::LanguageModel as _;
    use crate::tiny;

    fn load(kind: GgmlDType) -> ChatModel {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        tiny::write_model(&path, kind);
        ChatModel::load(&path, 256).unwrap()
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
    }

    #[test]
    fn however_a_text_is_fed_the_logits_are_the_same() {
        let text: Vec<u32> = (10..60).collect();
        let mut model = load(GgmlDType::F32);
        assert_eq!(model.llama.begin(&text), 0);
        let whole = model.llama.feed(&text).unwrap();
        assert_eq!(whole.len(), tiny::tokens().len());

        let mut again = load(GgmlDType::F32);
        again.llama.begin(&text);
        again.llama.feed(&text[..20]).unwrap();
        let mut logits = again.llama.feed(&text[20..47]).unwrap();
        for token in &text[47..] {
            logits = again.llama.feed(&[*token]).unwrap();
        }
        assert!(close(&whole, &logits));
    }

    #[test]
    fn a_text_that_parts_from_the_last_one_keeps_the_common_beginning_only() {
        let first: Vec<u32> = (10..50).collect();
        let second: Vec<u32> = (10..30).chain(100..120).collect();
        let mut model = load(GgmlDType::Q8_0);
        model.llama.begin(&first);
        model.llama.feed(&first).unwrap();
        assert_eq!(model.llama.begin(&second), 20);
        let kept = model.llama.feed(&second[20..]).unwrap();
        let mut fresh = load(GgmlDType::Q8_0);
        fresh.llama.begin(&second);
        let logits = fresh.llama.feed(&second).unwrap();
        assert!(close(&kept, &logits));
        // The same text again: its last token is computed anew.
        assert_eq!(fresh.llama.begin(&second), second.len() - 1);
    }

    #[test]
    fn a_text_longer_than_the_window_and_unknown_tokens_are_errors() {
        let mut model = load(GgmlDType::F32);
        model.llama.begin(&[1]);
        assert!(model.llama.feed(&vec![5; 257]).unwrap_err().to_string().contains("256"));
        assert!(model.llama.feed(&[99_999]).unwrap_err().to_string().contains("99999"));
    }
}
