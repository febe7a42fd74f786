//! Tensors as they cross the seam: a datatype, a shape and little-endian row-major bytes.

use serde::{Deserialize, Serialize};

#[cfg(target_endian = "big")]
compile_error!("tensors cross process borders as little-endian bytes and are used in place");

/// Element type of a tensor, named as the Open Inference Protocol names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DataType {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    /// Byte strings, each preceded by its length as a 4-byte little-endian integer.
    Bytes,
}

impl DataType {
    /// Every datatype, for tables and tests.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    /// Bytes per element; `None` where elements differ in length.
    pub const fn size(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => 2,
            Self::Uint32 | Self::Int32 | Self::Fp32 => 4,
            Self::Uint64 | Self::Int64 | Self::Fp64 => 8,
            Self::Bytes => return None,
        })
    }

    /// The protocol's name, for example `FP32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// The datatype with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.name() == name)
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Name, element type and shape of one input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// As the model file calls it.
    pub name: String,
    /// Element type.
    pub datatype: DataType,
    /// One entry per dimension; -1 where each request chooses.
    pub shape: Vec<i64>,
}

impl TensorSpec {
    /// Does a request's concrete `shape` fit?
    pub fn accepts(&self, shape: &[i64]) -> bool {
        self.shape.len() == shape.len()
            && self.shape.iter().zip(shape).all(|(&want, &got)| got >= 0 && (want < 0 || want == got))
    }

    /// Bytes of the tensor when every dimension is fixed and elements have one size.
    pub fn byte_len(&self) -> Option<usize> {
        byte_len(self.datatype, &self.shape)
    }
}

/// What a model takes and gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Inputs, in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs, in the model's order.
    pub outputs: Vec<TensorSpec>,
    /// Whether one request may have any number of responses.
    pub decoupled: bool,
}

/// Bytes of a tensor of fixed-size elements; `None` for byte strings, open dimensions or overflow.
pub fn byte_len(datatype: DataType, shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(datatype.size()?, |bytes, &dim| bytes.checked_mul(usize::try_from(dim).ok()?))
}

/// One input of one request, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Element type.
    pub datatype: DataType,
    /// Concrete shape.
    pub shape: &'a [i64],
    /// Little-endian row-major contents. Aligned to 64 bytes unless a client's own memory is not.
    pub bytes: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_datatypes_correspond_one_to_one() {
        for datatype in DataType::ALL {
            assert_eq!(DataType::from_name(datatype.name()), Some(datatype));
        }
        assert_eq!(DataType::from_name("FLOAT"), None);
    }

    #[test]
    fn byte_lengths_never_overflow() {
        assert_eq!(byte_len(DataType::Fp32, &[2, 3]), Some(24));
        assert_eq!(byte_len(DataType::Fp32, &[]), Some(4));
        assert_eq!(byte_len(DataType::Fp32, &[0, 7]), Some(0));
        assert_eq!(byte_len(DataType::Fp32, &[-1]), None);
        assert_eq!(byte_len(DataType::Bytes, &[1]), None);
        assert_eq!(byte_len(DataType::Fp64, &[i64::MAX, i64::MAX]), None);
    }

    #[test]
    fn an_open_dimension_accepts_any_size_and_a_fixed_one_only_its_own() {
        let spec = TensorSpec { name: "x".into(), datatype: DataType::Fp32, shape: vec![-1, 3] };
        assert!(spec.accepts(&[8, 3]));
        assert!(!spec.accepts(&[8, 4]));
        assert!(!spec.accepts(&[8]));
        assert!(!spec.accepts(&[-1, 3]));
    }
}
