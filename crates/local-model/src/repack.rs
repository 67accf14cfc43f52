//! Q4_1, Q4_0 for which the engine has no fast kernel on every machine, and the like become Q8_0.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value, write};
use candle_core::quantized::{GgmlDType, QTensor};

use crate::error::EngineError;

/// `general.file_type` of a file that is mostly Q8_0.
const FILE_TYPE_Q8_0: u32 = 7;

/// The types that are computed much slower than Q8_0: 26 tokens a second where Q8_0 gives 60.
const fn is_slow(kind: GgmlDType) -> bool {
    matches!(kind, GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 | GgmlDType::Q8_1)
}

/// Whether a file gains from [`repack`].
pub fn wants_repack(path: &Path) -> Result<bool, EngineError> {
    let content = read(path)?.0;
    Ok(content.tensor_infos.values().any(|tensor| is_slow(tensor.ggml_dtype)))
}

/// Writes `from` to `to` with every slow tensor as Q8_0. The same input gives the same bytes.
/// Needs the whole target in memory.
pub fn repack(from: &Path, to: &Path) -> Result<(), EngineError> {
    let (content, mut file) = read(from)?;
    let device = Device::Cpu;
    let mut names: Vec<&String> = content.tensor_infos.keys().collect();
    names.sort();
    let mut tensors = Vec::with_capacity(names.len());
    for name in &names {
        let tensor = content.tensor(&mut file, name, &device)?;
        tensors.push(if is_slow(tensor.dtype()) {
            QTensor::quantize(&tensor.dequantize(&device)?, GgmlDType::Q8_0)?
        } else {
            tensor
        });
    }
    let file_type = Value::U32(FILE_TYPE_Q8_0);
    let mut facts: Vec<(&str, &Value)> = content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    // The target is written with the default alignment.
    facts.retain(|(key, _)| *key != "general.file_type" && *key != "general.alignment");
    facts.push(("general.file_type", &file_type));
    facts.sort_by_key(|(key, _)| *key);
    let named: Vec<(&str, &QTensor)> = names.iter().map(|name| name.as_str()).zip(&tensors).collect();
    let failed = |source| EngineError::Read { path: to.to_owned(), source };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(to).map_err(failed)?);
    write(&mut out, &facts, &named)?;
    out.flush().map_err(failed)
}

fn read(path: &Path) -> Result<(Content, BufReader<File>), EngineError> {
    let file = File::open(path).map_err(|source| EngineError::Read { path: path.to_owned(), source })?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let unusable =
        |error: candle_core::Error| EngineError::Unusable { path: path.to_owned(), reason: error.to_string() };
    Ok((Content::read(&mut file).map_err(unusable)?, file))
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    #[test]
    fn slow_tensors_become_q8_0_and_everything_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to, again) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        let values: Vec<f32> = (0..64_u8).map(|index| f32::from(index) / 8.0).collect();
        let plain = Tensor::from_vec(values.clone(), (2, 32), &Device::Cpu).unwrap();
        let slow = QTensor::quantize(&plain, GgmlDType::Q4_1).unwrap();
        let fast = QTensor::quantize(&plain, GgmlDType::F32).unwrap();
        let facts =
            [("general.file_type", &Value::U32(3)), ("b", &Value::String("text".into())), ("a", &Value::Bool(true))];
        write(&mut File::create(&from).unwrap(), &facts, &[("slow", &slow), ("fast", &fast)]).unwrap();

        assert!(wants_repack(&from).unwrap());
        repack(&from, &to).unwrap();
        assert!(!wants_repack(&to).unwrap());
        repack(&from, &again).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(&again).unwrap());

        let (content, mut file) = read(&to).unwrap();
        assert_eq!(content.metadata["general.file_type"].to_u32().unwrap(), FILE_TYPE_Q8_0);
        assert_eq!(content.metadata["b"].to_string().unwrap(), "text");
        let packed = content.tensor(&mut file, "slow", &Device::Cpu).unwrap();
        assert_eq!(packed.dtype(), GgmlDType::Q8_0);
        let before = slow.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let after = packed.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 0.05), "{before:?} {after:?}");
        let kept = content.tensor(&mut file, "fast", &Device::Cpu).unwrap();
        assert_eq!(kept.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), values);
    }

    #[test]
    fn a_file_that_is_no_model_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "hello").unwrap();
        let error = wants_repack(&path).unwrap_err().to_string();
        assert!(error.contains("notes.txt"), "{error}");
    }
}
