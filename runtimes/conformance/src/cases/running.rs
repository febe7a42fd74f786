//! Requests.

use std::time::{Duration, Instant};

use edgemux_runtime_api::client::OutputTarget;
use edgemux_runtime_api::error::RunError;

use crate::bench::{Bench, inline, inline_but, only};
use crate::system::Holdings;
use crate::{CaseResult, Subject, Tensor};

/// What is to happen at once may take this long on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(1);

pub(super) async fn known_inputs_give_known_outputs(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    for model in &subject.models {
        let session = bench.load(&model.file).await?.0;
        for run in &model.runs {
            bench.expect(model, session, run).await?;
        }
    }
    Ok(())
}

pub(super) async fn the_times_told_fit_in_the_time_taken(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    for _ in 0..10 {
        let begun = Instant::now();
        let response = only(bench.run(session, &[Tensor::ramp(1000)]).await??)?;
        let (timing, taken) = (response.timing, begun.elapsed());
        let told = Duration::from_nanos(timing.input_ns + timing.infer_ns + timing.output_ns);
        ensure!(told <= taken, "{timing:?} within {taken:?}");
        ensure!(timing.reload_ns <= timing.infer_ns, "{timing:?}: reloading is a part of running");
    }
    Ok(())
}

pub(super) async fn two_sessions_take_turns(subject: &Subject) -> CaseResult {
    let (mut bench, echo) = Bench::with_echo(subject).await?;
    let mut loaded = Vec::new();
    for model in &subject.models {
        loaded.push((model, bench.load(&model.file).await?.0));
    }
    for _ in 0..3 {
        for &(model, session) in &loaded {
            for run in &model.runs {
                bench.expect(model, session, run).await?;
            }
            bench.expect_echo(echo, 8).await?;
        }
    }
    Ok(())
}

pub(super) async fn many_requests_reuse_their_buffers(subject: &Subject) -> CaseResult {
    /// This process may run other tests beside this one, which map a few; one left by each request would be 250.
    const OTHERS: usize = 25;
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let (mut ours, mut theirs) = (None, None);
    for round in 0..300 {
        if round == 50 {
            (ours, theirs) =
                (Some(Holdings::of(std::process::id())?), Some(Holdings::of(bench.worker.pid())?));
        }
        // Sizes that ask for several sizes of buffer.
        bench.expect_echo(session, [1, 1000, 10_000, 50_000][round % 4]).await?;
    }
    let (ours_now, theirs_now) = (Holdings::of(std::process::id())?, Holdings::of(bench.worker.pid())?);
    let (ours, theirs) = (ours.ok_or("no rounds")?, theirs.ok_or("no rounds")?);
    ensure!(
        theirs_now.descriptors <= theirs.descriptors,
        "the worker's descriptors: {theirs:?}, {theirs_now:?}"
    );
    ensure!(
        theirs_now.mappings_shared <= theirs.mappings_shared,
        "the worker's mappings: {theirs:?}, {theirs_now:?}"
    );
    ensure!(
        ours_now.mappings_shared <= ours.mappings_shared + OTHERS,
        "the daemon's mappings: {ours:?}, {ours_now:?}"
    );
    Ok(())
}

pub(super) async fn outputs_larger_than_expected_arrive(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    for elements in [10_000, 1_000_000, 10] {
        let input = Tensor::ramp(elements);
        let mut job = bench.job(session, std::slice::from_ref(&input));
        job.output_bytes_hint = 0;
        let response = only(bench.run_job(0, &job).await??)?;
        ensure!(inline(&response.outputs[0])? == &input.bytes[..], "the echo of {elements} elements differs");
    }
    // A growing buffer in the middle of a response must not lose the outputs before it.
    for model in subject.models.iter().filter(|model| model.signature.outputs.len() > 1) {
        let session = bench.load(&model.file).await?.0;
        for run in &model.runs {
            let mut job = bench.job(session, &run.inputs);
            job.output_bytes_hint = 0;
            let response = only(bench.run_job(0, &job).await??)?;
            ensure!(response.outputs.len() == run.outputs.len(), "outputs lost");
            for (output, answer) in response.outputs.iter().zip(&run.outputs) {
                let datatype = model.signature.outputs[output.index].datatype;
                answer.check(datatype, &output.shape, inline(output)?)?;
            }
        }
    }
    Ok(())
}

pub(super) async fn outputs_nobody_wants_are_left_out(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    let model = subject.models.iter().find(|model| model.signature.outputs.len() > 1);
    let model = model.ok_or("the subject has no model of two outputs")?;
    let session = bench.load(&model.file).await?.0;
    let run = model.runs.first().ok_or("the model has no runs")?;
    for skipped in 0..model.signature.outputs.len() {
        let mut job = bench.job(session, &run.inputs);
        job.outputs = inline_but(model.signature.outputs.len(), skipped, OutputTarget::Skip);
        let response = only(bench.run_job(0, &job).await??)?;
        let indices: Vec<_> = response.outputs.iter().map(|output| output.index).collect();
        let wanted: Vec<_> = (0..model.signature.outputs.len()).filter(|&index| index != skipped).collect();
        ensure!(indices == wanted, "outputs {indices:?} without {skipped}");
        for output in &response.outputs {
            let datatype = model.signature.outputs[output.index].datatype;
            run.outputs[output.index].check(datatype, &output.shape, inline(output)?)?;
        }
    }
    Ok(())
}

pub(super) async fn empty_tensors_come_through(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    bench.expect_echo(session, 0).await?;
    bench.expect_echo(session, 3).await
}

pub(super) async fn inputs_that_do_not_fit_are_refused_and_the_worker_lives(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let tensor = |shape: &[i64], len: usize| Tensor { shape: shape.to_vec(), bytes: vec![1; len] };
    for (what, inputs) in [
        ("no inputs", vec![]),
        ("two inputs", vec![tensor(&[1], 4), tensor(&[1], 4)]),
        ("too few bytes", vec![tensor(&[4], 12)]),
        ("too many bytes", vec![tensor(&[4], 20)]),
        ("no whole elements", vec![tensor(&[4], 15)]),
        ("another rank", vec![tensor(&[2, 2], 16)]),
        ("a negative dimension", vec![tensor(&[-1], 4)]),
        ("more elements than there are numbers", vec![tensor(&[i64::MAX], 4)]),
    ] {
        let outcome = bench.run(session, &inputs).await?;
        ensure!(matches!(outcome, Err(RunError::Inputs(_))), "{what}: {outcome:?}");
        bench.expect_echo(session, 4).await?;
    }
    Ok(())
}

pub(super) async fn outputs_outlive_their_request(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let input = Tensor::ramp(5000);
    let kept = only(bench.run(session, std::slice::from_ref(&input)).await??)?;
    for _ in 0..10 {
        bench.expect_echo(session, 4000).await?;
    }
    bench.worker.kill();
    bench.worker.dead().await;
    ensure!(inline(&kept.outputs[0])? == &input.bytes[..], "an output changed after it was handed over");
    Ok(())
}

pub(super) async fn a_decoupled_model_responds_many_times(subject: &Subject) -> CaseResult {
    let Some(file) = &subject.decoupled else { return Err("the subject has no decoupled model".into()) };
    let mut bench = Bench::start(subject, 1).await?;
    let (session, signature, _) = bench.load(file).await?;
    ensure!(signature.decoupled, "its signature does not say so");
    let input = Tensor::ramp(7);
    for _ in 0..3 {
        let responses = bench.run(session, std::slice::from_ref(&input)).await??;
        ensure!(responses.len() == 3, "{} responses of 3", responses.len());
        for response in &responses {
            ensure!(inline(&response.outputs[0])? == &input.bytes[..], "a response differs");
        }
    }
    Ok(())
}

pub(super) async fn a_request_is_cancelled_while_it_runs(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    let request = bench.start_slow(0).await?;
    // An answer to a ping tells that the worker has read everything sent before; whether the run has begun does not
    // matter, a cancel must not be lost on either side of that.
    bench.worker.ping(1).await?;
    bench.worker.cancel(0, request);
    let begun = Instant::now();
    let outcome = bench.finish(0, request).await?;
    ensure!(matches!(outcome, Err(RunError::Cancelled)), "{outcome:?}");
    ensure!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
    let session = bench.load(&subject.echo).await?.0;
    bench.expect_echo(session, 4).await
}

pub(super) async fn a_cancel_that_comes_late_harms_nobody(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let job = bench.job(session, &[Tensor::ramp(4)]);
    let _ = bench.run_job(0, &job).await?;
    bench.worker.cancel(0, job.request);
    bench.worker.cancel(99, job.request);
    bench.worker.ping(1).await?;
    bench.expect_echo(session, 4).await
}

pub(super) async fn a_ping_is_answered_while_a_request_runs(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    bench.start_slow(0).await?;
    for nonce in 0..3 {
        let begun = Instant::now();
        bench.worker.ping(nonce).await?;
        ensure!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
    }
    Ok(())
}

pub(super) async fn two_lanes_run_at_once(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 2).await?;
    let echo = bench.load(&subject.echo).await?.0;
    bench.start_slow(1).await?;
    for _ in 0..5 {
        bench.expect_echo(echo, 16).await?;
    }
    // The slow one is still at it: nothing has been heard on its lane.
    let heard = tokio::time::timeout(Duration::ZERO, bench.readers[1].next()).await;
    ensure!(heard.is_err(), "the slow request was over first: {heard:?}");
    Ok(())
}
