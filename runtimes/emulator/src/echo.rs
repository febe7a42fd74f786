//! What an emulated model answers: its inputs. Output `i` is input `i` (counted around), repeated or cut to fit.

use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::Outputs;
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec, TensorView, byte_len};

/// Largest output, in bytes; open dimensions may ask for anything.
const OUTPUT_BYTES_MAX: usize = 1 << 31;

/// Writes every output that is wanted. `shape` is scratch space.
pub(crate) fn echo(
    signature: &Signature,
    inputs: &[TensorView<'_>],
    outputs: &mut dyn Outputs,
    shape: &mut Vec<i64>,
) -> Result<(), RunError> {
    for (index, spec) in signature.outputs.iter().enumerate() {
        let Some(input) = inputs.get(index % inputs.len().max(1)) else {
            return Err(RunError::Inputs("no inputs".into()));
        };
        concrete_shape(spec, input.shape, shape);
        let bytes = match spec.datatype {
            DataType::Bytes => Some(input.bytes.len()),
            datatype => byte_len(datatype, shape),
        };
        let Some(bytes) = bytes.filter(|&bytes| bytes <= OUTPUT_BYTES_MAX) else {
            return Err(RunError::Inputs(format!(
                "output {:?} of shape {shape:?} would be over {OUTPUT_BYTES_MAX} bytes",
                spec.name
            )));
        };
        if let Some(buffer) = outputs.buffer(index, shape, bytes)? {
            fill(buffer, input.bytes);
        }
    }
    Ok(())
}

/// An open dimension is as large as the input's in the same place, or 1 if there is none.
fn concrete_shape(spec: &TensorSpec, input: &[i64], shape: &mut Vec<i64>) {
    shape.clear();
    let same_rank = spec.shape.len() == input.len();
    shape.extend(spec.shape.iter().enumerate().map(|(place, &dim)| match dim {
        1.. => dim,
        _ if same_rank => input[place],
        _ => 1,
    }));
}

fn fill(buffer: &mut [u8], input: &[u8]) {
    if buffer.len() == input.len() {
        buffer.copy_from_slice(input);
    } else if input.is_empty() {
        buffer.fill(0);
    } else {
        for piece in buffer.chunks_mut(input.len()) {
            piece.copy_from_slice(&input[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(datatype: DataType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: "x".into(), datatype, shape: shape.to_vec() }
    }

    fn shape_of(output: &[i64], input: &[i64]) -> Vec<i64> {
        let mut shape = vec![9];
        concrete_shape(&spec(DataType::Fp32, output), input, &mut shape);
        shape
    }

    #[test]
    fn open_dimensions_follow_the_input() {
        assert_eq!(shape_of(&[-1, 3, -1], &[8, 5, 7]), [8, 3, 7]);
        assert_eq!(shape_of(&[-1, 3], &[8]), [1, 3]);
        assert_eq!(shape_of(&[], &[8]), [0; 0]);
    }

    #[test]
    fn contents_are_copied_repeated_or_cut() {
        for (len, want) in [(3, &b"abc"[..]), (2, b"ab"), (7, b"abcabca"), (0, b"")] {
            let mut buffer = vec![0; len];
            fill(&mut buffer, b"abc");
            assert_eq!(buffer, want);
        }
        let mut buffer = [7; 2];
        fill(&mut buffer, b"");
        assert_eq!(buffer, [0; 2]);
    }
}
