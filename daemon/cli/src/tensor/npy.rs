//! NumPy's `.npy` files, versions 1 to 3: little-endian and in C order, as `numpy.save` writes them.
//!
//! `BYTES` are written as `S` (padded with zeros, as NumPy has it) and read from `S` and `U`. NumPy has no bfloat16:
//! `BF16` is written as the `float32` that holds it exactly.

use bytes::Bytes;
use thiserror::Error;

use super::{Datatype, Tensor, element_count, push_string};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The header's length is padded so that the data is aligned to this.
const ALIGNMENT: usize = 64;

/// What is wrong with a `.npy` file.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum NpyError {
    #[error("it is no .npy file")]
    Magic,
    #[error("its header is broken")]
    Header,
    #[error("its elements are `{0}`, which the protocol does not have: convert with array.astype(...)")]
    Datatype(String),
    #[error("it is big-endian (`{0}`): convert with array.astype(array.dtype.newbyteorder('<'))")]
    BigEndian(String),
    #[error("it is in Fortran order: convert with numpy.ascontiguousarray(array)")]
    FortranOrder,
    #[error("it holds {held} bytes where its header promises {wanted}")]
    Length { held: usize, wanted: usize },
    #[error("its text holds a character that is none")]
    Text,
}

/// Whether the bytes begin as a `.npy` file does.
pub(crate) fn is_npy(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// Reads a whole file.
pub(crate) fn read(file: &[u8]) -> Result<Tensor, NpyError> {
    let rest = file.strip_prefix(MAGIC).ok_or(NpyError::Magic)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Header)?;
    let (header_length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(NpyError::Header)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(NpyError::Header)?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(header_length).ok_or(NpyError::Header)?;
    let header = std::str::from_utf8(header).map_err(|_| NpyError::Header)?;

    let kind = quoted(after_key(header, "descr")?)?;
    if after_key(header, "fortran_order")?.starts_with("True") {
        return Err(NpyError::FortranOrder);
    }
    let shape = shape(after_key(header, "shape")?)?;
    let elements = element_count(&shape).ok_or(NpyError::Header)?;
    if kind.starts_with('>') {
        return Err(NpyError::BigEndian(kind.to_owned()));
    }
    let wanted = elements.checked_mul(element_size(kind)?).ok_or(NpyError::Header)?;
    if data.len() != wanted {
        return Err(NpyError::Length { held: data.len(), wanted });
    }
    Ok(match datatype(kind) {
        Some(datatype) => Tensor { datatype, shape, data: Bytes::copy_from_slice(data) },
        None => Tensor { datatype: Datatype::Bytes, shape, data: text(kind, data, elements)? },
    })
}

/// Writes a whole file, version 1.
pub(crate) fn write(tensor: &Tensor) -> Option<Vec<u8>> {
    let (kind, data) = match tensor.datatype {
        Datatype::Bytes => {
            let strings = tensor.strings()?;
            let width = strings.iter().map(|string| string.len()).max().unwrap_or(0).max(1);
            let mut data = Vec::with_capacity(strings.len() * width);
            for string in strings {
                data.extend_from_slice(string);
                data.resize(data.len() + width - string.len(), 0);
            }
            (format!("|S{width}"), data)
        }
        Datatype::Bf16 => (
            "<f4".to_owned(),
            tensor.data.chunks_exact(2).flat_map(|half| [0, 0, half[0], half[1]]).collect(),
        ),
        datatype => (numpy_kind(datatype).to_owned(), tensor.data.to_vec()),
    };
    let dims: String = tensor.shape.iter().map(|dim| format!("{dim},")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dims}), }}");
    let before = MAGIC.len() + 4;
    let padded = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    header.push_str(&" ".repeat(padded - header.len() - 1));
    header.push('\n');

    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&[1, 0]);
    file.extend_from_slice(&u16::try_from(header.len()).ok()?.to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&data);
    Some(file)
}

// === the header, a Python dictionary ===

fn after_key<'a>(header: &'a str, key: &str) -> Result<&'a str, NpyError> {
    let (_, rest) = header.split_once(&format!("'{key}'")).ok_or(NpyError::Header)?;
    Ok(rest.trim_start().strip_prefix(':').ok_or(NpyError::Header)?.trim_start())
}

fn quoted(text: &str) -> Result<&str, NpyError> {
    if text.starts_with('[') {
        return Err(NpyError::Datatype("a structure".to_owned()));
    }
    let (kind, _) = text.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).ok_or(NpyError::Header)?;
    Ok(kind)
}

fn shape(text: &str) -> Result<Vec<usize>, NpyError> {
    let (dims, _) = text.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or(NpyError::Header)?;
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    dims.map(|dim| dim.parse().map_err(|_| NpyError::Header)).collect()
}

// === datatypes ===

fn numpy_kind(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "|b1",
        Datatype::Uint8 => "|u1",
        Datatype::Int8 => "|i1",
        Datatype::Uint16 => "<u2",
        Datatype::Int16 => "<i2",
        Datatype::Uint32 => "<u4",
        Datatype::Int32 => "<i4",
        Datatype::Uint64 => "<u8",
        Datatype::Int64 => "<i8",
        Datatype::Fp16 => "<f2",
        Datatype::Fp32 | Datatype::Bf16 => "<f4",
        Datatype::Fp64 => "<f8",
        Datatype::Bytes => "|S",
    }
}

fn datatype(kind: &str) -> Option<Datatype> {
    // NumPy marks one-byte elements with `|`, other writers with `<`.
    let same = |of: Datatype| of.size().is_some() && of != Datatype::Bf16 && numpy_kind(of)[1..] == kind[1..];
    Datatype::ALL.into_iter().find(|&of| kind.starts_with(['<', '|']) && same(of))
}

fn element_size(kind: &str) -> Result<usize, NpyError> {
    let unknown = || NpyError::Datatype(kind.to_owned());
    if let Some(size) = datatype(kind).and_then(Datatype::size) {
        return Ok(size);
    }
    let (unit, width) = match kind.get(..2) {
        Some("|S") => (1, &kind[2..]),
        Some("<U") => (4, &kind[2..]),
        _ => return Err(unknown()),
    };
    width.parse::<usize>().ok().and_then(|width| width.checked_mul(unit)).ok_or_else(unknown)
}

/// NumPy's padded strings as `BYTES`: `S` as it is, `U` (four bytes a character) as UTF-8.
fn text(kind: &str, data: &[u8], elements: usize) -> Result<Bytes, NpyError> {
    let mut found = Vec::with_capacity(data.len() + 4 * elements);
    let width = data.len() / elements.max(1);
    for element in 0..elements {
        let padded = &data[element * width..(element + 1) * width];
        if kind.starts_with("|S") {
            let end = padded.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            push_string(&mut found, &padded[..end]);
        } else {
            let (characters, _) = padded.as_chunks::<4>();
            let string: Option<String> =
                characters.iter().map(|character| char::from_u32(u32::from_le_bytes(*character))).collect();
            push_string(&mut found, string.ok_or(NpyError::Text)?.trim_end_matches('\0').as_bytes());
        }
    }
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::random_tensor;
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend_from_slice(&(header.len() as u16).to_le_bytes());
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(data);
        file
    }

    #[test]
    fn every_datatype_and_rank_survives_a_round_trip() {
        let mut random = StdRng::seed_from_u64(1);
        for datatype in Datatype::ALL.into_iter().filter(|&datatype| datatype != Datatype::Bf16) {
            for shape in [vec![], vec![7], vec![1, 3, 5], vec![2, 0]] {
                let tensor = random_tensor(datatype, &shape, &mut random);
                let written = write(&tensor).unwrap();
                let data_at = written.iter().position(|&byte| byte == b'\n').unwrap() + 1;
                assert_eq!(data_at % ALIGNMENT, 0);
                assert_eq!(read(&written).unwrap(), tensor, "{datatype} {shape:?}");
            }
        }
    }

    #[test]
    fn bf16_is_written_as_the_same_float32() {
        let data = Bytes::from_static(&[0x80, 0x3f, 0x40, 0xc0]);
        let tensor = Tensor { datatype: Datatype::Bf16, shape: vec![2], data };
        let back = read(&write(&tensor).unwrap()).unwrap();
        assert_eq!(back.datatype, Datatype::Fp32);
        assert_eq!(&back.data[..], [1.0f32.to_le_bytes(), (-3.0f32).to_le_bytes()].concat());
    }

    #[test]
    fn unicode_is_read_as_utf8() {
        let header = "{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }\n";
        let data: Vec<u8> = ['ä', 'b', 'c', '\0'].iter().flat_map(|&c| (c as u32).to_le_bytes()).collect();
        let tensor = read(&file(header, &data)).unwrap();
        assert_eq!(tensor.strings().unwrap(), ["äb".as_bytes(), b"c"]);
    }

    #[test]
    fn what_numpy_writes_is_read() {
        // numpy.save of numpy.array([[1, 2, 3]], dtype="<i2"), format version 1.
        let header = "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 3), }        \n";
        let tensor = read(&file(header, &[1, 0, 2, 0, 3, 0])).unwrap();
        assert_eq!((tensor.datatype, tensor.shape), (Datatype::Int16, vec![1, 3]));
    }

    #[test]
    fn broken_and_foreign_files_are_refused_with_the_reason() {
        let head = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
        };
        for (file, error) in [
            (b"PK".to_vec(), NpyError::Magic),
            (MAGIC.to_vec(), NpyError::Header),
            (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), NpyError::Header),
            (file("{}", &[]), NpyError::Header),
            (file(&head("'>f4'", "False", "(1,)"), &[0; 4]), NpyError::BigEndian(">f4".into())),
            (file(&head("'<f4'", "True", "(1,)"), &[0; 4]), NpyError::FortranOrder),
            (file(&head("'<c8'", "False", "(1,)"), &[0; 8]), NpyError::Datatype("<c8".into())),
            (file(&head("'|O'", "False", "(1,)"), &[0; 8]), NpyError::Datatype("|O".into())),
            (file(&head("'ä'", "False", "(1,)"), &[0; 8]), NpyError::Datatype("ä".into())),
            (
                file(&head("[('a', '<f4')]", "False", "(1,)"), &[0; 4]),
                NpyError::Datatype("a structure".into()),
            ),
            (file(&head("'<f4'", "False", "(2,)"), &[0; 4]), NpyError::Length { held: 4, wanted: 8 }),
            (file(&head("'<f4'", "False", "(18446744073709551615, 2)"), &[]), NpyError::Header),
            (file(&head("'<f4'", "False", "(-1,)"), &[]), NpyError::Header),
        ] {
            assert_eq!(read(&file), Err(error));
        }
    }
}
