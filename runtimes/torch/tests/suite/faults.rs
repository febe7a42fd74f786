//! Models that throw, crash or take everything: what the daemon's end of the worker sees of them.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use bytes::Bytes;
use edgemux_runtime_api::client::{
    Contents, InputTensor, Job, LaneError, LaneEvent, LaneReader, OutputContents, Worker,
};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::protocol::{RequestId, SessionId};
use edgemux_runtime_api::runtime::{DeviceSpec, Memory};

use crate::conformance::subject;
use crate::models;

const PATIENCE: Duration = Duration::from_secs(30);

/// A worker with one lane.
struct Bench {
    worker: Worker,
    lane: LaneReader,
    last_request: RequestId,
    last_session: SessionId,
}

impl Bench {
    async fn start(options: &str) -> Self {
        let subject = subject();
        let device = DeviceSpec { options: options.into(), ..subject.device };
        let (worker, mut lanes) = Worker::spawn(&subject.command, &device, 1, PATIENCE).await.unwrap();
        Self { worker, lane: lanes.remove(0), last_request: 0, last_session: 0 }
    }

    async fn load(&mut self, name: &str) -> (SessionId, Memory) {
        self.last_session += 1;
        let file = models::path(&format!("{name}.pt"));
        let (_, memory, _) = self.worker.load(self.last_session, &file).await.unwrap();
        (self.last_session, memory)
    }

    /// Runs a request of one FP32 vector and returns the first output.
    async fn run(
        &mut self,
        session: SessionId,
        input: &[f32],
    ) -> Result<Result<Vec<f32>, RunError>, LaneError> {
        self.last_request += 1;
        let bytes: Vec<u8> = input.iter().flat_map(|element| element.to_le_bytes()).collect();
        let input =
            InputTensor { shape: vec![input.len() as i64], contents: Contents::Inline(Bytes::from(bytes)) };
        let job = Job {
            request: self.last_request,
            session,
            inputs: vec![input],
            outputs: vec![],
            output_bytes_hint: 1 << 16,
        };
        self.worker.lanes()[0].start(&job)?;
        match self.lane.next().await? {
            LaneEvent::Failed { error, .. } => Ok(Err(error)),
            LaneEvent::Response { outputs, .. } => {
                let OutputContents::Inline(bytes) = &outputs[0].contents else { panic!("not inline") };
                let (elements, _) = bytes.as_chunks::<4>();
                Ok(Ok(elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
            }
        }
    }
}

/// Resident memory of a process, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn a_model_that_throws_fails_its_request_and_nothing_else() {
    let mut bench = Bench::start("").await;
    let (throws, _) = bench.load("throws").await;
    let (echo, _) = bench.load("echo").await;
    let outcome = bench.run(throws, &[1.0, -1.0]).await.unwrap();
    let Err(RunError::Failed(said)) = outcome else { panic!("{outcome:?}") };
    assert!(said.contains("numbers below zero are not for this model"), "{said}");
    assert_eq!(bench.run(throws, &[2.0]).await.unwrap(), Ok(vec![2.0]));
    assert_eq!(bench.run(echo, &[3.0]).await.unwrap(), Ok(vec![3.0]));
}

#[tokio::test]
async fn a_model_that_crashes_takes_its_worker_and_the_daemon_is_told_by_what() {
    let mut bench = Bench::start("").await;
    let (session, _) = bench.load("segfaults").await;
    assert_eq!(bench.run(session, &[0.0]).await.unwrap(), Ok(vec![0.0]));
    assert!(matches!(bench.run(session, &[1.0]).await, Err(LaneError::Gone)));
    let death = bench.worker.dead().await;
    assert!(!death.from_outside());
    assert!(death.status.is_some_and(|status| status.signal().is_some()), "{death}");
}

#[tokio::test]
async fn a_model_that_allocates_without_end_fails_its_request_and_gives_back_what_it_took() {
    let mut bench = Bench::start(r#"{"memory-limit-mb": 1000}"#).await;
    let (hoards, _) = bench.load("hoards").await;
    let (echo, _) = bench.load("echo").await;
    assert_eq!(bench.run(hoards, &[0.0]).await.unwrap(), Ok(vec![0.0]));
    let before = resident_kib(bench.worker.pid());
    for _ in 0..3 {
        let outcome = bench.run(hoards, &[1.0]).await.unwrap();
        let Err(RunError::Failed(said)) = outcome else { panic!("{outcome:?}") };
        assert!(said.contains("can't allocate memory"), "{said}");
        assert_eq!(bench.run(echo, &[3.0]).await.unwrap(), Ok(vec![3.0]));
    }
    let after = resident_kib(bench.worker.pid());
    assert!(after < before + 100_000, "it held {before} KiB, now {after}");
}

#[tokio::test]
async fn memory_told_is_memory_taken_and_unloading_returns_it() {
    const WEIGHTS: u64 = 2048 * 2048 * 4;
    let mut bench = Bench::start("").await;
    // What libtorch takes for itself at its first model stays.
    let (first, _) = bench.load("large").await;
    bench.run(first, &[1.0]).await.unwrap().unwrap();
    bench.worker.unload(first).await.unwrap();
    let before = resident_kib(bench.worker.pid());
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let (session, memory) = bench.load("large").await;
        assert!((WEIGHTS..WEIGHTS + WEIGHTS / 10).contains(&memory.at_rest_bytes), "{memory:?}");
        // The product with the weights, and what little else there is.
        assert!((WEIGHTS..2 * WEIGHTS).contains(&memory.peak_bytes), "{memory:?}");
        assert_eq!(bench.run(session, &[1.0]).await.unwrap(), Ok(vec![1.0]));
        sessions.push(session);
    }
    let loaded = resident_kib(bench.worker.pid());
    let weights_kib = WEIGHTS / 1024;
    assert!(loaded > before + 7 * weights_kib, "eight models make {before} KiB {loaded}");
    for session in sessions {
        bench.worker.unload(session).await.unwrap();
    }
    let after = resident_kib(bench.worker.pid());
    assert!(after < before + weights_kib, "without them {before} KiB are {after}");
}
