//! `model.emu.toml`: what an emulated model takes and gives, how long it takes, and how it fails.
//!
//! Everything is checked here, so that the rest of the crate can count on it: a number is finite and in its range, a
//! name is there once, an output can be made from its input.

use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec, byte_len};
use serde::Deserialize;

use crate::faults::Fault;
use crate::service::{Distribution, Service};

/// Longest time a file may ask for, in milliseconds.
const MS_MAX: f64 = 3_600_000.0;
/// Most responses of one request.
const RESPONSES_MAX: u32 = 10_000;
/// Most inputs, and most outputs.
const TENSORS_MAX: usize = 64;
/// Most dimensions of a tensor.
const RANK_MAX: usize = 16;
/// Longest name of a tensor or a group, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Largest tensor, in bytes.
const TENSOR_BYTES_MAX: usize = 1 << 31;

/// A model file, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelFile {
    pub(crate) signature: Signature,
    /// Of its random numbers; follows from the text if the file names none.
    pub(crate) seed: u64,
    pub(crate) responses: u32,
    pub(crate) service: Service,
    pub(crate) reload: Option<Reload>,
    pub(crate) memory: MemoryTable,
    pub(crate) faults: Vec<Fault>,
}

/// Parameter caching as an edgeTPU has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Reload {
    /// Time to bring the parameters on the chip, in milliseconds: 0 to 3 600 000.
    pub(crate) overhead_ms: f64,
    /// Parameters kept on the chip. A model with none pays no overhead, and still drops those of others.
    pub(crate) on_chip_bytes: u64,
    /// Models compiled together carry one group name and keep each other's parameters.
    pub(crate) group: Option<String>,
}

/// Device memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct MemoryTable {
    /// Held while the model is loaded.
    pub(crate) at_rest_bytes: u64,
    /// Held on top while a request runs.
    pub(crate) peak_bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default = "one")]
    responses: u32,
    seed: Option<u64>,
    #[serde(default)]
    input: Vec<Tensor>,
    #[serde(default)]
    output: Vec<Tensor>,
    service: ServiceTable,
    reload: Option<Reload>,
    #[serde(default)]
    memory: MemoryTable,
    #[serde(default)]
    fault: Vec<Fault>,
}

const fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ServiceTable {
    mean_ms: f64,
    cv: Option<f64>,
    #[serde(default)]
    distribution: Distribution,
}

impl ModelFile {
    /// Reads a model file's text; the error says which field is wrong, and what it may be.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if !(1..=RESPONSES_MAX).contains(&file.responses) {
            return Err(format!("responses = {}: 1 to {RESPONSES_MAX}", file.responses));
        }
        let inputs = tensors("input", file.input)?;
        let outputs = tensors("output", file.output)?;
        for (index, output) in outputs.iter().enumerate() {
            check_echo(output, &inputs[index % inputs.len()])?;
        }
        let ServiceTable { mean_ms, cv, distribution } = file.service;
        let service = Service::new(milliseconds("service.mean-ms", mean_ms)?, cv, distribution)?;
        if let Some(Reload { overhead_ms, group, .. }) = &file.reload {
            milliseconds("reload.overhead-ms", *overhead_ms)?;
            if let Some(group) = group {
                name("reload.group", group)?;
            }
        }
        for (index, fault) in file.fault.iter().enumerate() {
            fault.check().map_err(|reason| format!("fault {}: {reason}", index + 1))?;
        }
        Ok(Self {
            signature: Signature { inputs, outputs, decoupled: file.responses > 1 },
            seed: file.seed.unwrap_or_else(|| fingerprint(text)),
            responses: file.responses,
            service,
            reload: file.reload,
            memory: file.memory,
            faults: file.fault,
        })
    }
}

/// FNV-1a: models that name no seed should not all draw the same numbers, and every run should draw the same again.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

fn milliseconds(field: &str, value: f64) -> Result<f64, String> {
    if (0.0..=MS_MAX).contains(&value) {
        return Ok(value);
    }
    Err(format!("{field} = {value}: 0 to {MS_MAX}"))
}

fn name(field: &str, name: &str) -> Result<(), String> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(format!("{field}: a name of {} bytes: 1 to {NAME_BYTES_MAX}", name.len()))
}

fn tensors(kind: &str, tensors: Vec<Tensor>) -> Result<Vec<TensorSpec>, String> {
    if !(1..=TENSORS_MAX).contains(&tensors.len()) {
        return Err(format!("{} tables [[{kind}]]: 1 to {TENSORS_MAX}", tensors.len()));
    }
    let mut specs: Vec<TensorSpec> = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let spec = tensor_spec(kind, tensor)?;
        if specs.iter().any(|before| before.name == spec.name) {
            return Err(format!("{kind} {:?} is there twice", spec.name));
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn tensor_spec(kind: &str, tensor: Tensor) -> Result<TensorSpec, String> {
    let Tensor { name: tensor_name, datatype, shape } = tensor;
    name(&format!("{kind}.name"), &tensor_name)?;
    let refuse = |reason: String| Err(format!("{kind} {tensor_name:?}: {reason}"));
    let Some(datatype) = DataType::from_name(&datatype) else {
        let known = DataType::ALL.map(DataType::name).join(", ");
        return refuse(format!("datatype {datatype:?}: one of {known}"));
    };
    if shape.len() > RANK_MAX {
        return refuse(format!("{} dimensions: up to {RANK_MAX}", shape.len()));
    }
    if let Some(dim) = shape.iter().find(|&&dim| dim < 1 && dim != -1) {
        return refuse(format!("dimension {dim}: at least 1, or -1 where each request chooses"));
    }
    let fixed: Vec<_> = shape.iter().copied().filter(|&dim| dim > 0).collect();
    // Byte strings have at least the four bytes of their length.
    let element = if datatype == DataType::Bytes { DataType::Uint32 } else { datatype };
    if byte_len(element, &fixed).is_none_or(|bytes| bytes > TENSOR_BYTES_MAX) {
        return refuse(format!("shape {shape:?} is over {TENSOR_BYTES_MAX} bytes"));
    }
    Ok(TensorSpec { name: tensor_name, datatype, shape })
}

/// Byte strings can be neither cut nor repeated, only echoed whole.
fn check_echo(output: &TensorSpec, input: &TensorSpec) -> Result<(), String> {
    if output.datatype == DataType::Bytes
        && (input.datatype != DataType::Bytes || input.shape != output.shape)
    {
        return Err(format!(
            "output {:?} of datatype BYTES echoes input {:?}, which must have the same datatype and shape",
            output.name, input.name
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
