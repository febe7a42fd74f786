//! Tensors on their way between files, random numbers and requests.

mod datatype;
mod file;
mod npy;
mod random;
mod request;
mod response;
mod summary;

use bytes::Bytes;

pub(crate) use datatype::Datatype;
pub(crate) use file::{read_input, write_output};
pub(crate) use random::random_tensor;
pub(crate) use request::{Shapes, infer_request, named_shape, random_inputs, random_request, shapes_of};
pub(crate) use response::outputs_of;
pub(crate) use summary::Summary;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// One input may not be larger than the largest message.
pub(crate) const TENSOR_BYTES_MAX: usize = 256 << 20;

/// A tensor whose bytes are laid out as the protocol's raw contents: row-major, little-endian, and each element of
/// `BYTES` preceded by its length as four bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) datatype: Datatype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Bytes,
}

/// Why a tensor cannot be made, read or written.
#[derive(Debug, Error)]
pub(crate) enum TensorError {
    #[error("cannot read {path}: {cause}")]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot read {path} as .npy: {cause}")]
    Npy { path: PathBuf, cause: npy::NpyError },
    #[error("model `{model}` has no input `{name}`: its inputs are {inputs}")]
    UnknownInput { model: String, name: String, inputs: String },
    #[error(
        "input `{name}` of model `{model}` has no file: name one with --input {name}=FILE, or pass --random"
    )]
    MissingInput { model: String, name: String },
    #[error(
        "`{name}` has datatype `{datatype}`, which this command does not know: is a newer version installed?"
    )]
    UnknownDatatype { name: String, datatype: String },
    #[error(
        "input `{name}` takes {wanted}, but {path} holds {held}: convert it, in Python \
         numpy.save({path:?}, array.astype(...))"
    )]
    DatatypeMismatch { name: String, path: PathBuf, wanted: Datatype, held: Datatype },
    #[error("input `{name}` takes shape {wanted}, not {given}: -1 is free, every other dimension must match")]
    ShapeMismatch { name: String, wanted: String, given: String },
    #[error("{path} holds {held} bytes, but `{name}` of {datatype} {shape} takes {wanted}: see --shape")]
    SizeMismatch {
        path: PathBuf,
        name: String,
        datatype: Datatype,
        shape: String,
        held: usize,
        wanted: usize,
    },
    #[error(
        "`{name}` of {datatype} {shape} is larger than {TENSOR_BYTES_MAX} bytes, the limit of one message"
    )]
    TooLarge { name: String, datatype: Datatype, shape: String },
    #[error("output `{name}`: {what}")]
    Output { name: String, what: &'static str },
}

// === impl Tensor ===

impl Tensor {
    /// How many elements it has; a scalar has one.
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements of a `BYTES` tensor, or nothing where a length does not fit.
    pub(crate) fn strings(&self) -> Option<Vec<&[u8]>> {
        let mut rest = &self.data[..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (element, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            found.push(element);
            rest = after;
        }
        Some(found)
    }
}

/// Appends one element of a `BYTES` tensor: its length, then itself.
fn push_string(data: &mut Vec<u8>, element: &[u8]) {
    // No element is longer than the largest message, which is far below 4 GiB.
    data.extend_from_slice(&(element.len() as u32).to_le_bytes());
    data.extend_from_slice(element);
}

/// The number of elements of a shape, where it can be counted.
fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim))
}
