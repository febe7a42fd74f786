//! The protocol's datatypes, and how their elements read as numbers.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// A datatype of the Open Inference Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Datatype {
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
    Bytes,
}

impl Datatype {
    pub(crate) const ALL: [Self; 14] = [
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

    pub(crate) fn name(self) -> &'static str {
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

    /// Bytes of one element; elements of `BYTES` have each their own length.
    pub(crate) fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// One element as a number, its bytes widened with zeros to eight.
    pub(crate) fn number(self, element: &[u8]) -> f64 {
        let bits = bits(element);
        match self {
            Self::Bool => f64::from(u8::from(bits != 0)),
            Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64 | Self::Bytes => bits as f64,
            Self::Int8 => f64::from(bits as i8),
            Self::Int16 => f64::from(bits as i16),
            Self::Int32 => f64::from(bits as i32),
            Self::Int64 => bits as i64 as f64,
            Self::Fp16 => f64::from(half(bits as u16)),
            Self::Bf16 => f64::from(f32::from_bits((bits as u32) << 16)),
            Self::Fp32 => f64::from(f32::from_bits(bits as u32)),
            Self::Fp64 => f64::from_bits(bits),
        }
    }

    /// One element as JSON: integers exactly, floating point in as few digits as its type tells apart.
    pub(crate) fn json(self, element: &[u8]) -> Value {
        let bits = bits(element);
        match self {
            Self::Bool => Value::from(bits != 0),
            Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64 => Value::from(bits),
            Self::Int8 | Self::Int16 | Self::Int32 => Value::from(self.number(element) as i64),
            Self::Int64 => Value::from(bits as i64),
            Self::Fp64 => Value::from(f64::from_bits(bits)),
            Self::Fp16 | Self::Bf16 | Self::Fp32 => Value::from(shortest(self.number(element))),
            Self::Bytes => Value::from(String::from_utf8_lossy(element)),
        }
    }
}

/// A number that came from at most 32 bits, with the digits that 32 bits need and no more.
pub(crate) fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

fn bits(element: &[u8]) -> u64 {
    let mut bits = [0; 8];
    for (to, from) in bits.iter_mut().zip(element) {
        *to = *from;
    }
    u64::from_le_bytes(bits)
}

/// IEEE 754 binary16 in binary32, which holds all its values.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let mantissa = f32::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * mantissa * 2f32.powi(-24),
        0x1f if mantissa == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        exponent => sign * (1024.0 + mantissa) * 2f32.powi(i32::from(exponent) - 25),
    }
}

// === impl Display, FromStr for Datatype ===

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Datatype {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|datatype| datatype.name() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datatype_is_found_by_its_name() {
        for datatype in Datatype::ALL {
            assert_eq!(datatype.to_string().parse(), Ok(datatype));
        }
        assert_eq!("FP8".parse::<Datatype>(), Err(()));
    }

    #[test]
    fn elements_read_as_the_numbers_they_are() {
        for (datatype, element, number) in [
            (Datatype::Int8, vec![0xff], -1.0),
            (Datatype::Uint8, vec![0xff], 255.0),
            (Datatype::Int16, vec![0xfe, 0xff], -2.0),
            (Datatype::Int64, (-5i64).to_le_bytes().to_vec(), -5.0),
            (Datatype::Fp16, vec![0x00, 0x3c], 1.0),
            (Datatype::Fp16, vec![0xff, 0x7b], 65504.0),
            (Datatype::Fp16, vec![0x01, 0x80], -(2f64.powi(-24))),
            (Datatype::Fp16, vec![0x00, 0xfc], f64::NEG_INFINITY),
            (Datatype::Bf16, vec![0x80, 0x3f], 1.0),
            (Datatype::Fp32, 0.1f32.to_le_bytes().to_vec(), f64::from(0.1f32)),
            (Datatype::Bool, vec![1], 1.0),
        ] {
            assert_eq!(datatype.number(&element), number, "{datatype} {element:?}");
        }
        assert!(Datatype::Fp16.number(&[0x01, 0x7c]).is_nan());
    }

    #[test]
    fn json_keeps_integers_whole_and_floats_short() {
        assert_eq!(Datatype::Int64.json(&i64::MIN.to_le_bytes()).to_string(), i64::MIN.to_string());
        assert_eq!(Datatype::Uint64.json(&u64::MAX.to_le_bytes()).to_string(), u64::MAX.to_string());
        assert_eq!(Datatype::Fp32.json(&0.1f32.to_le_bytes()).to_string(), "0.1");
        assert_eq!(Datatype::Bytes.json(b"cat"), Value::from("cat"));
    }
}
