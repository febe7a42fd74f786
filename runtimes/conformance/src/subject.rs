//! What the suite needs to know of a runtime.

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};
use edgemux_runtime_api::tensor::{DataType, Signature};

/// A runtime under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name its probe gives.
    pub runtime: &'static str,
    /// File name ending of its models.
    pub format: &'static str,
    /// How to start its worker.
    pub command: WorkerCommand,
    /// A device it takes charge of.
    pub device: DeviceSpec,
    /// A kind of device it must refuse.
    pub refused_kind: DeviceKind,
    /// A model whose one input, FP32 of open length, is its one output.
    pub echo: Vec<u8>,
    /// Models with known answers; at least one of two outputs.
    pub models: Vec<ModelCase>,
    /// A request that takes seconds.
    pub slow: Slow,
    /// A decoupled model that gives its one FP32 input as three responses.
    pub decoupled: Option<Vec<u8>>,
    /// Files it must refuse: what is wrong, and the file.
    pub broken: Vec<(&'static str, Vec<u8>)>,
    /// Cases it cannot pass.
    pub exceptions: &'static [Exception],
}

/// A case that a runtime cannot pass, and why.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Name of the case.
    pub case: &'static str,
    /// Why the runtime cannot pass it.
    pub reason: &'static str,
}

/// A model and what it should say of itself and answer.
#[derive(Clone, Debug)]
pub struct ModelCase {
    /// For messages.
    pub name: &'static str,
    /// The file's contents.
    pub file: Vec<u8>,
    /// What loading it must report.
    pub signature: Signature,
    /// Requests with known answers.
    pub runs: Vec<RunCase>,
}

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct RunCase {
    /// In the signature's order.
    pub inputs: Vec<Tensor>,
    /// In the signature's order.
    pub outputs: Vec<Answer>,
}

/// A tensor of known contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Concrete shape.
    pub shape: Vec<i64>,
    /// Contents.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// An FP32 tensor.
    pub fn fp32(shape: &[i64], elements: &[f32]) -> Self {
        let bytes = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        Self { shape: shape.to_vec(), bytes }
    }

    /// An FP32 vector of `len` small integers, none of them zero.
    pub fn ramp(len: usize) -> Self {
        let elements: Vec<f32> = (0..len).map(|n| (n % 1000) as f32 + 1.0).collect();
        Self::fp32(&[len as i64], &elements)
    }
}

/// What an output must be.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Exactly this.
    Exact(Tensor),
    /// FP32 elements within this distance.
    Within(Tensor, f32),
}

/// A request that takes seconds on an idle machine.
#[derive(Clone, Debug)]
pub struct Slow {
    /// The model file's contents.
    pub file: Vec<u8>,
    /// Its inputs.
    pub inputs: Vec<Tensor>,
}

impl Subject {
    pub(crate) fn exception(&self, case: &str) -> Option<&Exception> {
        self.exceptions.iter().find(|exception| exception.case == case)
    }

    /// Exceptions for cases that do not exist would excuse nothing, silently.
    pub(crate) fn unknown_exceptions(&self) -> Vec<String> {
        let known = |exception: &&Exception| !crate::CASES.iter().any(|case| case.name == exception.case);
        let unknown = self.exceptions.iter().filter(known);
        unknown.map(|exception| format!("exception for {:?}, which is no case", exception.case)).collect()
    }
}

impl Answer {
    /// Says what differs, if anything.
    pub(crate) fn check(&self, datatype: DataType, shape: &[i64], bytes: &[u8]) -> Result<(), String> {
        let (Self::Exact(want) | Self::Within(want, _)) = self;
        if shape != want.shape {
            return Err(format!("shape {shape:?} for {:?}", want.shape));
        }
        match self {
            Self::Exact(want) if want.bytes == bytes => Ok(()),
            Self::Exact(want) => {
                let at = want.bytes.iter().zip(bytes).position(|(want, got)| want != got);
                Err(format!(
                    "{datatype}: {} bytes for {}, first difference at {at:?}",
                    bytes.len(),
                    want.bytes.len()
                ))
            }
            Self::Within(want, distance) => {
                let (want, got) = (elements(&want.bytes), elements(bytes));
                if want.len() != got.len() {
                    return Err(format!("{} elements for {}", got.len(), want.len()));
                }
                match want
                    .iter()
                    .zip(&got)
                    .find(|(want, got)| (*want - *got).abs().is_nan() || (*want - *got).abs() > *distance)
                {
                    None => Ok(()),
                    Some((want, got)) => Err(format!("{got} for {want}, at most {distance} apart")),
                }
            }
        }
    }
}

fn elements(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
