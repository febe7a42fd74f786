//! Tensors in a client's own shared memory: nothing is copied on the way, and nothing is trusted.

use std::sync::Arc;

use edgemux_runtime_api::client::{
    Contents, InputTensor, Job, OutputContents, OutputTarget, Region, RegionSlice,
};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::protocol::SessionId;

use crate::bench::{Bench, HINT, only};
use crate::system::{ClientMemory, Holdings};
use crate::{CaseResult, Fault, Subject, Tensor};

const REGION_BYTES: u64 = 1 << 20;

struct Client {
    memory: ClientMemory,
    region: Arc<Region>,
}

impl Client {
    fn new() -> Result<Self, Fault> {
        let memory = ClientMemory::new(REGION_BYTES)?;
        let region = Arc::new(Region::open(&memory.key, 0, REGION_BYTES)?);
        Ok(Self { memory, region })
    }

    fn slice(&self, offset: u64, len: usize) -> Result<RegionSlice, Fault> {
        Ok(RegionSlice::new(Arc::clone(&self.region), offset, len as u64).ok_or("outside the region")?)
    }

    /// An echo from `input_at` to `output_at` within the region.
    fn job(
        &self,
        bench: &mut Bench<'_>,
        session: SessionId,
        input: &Tensor,
        places: (u64, u64),
        output_bytes: usize,
    ) -> Result<Job, Fault> {
        let (input_at, output_at) = places;
        self.memory.write(input_at, &input.bytes)?;
        let contents = Contents::Region(self.slice(input_at, input.bytes.len())?);
        Ok(Job {
            inputs: vec![InputTensor { shape: input.shape.clone(), contents }],
            outputs: vec![OutputTarget::Region(self.slice(output_at, output_bytes)?)],
            output_bytes_hint: HINT,
            ..bench.job(session, &[])
        })
    }

    async fn expect_echo(&self, bench: &mut Bench<'_>, session: SessionId, places: (u64, u64)) -> CaseResult {
        let input = Tensor::ramp(1000);
        let len = input.bytes.len();
        let job = self.job(bench, session, &input, places, len + 100)?;
        let response = only(bench.run_job(0, &job).await??)?;
        let written = match response.outputs[0].contents {
            OutputContents::Region(written) => written,
            OutputContents::Inline(_) => return Err("the output came inline".into()),
        };
        ensure!(written == len as u64, "{written} bytes written of {len}");
        ensure!(self.memory.read(places.1, len)? == input.bytes, "the region differs, places {places:?}");
        Ok(())
    }
}

pub(super) async fn a_clients_memory_is_read_and_written_in_place(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let client = Client::new()?;
    // The buffers for inline tensors are there from here on.
    bench.expect_echo(session, 500).await?;
    client.expect_echo(&mut bench, session, (0, 8192)).await?;
    let before = Holdings::of(bench.worker.pid())?;
    for round in 1..50_u64 {
        client.expect_echo(&mut bench, session, (round * 64, 65_536 + round * 64)).await?;
    }
    let after = Holdings::of(bench.worker.pid())?;
    ensure!(after.mappings_shared <= before.mappings_shared, "mappings grew: {before:?}, {after:?}");

    // Inline on one side, the region on the other.
    let input = Tensor::ramp(500);
    let mut job = bench.job(session, std::slice::from_ref(&input));
    job.outputs = vec![OutputTarget::Region(client.slice(0, 4000)?)];
    only(bench.run_job(0, &job).await??)?;
    ensure!(client.memory.read(0, input.bytes.len())? == input.bytes, "from inline to region");

    // A region that is closed is not kept by the worker.
    drop(job);
    drop(client);
    bench.expect_echo(session, 4).await?;
    let closed = Holdings::of(bench.worker.pid())?;
    ensure!(
        closed.mappings_shared < after.mappings_shared,
        "a closed region is still mapped: {after:?}, {closed:?}"
    );
    Ok(())
}

pub(super) async fn a_clients_memory_may_begin_anywhere(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let client = Client::new()?;
    for offset in [1, 2, 3, 63, 4095] {
        client.expect_echo(&mut bench, session, (offset, 65_536 + offset)).await?;
        client.expect_echo(&mut bench, session, (offset, 65_536)).await?;
        client.expect_echo(&mut bench, session, (0, 65_536 + offset)).await?;
    }
    Ok(())
}

pub(super) async fn an_output_over_an_input_is_refused(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let client = Client::new()?;
    let input = Tensor::ramp(100);
    for places in [(0, 0), (0, 399), (400, 1), (64, 128)] {
        let job = client.job(&mut bench, session, &input, places, 400)?;
        let outcome = bench.run_job(0, &job).await?;
        ensure!(matches!(outcome, Err(RunError::SharedMemory(_))), "places {places:?}: {outcome:?}");
    }
    // Side by side is well.
    client.expect_echo(&mut bench, session, (0, 4000)).await
}

pub(super) async fn an_output_that_does_not_fit_its_region_is_refused(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let client = Client::new()?;
    let job = client.job(&mut bench, session, &Tensor::ramp(100), (0, 4096), 399)?;
    match bench.run_job(0, &job).await? {
        Err(RunError::OutputSpace { needed_bytes: 400, available_bytes: 399, .. }) => {}
        other => return Err(format!("{other:?}").into()),
    }
    client.expect_echo(&mut bench, session, (0, 8192)).await
}

pub(super) async fn a_region_that_shrank_is_refused(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let client = Client::new()?;
    client.expect_echo(&mut bench, session, (0, 8192)).await?;
    let job = client.job(&mut bench, session, &Tensor::ramp(100), (0, 8192), 400)?;
    client.memory.file.set_len(100)?;
    let outcome = bench.run_job(0, &job).await?;
    ensure!(matches!(outcome, Err(RunError::SharedMemory(_))), "{outcome:?}");
    bench.expect_echo(session, 4).await
}
