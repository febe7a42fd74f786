//! Typed tensor contents, turned into the raw bytes that everything behind the edge works with.

use bytes::Bytes;
use edgemux_proto::inference::InferTensorContents;
use edgemux_runtime_api::tensor::DataType;

/// Why typed contents cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentsError {
    /// FP16 and BF16 have no typed form.
    #[error("{0} has no typed contents: send it in raw_input_contents")]
    NoTypedForm(DataType),
    /// A value that the datatype cannot hold.
    #[error("a value is out of the range of {0}")]
    Range(DataType),
    /// Values in a field that is not this datatype's.
    #[error("contents hold values of another datatype than {0}")]
    OtherField(DataType),
    /// A string longer than its length can say.
    #[error("a string of 4 GiB or more")]
    LongString,
}

/// The raw bytes of typed `contents`.
pub(super) fn to_raw(datatype: DataType, contents: &InferTensorContents) -> Result<Bytes, ContentsError> {
    if fields(contents) > fields_of(datatype, contents) {
        return Err(ContentsError::OtherField(datatype));
    }
    let ints = &contents.int_contents;
    let uints = &contents.uint_contents;
    let bytes = match datatype {
        DataType::Bool => contents.bool_contents.iter().map(|&value| u8::from(value)).collect(),
        DataType::Int8 => narrow::<_, i8, 1>(datatype, ints, i8::to_le_bytes)?,
        DataType::Int16 => narrow::<_, i16, 2>(datatype, ints, i16::to_le_bytes)?,
        DataType::Int32 => flat(ints, i32::to_le_bytes),
        DataType::Int64 => flat(&contents.int64_contents, i64::to_le_bytes),
        DataType::Uint8 => narrow::<_, u8, 1>(datatype, uints, u8::to_le_bytes)?,
        DataType::Uint16 => narrow::<_, u16, 2>(datatype, uints, u16::to_le_bytes)?,
        DataType::Uint32 => flat(uints, u32::to_le_bytes),
        DataType::Uint64 => flat(&contents.uint64_contents, u64::to_le_bytes),
        DataType::Fp32 => flat(&contents.fp32_contents, f32::to_le_bytes),
        DataType::Fp64 => flat(&contents.fp64_contents, f64::to_le_bytes),
        DataType::Fp16 | DataType::Bf16 => return Err(ContentsError::NoTypedForm(datatype)),
        DataType::Bytes => strings(&contents.bytes_contents)?,
    };
    Ok(bytes.into())
}

/// Does raw `bytes` hold exactly `elements` length-prefixed strings?
pub(super) fn is_strings(mut bytes: &[u8], elements: usize) -> bool {
    for _ in 0..elements {
        let Some((length, rest)) = bytes.split_first_chunk() else { return false };
        let Some(rest) = rest.get(u32::from_le_bytes(*length) as usize..) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

fn flat<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

fn narrow<W: Copy, T: TryFrom<W>, const N: usize>(
    datatype: DataType,
    values: &[W],
    to_bytes: fn(T) -> [u8; N],
) -> Result<Vec<u8>, ContentsError> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for &value in values {
        bytes.extend(to_bytes(T::try_from(value).map_err(|_| ContentsError::Range(datatype))?));
    }
    Ok(bytes)
}

fn strings(values: &[Bytes]) -> Result<Vec<u8>, ContentsError> {
    let mut bytes = Vec::with_capacity(values.iter().map(|value| value.len() + 4).sum());
    for value in values {
        let length = u32::try_from(value.len()).map_err(|_| ContentsError::LongString)?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(value);
    }
    Ok(bytes)
}

fn fields(contents: &InferTensorContents) -> usize {
    [
        contents.bool_contents.is_empty(),
        contents.int_contents.is_empty(),
        contents.int64_contents.is_empty(),
        contents.uint_contents.is_empty(),
        contents.uint64_contents.is_empty(),
        contents.fp32_contents.is_empty(),
        contents.fp64_contents.is_empty(),
        contents.bytes_contents.is_empty(),
    ]
    .into_iter()
    .filter(|empty| !empty)
    .count()
}

fn fields_of(datatype: DataType, contents: &InferTensorContents) -> usize {
    usize::from(!match datatype {
        DataType::Bool => contents.bool_contents.is_empty(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => contents.int_contents.is_empty(),
        DataType::Int64 => contents.int64_contents.is_empty(),
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => contents.uint_contents.is_empty(),
        DataType::Uint64 => contents.uint64_contents.is_empty(),
        DataType::Fp32 => contents.fp32_contents.is_empty(),
        DataType::Fp64 => contents.fp64_contents.is_empty(),
        DataType::Bytes => contents.bytes_contents.is_empty(),
        DataType::Fp16 | DataType::Bf16 => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_datatype_reads_its_own_field() {
        let contents = InferTensorContents { int_contents: vec![-1, 300], ..Default::default() };
        assert_eq!(to_raw(DataType::Int32, &contents).unwrap()[..], [255, 255, 255, 255, 44, 1, 0, 0]);
        assert_eq!(to_raw(DataType::Int16, &contents).unwrap()[..], [255, 255, 44, 1]);
        assert_eq!(to_raw(DataType::Int8, &contents), Err(ContentsError::Range(DataType::Int8)));
        assert_eq!(to_raw(DataType::Fp32, &contents), Err(ContentsError::OtherField(DataType::Fp32)));
        let contents = InferTensorContents { bool_contents: vec![true, false], ..Default::default() };
        assert_eq!(to_raw(DataType::Bool, &contents).unwrap()[..], [1, 0]);
        let contents = InferTensorContents { uint_contents: vec![256], ..Default::default() };
        assert_eq!(to_raw(DataType::Uint8, &contents), Err(ContentsError::Range(DataType::Uint8)));
        assert_eq!(to_raw(DataType::Uint16, &contents).unwrap()[..], [0, 1]);
    }

    #[test]
    fn half_floats_travel_raw_only() {
        for datatype in [DataType::Fp16, DataType::Bf16] {
            let contents = InferTensorContents::default();
            assert_eq!(to_raw(datatype, &contents), Err(ContentsError::NoTypedForm(datatype)));
        }
    }

    #[test]
    fn strings_are_prefixed_with_their_length() {
        let contents =
            InferTensorContents { bytes_contents: vec!["ab".into(), "".into()], ..Default::default() };
        let raw = to_raw(DataType::Bytes, &contents).unwrap();
        assert_eq!(raw[..], [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0]);
        assert!(is_strings(&raw, 2));
        assert!(!is_strings(&raw, 1));
        assert!(!is_strings(&raw, 3));
        assert!(!is_strings(&raw[..9], 2));
        assert!(!is_strings(&[255, 255, 255, 255, 0], 1));
        assert!(is_strings(&[], 0));
    }
}
