//! Requests of one session that run together: one inference over all their rows, whose outputs are cut apart again.
//!
//! Inputs are put one after the other where each would have been copied to anyway, and outputs are parts of the same bytes,
//! so that running together costs no copy.

use edgemux_runtime_api::client::{Contents, InputTensor, Job, OutputContents, OutputTensor};
use edgemux_runtime_api::tensor::Signature;

/// Can requests of such a model run together at all? Every tensor has a first dimension that each request chooses.
pub fn is_batchable(signature: &Signature) -> bool {
    let open = |shape: &[i64]| shape.first() == Some(&-1);
    !signature.decoupled
        && signature.inputs.iter().chain(&signature.outputs).all(|tensor| open(&tensor.shape))
}

/// One job for all, and how many rows each brings; none if they do not fit together, for example because one has its
/// tensors in shared memory.
pub(super) fn combine(jobs: &[Job]) -> Option<(Job, Vec<i64>)> {
    let (first, rest) = jobs.split_first()?;
    if jobs.iter().any(|job| !job.outputs.is_empty() || job.inputs.len() != first.inputs.len()) {
        return None;
    }
    let rows: Option<Vec<_>> = jobs.iter().map(rows).collect();
    let rows = rows?;
    let inputs: Option<Vec<_>> = first
        .inputs
        .iter()
        .enumerate()
        .map(|(at, input)| {
            let same = |job: &&Job| job.inputs[at].shape.get(1..) == input.shape.get(1..);
            if !rest.iter().all(|job| same(&job)) {
                return None;
            }
            let parts = jobs.iter().map(|job| match &job.inputs[at].contents {
                Contents::Inline(bytes) => Some(bytes.clone()),
                Contents::Parts(_) | Contents::Region(_) => None,
            });
            let mut shape = input.shape.clone();
            *shape.first_mut()? = rows.iter().sum();
            Some(InputTensor { shape, contents: Contents::Parts(parts.collect::<Option<_>>()?) })
        })
        .collect();
    let job = Job {
        request: first.request,
        session: first.session,
        inputs: inputs?,
        outputs: Vec::new(),
        output_bytes_hint: first.output_bytes_hint.saturating_mul(jobs.len()),
    };
    Some((job, rows))
}

/// The rows of a job, if all its inputs have as many, and at least one.
fn rows(job: &Job) -> Option<i64> {
    let mut counts = job.inputs.iter().map(|input| input.shape.first().copied());
    let rows = counts.next()??;
    (rows > 0 && counts.all(|other| other == Some(rows))).then_some(rows)
}

/// Each request's part of the outputs; none if the model did not give a row for each that it took.
pub(super) fn split(outputs: &[OutputTensor], rows: &[i64]) -> Option<Vec<Vec<OutputTensor>>> {
    let total: i64 = rows.iter().sum();
    let mut before = 0;
    rows.iter()
        .map(|&rows| {
            let part = outputs.iter().map(|output| part(output, before, rows, total)).collect::<Option<_>>();
            before += rows;
            part
        })
        .collect()
}

fn part(output: &OutputTensor, before: i64, rows: i64, total: i64) -> Option<OutputTensor> {
    let OutputContents::Inline(bytes) = &output.contents else { return None };
    let total = usize::try_from(total).ok().filter(|&total| total > 0)?;
    if output.shape.first() != Some(&i64::try_from(total).ok()?) || bytes.len() % total != 0 {
        return None;
    }
    let row = bytes.len() / total;
    let (from, rows_here) = (usize::try_from(before).ok()? * row, usize::try_from(rows).ok()?);
    let mut shape = output.shape.clone();
    *shape.first_mut()? = rows;
    let contents = OutputContents::Inline(bytes.slice(from..from + rows_here * row));
    Some(OutputTensor { index: output.index, shape, contents })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use edgemux_runtime_api::client::OutputTarget;
    use edgemux_runtime_api::tensor::{DataType, TensorSpec};

    fn job(request: u64, rows: i64, columns: i64) -> Job {
        let bytes = vec![request as u8; (rows * columns) as usize];
        let input =
            InputTensor { shape: vec![rows, columns], contents: Contents::Inline(Bytes::from(bytes)) };
        Job { request, session: 1, inputs: vec![input], outputs: vec![], output_bytes_hint: 10 }
    }

    fn output(rows: i64, bytes: &'static [u8]) -> OutputTensor {
        OutputTensor {
            index: 0,
            shape: vec![rows, 2],
            contents: OutputContents::Inline(Bytes::from_static(bytes)),
        }
    }

    #[test]
    fn rows_follow_one_another_and_come_apart_again() {
        let (all, rows) = combine(&[job(1, 1, 2), job(2, 3, 2)]).unwrap();
        assert_eq!(
            (all.request, all.inputs[0].shape.as_slice(), rows.as_slice()),
            (1, &[4, 2][..], &[1, 3][..])
        );
        assert_eq!(all.inputs[0].contents.byte_size(), 8);
        let parts = split(&[output(4, b"aabbccdd")], &rows).unwrap();
        let bytes = |part: &[OutputTensor]| match &part[0].contents {
            OutputContents::Inline(bytes) => bytes.clone(),
            OutputContents::Region(_) => Bytes::new(),
        };
        assert_eq!((parts[0][0].shape.as_slice(), bytes(&parts[0]).as_ref()), (&[1, 2][..], &b"aa"[..]));
        assert_eq!((parts[1][0].shape.as_slice(), bytes(&parts[1]).as_ref()), (&[3, 2][..], &b"bbccdd"[..]));
    }

    #[test]
    fn what_does_not_fit_together_stays_apart() {
        assert!(combine(&[job(1, 1, 2), job(2, 1, 3)]).is_none(), "other columns");
        assert!(combine(&[job(1, 1, 2), job(2, 0, 2)]).is_none(), "no rows");
        let skips = Job { outputs: vec![OutputTarget::Skip], ..job(2, 1, 2) };
        assert!(combine(&[job(1, 1, 2), skips]).is_none(), "wants its outputs elsewhere");
        let none = Job { inputs: vec![], ..job(2, 1, 2) };
        assert!(combine(&[job(1, 1, 2), none]).is_none(), "no inputs");
        assert!(combine(&[]).is_none());
    }

    #[test]
    fn outputs_that_are_not_by_row_are_not_cut() {
        assert!(split(&[output(1, b"aa")], &[1, 1]).is_none(), "one row for two");
        assert!(split(&[output(2, b"aab")], &[1, 1]).is_none(), "half a row");
        let region = OutputTensor { index: 0, shape: vec![2, 2], contents: OutputContents::Region(4) };
        assert!(split(&[region], &[1, 1]).is_none());
    }

    #[test]
    fn a_model_is_batchable_if_every_tensor_has_an_open_first_dimension() {
        let tensor =
            |shape: &[i64]| TensorSpec { name: "x".into(), datatype: DataType::Fp32, shape: shape.to_vec() };
        let model = |input: &[i64], output: &[i64], decoupled| Signature {
            inputs: vec![tensor(input)],
            outputs: vec![tensor(output)],
            decoupled,
        };
        assert!(is_batchable(&model(&[-1, 4], &[-1], false)));
        assert!(!is_batchable(&model(&[-1, 4], &[1], false)));
        assert!(!is_batchable(&model(&[4], &[-1], false)));
        assert!(!is_batchable(&model(&[], &[-1], false)));
        assert!(!is_batchable(&model(&[-1, 4], &[-1], true)));
    }
}
