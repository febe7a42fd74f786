//! The requests that a session runs on zeros before it is ready, so that no client pays for first-time work.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use edgemux_runtime_api::client::{Contents, InputTensor};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec, byte_len};

use super::{Device, Failure, Purpose, Submission};
use crate::session::Session;

/// Inputs longer than this in all are not made up; the first client's request is the warm-up then.
const BYTES_MAX: usize = 256 << 20;

/// Runs `count` rounds of requests on zeros through the device's queue, before the session's own that may wait since its
/// worker died; no client's request waits for more than these few. A round is as many at once as the device runs together:
/// each lane has first-time work of its own. Only a dead worker is an error: a model that refuses zeros may well take a
/// client's inputs.
pub(super) async fn warm_up(
    device: &Arc<Device>,
    session: &Arc<Session>,
    signature: &Signature,
    count: u32,
    purpose: Purpose,
) -> Result<(), Failure> {
    let Some(inputs) = zeros(signature) else {
        tracing::warn!(session = %session.name(), "not warmed up: its inputs are too large to make up");
        return Ok(());
    };
    for _ in 0..count {
        let submission = || Submission {
            received: Instant::now(),
            inputs: inputs.clone(),
            outputs: Vec::new(),
            priority: 1,
            deadline: None,
            decoupled: signature.decoupled,
            purpose,
        };
        let together = if purpose == Purpose::WarmUp { device.width() } else { 1 };
        let tickets: Vec<_> = (0..together).map(|_| device.submit(session, submission())).collect();
        for mut ticket in tickets {
            while let Some(answer) = ticket.next().await {
                match answer {
                    Ok(_) => {}
                    Err(failure @ (Failure::WorkerDied | Failure::Refused(_))) => return Err(failure),
                    Err(failure) => {
                        tracing::warn!(session = %session.name(), ?failure, "a request of zeros failed in warm-up");
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

fn zeros(signature: &Signature) -> Option<Vec<InputTensor>> {
    let mut left = BYTES_MAX;
    signature
        .inputs
        .iter()
        .map(|spec| {
            let (shape, bytes) = zero(spec)?;
            left = left.checked_sub(bytes)?;
            Some(InputTensor { shape, contents: Contents::Inline(Bytes::from(vec![0; bytes])) })
        })
        .collect()
}

/// Open dimensions become 1; an empty string is four bytes of length.
fn zero(spec: &TensorSpec) -> Option<(Vec<i64>, usize)> {
    let shape: Vec<_> = spec.shape.iter().map(|&dim| if dim < 0 { 1 } else { dim }).collect();
    let datatype = if spec.datatype == DataType::Bytes { DataType::Uint32 } else { spec.datatype };
    let bytes = byte_len(datatype, &shape)?;
    Some((shape, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(datatype: DataType, shape: &[i64]) -> Signature {
        let input = TensorSpec { name: "x".into(), datatype, shape: shape.to_vec() };
        Signature { inputs: vec![input], outputs: vec![], decoupled: false }
    }

    #[test]
    fn open_dimensions_become_one() {
        let inputs = zeros(&signature(DataType::Fp32, &[-1, 3])).unwrap();
        assert_eq!(inputs[0].shape, [1, 3]);
        assert_eq!(inputs[0].contents.byte_size(), 12);
    }

    #[test]
    fn strings_are_empty_ones() {
        let inputs = zeros(&signature(DataType::Bytes, &[2])).unwrap();
        assert_eq!(inputs[0].contents.byte_size(), 8);
    }

    #[test]
    fn inputs_beyond_the_limit_are_not_made_up() {
        assert!(zeros(&signature(DataType::Fp32, &[1 << 30])).is_none());
        assert!(zeros(&signature(DataType::Fp64, &[i64::MAX, i64::MAX])).is_none());
    }
}
