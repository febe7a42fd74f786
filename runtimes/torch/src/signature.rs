//! What a model takes and gives, as the archive's extra file says it.
//!
//! The archive is a ZIP file, so that the extra file is read, and much nonsense refused, before libtorch sees it.

use std::fs::File;
use std::io::Read;

use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec};
use serde::Deserialize;
use tch::Kind;
use zip::ZipArchive;

/// The extra file's name, as it is given to `torch.jit.save`.
const NAME: &str = "edgemux.json";
/// Longest extra file.
const BYTES_MAX: u64 = 64 * 1024;

/// What is known of a model before libtorch loads it.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) signature: Signature,
    /// Bytes of the tensors in the archive.
    pub(crate) weight_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    inputs: Vec<StoredTensor>,
    outputs: Vec<StoredTensor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTensor {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

impl Header {
    /// Reads the archive; the error says what is wrong with it.
    pub(crate) fn read(file: File) -> Result<Self, String> {
        let mut archive =
            ZipArchive::new(file).map_err(|error| format!("it is no TorchScript archive: {error}"))?;
        let mut weight_bytes = 0_u64;
        let mut extra = None;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(|error| error.to_string())?;
            // Everything lies in one folder, whose name says nothing.
            let name = entry.name().map_err(|error| error.to_string())?;
            match name.split_once('/').map(|(_, name)| name) {
                Some(name) if name.starts_with("data/") || name.starts_with("constants/") => {
                    weight_bytes = weight_bytes.saturating_add(entry.size());
                }
                Some(name) if name.strip_prefix("extra/") == Some(NAME) => extra = Some(index),
                _ => {}
            }
        }
        let Some(extra) = extra else {
            return Err(format!(
                "it does not say what it takes and gives: save it with torch.jit.save(model, file, \
                 _extra_files={{'{NAME}': ...}}), or give a saved one its signature by examples/models/make_torchscript.py"
            ));
        };
        let mut json = Vec::new();
        archive
            .by_index(extra)
            .map_err(|error| error.to_string())?
            .take(BYTES_MAX + 1)
            .read_to_end(&mut json)
            .map_err(|error| format!("{NAME}: {error}"))?;
        if json.len() as u64 > BYTES_MAX {
            return Err(format!("{NAME} is over {BYTES_MAX} bytes long"));
        }
        Ok(Self { signature: parse(&json)?, weight_bytes })
    }
}

fn parse(json: &[u8]) -> Result<Signature, String> {
    let stored: Stored = serde_json::from_slice(json).map_err(|error| format!("{NAME}: {error}"))?;
    if stored.outputs.is_empty() {
        return Err(format!("{NAME} lists no outputs"));
    }
    let inputs = stored.inputs.into_iter().map(StoredTensor::spec).collect::<Result<Vec<_>, _>>()?;
    let outputs = stored.outputs.into_iter().map(StoredTensor::spec).collect::<Result<Vec<_>, _>>()?;
    for specs in [&inputs, &outputs] {
        for (index, spec) in specs.iter().enumerate() {
            if specs[..index].iter().any(|before| before.name == spec.name) {
                return Err(format!("{NAME} lists {:?} twice", spec.name));
            }
        }
    }
    Ok(Signature { inputs, outputs, decoupled: false })
}

impl StoredTensor {
    fn spec(self) -> Result<TensorSpec, String> {
        let Self { name, datatype, shape } = self;
        if name.is_empty() || name.contains('\0') {
            return Err(format!("{NAME}: a tensor cannot be called {name:?}"));
        }
        let Some(datatype) = DataType::from_name(&datatype).filter(|&datatype| kind(datatype).is_some())
        else {
            let takes = "BOOL, UINT8, INT8, INT16, INT32, INT64, FP16, BF16, FP32 and FP64";
            return Err(format!("{NAME}: {name:?} is of datatype {datatype:?}; this runtime takes {takes}"));
        };
        if shape.iter().any(|&dim| dim < -1) {
            return Err(format!("{NAME}: {name:?} has shape {shape:?}; an open dimension is -1"));
        }
        Ok(TensorSpec { name, datatype, shape })
    }
}

/// libtorch's name of a datatype; `None` if it has none that models can compute with.
pub(crate) fn kind(datatype: DataType) -> Option<Kind> {
    Some(match datatype {
        DataType::Bool => Kind::Bool,
        DataType::Uint8 => Kind::Uint8,
        DataType::Int8 => Kind::Int8,
        DataType::Int16 => Kind::Int16,
        DataType::Int32 => Kind::Int,
        DataType::Int64 => Kind::Int64,
        DataType::Fp16 => Kind::Half,
        DataType::Bf16 => Kind::BFloat16,
        DataType::Fp32 => Kind::Float,
        DataType::Fp64 => Kind::Double,
        DataType::Uint16 | DataType::Uint32 | DataType::Uint64 | DataType::Bytes => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datatypes_are_as_long_here_as_there() {
        for datatype in DataType::ALL {
            if let Some(kind) = kind(datatype) {
                assert_eq!(Some(kind.elt_size_in_bytes()), datatype.size(), "{datatype}");
            }
        }
    }

    #[test]
    fn what_a_signature_may_not_say_is_refused() {
        let output = r#"{"name": "y", "datatype": "FP32", "shape": [-1]}"#;
        let with = |inputs: &str| format!(r#"{{"inputs": [{inputs}], "outputs": [{output}]}}"#);
        assert!(parse(with("").as_bytes()).is_ok());
        for (inputs, said) in [
            (r#"{"name": "x", "datatype": "BYTES", "shape": []}"#.to_owned(), "this runtime takes"),
            (r#"{"name": "x", "datatype": "FP32", "shape": [-2]}"#.to_owned(), "open dimension"),
            (r#"{"name": "", "datatype": "FP32", "shape": []}"#.to_owned(), "cannot be called"),
            (format!("{output}, {output}"), "twice"),
            (r#"{"name": "x"}"#.to_owned(), "missing field"),
        ] {
            let error = parse(with(&inputs).as_bytes()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse(br#"{"inputs": [], "outputs": []}"#).unwrap_err().contains("no outputs"));
    }
}
