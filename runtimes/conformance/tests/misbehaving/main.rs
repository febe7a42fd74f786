//! What becomes of a worker whose runtime does what no runtime should: the request pays, then the worker, never the
//! daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use edgemux_runtime_api::client::{
    Contents, InputTensor, Job, LaneError, LaneEvent, LaneReader, LoadFailure, OutputContents, SpawnError,
    Worker, WorkerCommand,
};
use edgemux_runtime_api::error::{LoadError, RunError};
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    worker: Worker,
    reader: LaneReader,
    folder: tempfile::TempDir,
    last_request: u64,
}

async fn spawn(options: &str) -> Result<(Worker, Vec<LaneReader>), SpawnError> {
    let command = WorkerCommand::new(env!("CARGO_BIN_EXE_misbehaving-worker"));
    let device =
        DeviceSpec { name: "cpu".into(), kind: DeviceKind::Cpu, threads: 1, options: options.into() };
    Worker::spawn(&command, &device, 1, PATIENCE).await
}

impl Bench {
    async fn start() -> Self {
        let (worker, mut readers) = spawn("").await.unwrap();
        let reader = readers.pop().unwrap();
        Self { worker, reader, folder: tempfile::tempdir().unwrap(), last_request: 0 }
    }

    /// Loads the model of this word as session 1 or another.
    async fn load(&self, session: u32, word: &str) -> Result<(), LoadFailure> {
        let file = self.folder.path().join(word);
        std::fs::write(&file, word).unwrap();
        self.worker.load(session, &file).await.map(drop)
    }

    /// Runs a request whose first byte is `first`; 1 is what models take amiss. The bytes of each response.
    async fn run(&mut self, session: u32, first: u8) -> Result<Result<Vec<Bytes>, RunError>, LaneError> {
        self.last_request += 1;
        let contents = Contents::Inline(Bytes::from(vec![first]));
        self.worker.lanes()[0].start(&Job {
            request: self.last_request,
            session,
            inputs: vec![InputTensor { shape: vec![1], contents }],
            outputs: vec![],
            output_bytes_hint: 16,
        })?;
        let mut responses = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE, self.reader.next()).await.expect("an outcome in time")? {
                LaneEvent::Failed { error, .. } => return Ok(Err(error)),
                LaneEvent::Response { outputs, last, .. } => {
                    responses.extend(outputs.into_iter().map(|output| match output.contents {
                        OutputContents::Inline(bytes) => bytes,
                        OutputContents::Region(_) => panic!("no region was asked for"),
                    }));
                    if last {
                        return Ok(Ok(responses));
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_panic_fails_the_request_and_the_lane_lives_on() {
    let mut bench = Bench::start().await;
    for (session, word, said) in [
        (1, "panic", "it panicked: the kernel fell over"),
        (2, "panic-oddly", "it panicked: "),
        (3, "panic-after-output", "it panicked: the kernel fell over"),
    ] {
        bench.load(session, word).await.unwrap();
        // The instance counts its runs: after a panic there is a new one, without a trace of the old.
        for (first, runs) in
            [(0, Some(1_u32)), (0, Some(2)), (1, None), (0, Some(1)), (1, None), (0, Some(1))]
        {
            match (bench.run(session, first).await.unwrap(), runs) {
                (Ok(responses), Some(runs)) => assert_eq!(responses[0][..], runs.to_le_bytes(), "{word}"),
                (Err(RunError::Failed(text)), None) => assert_eq!(text, said, "{word}"),
                (outcome, _) => panic!("{word}, first byte {first}: {outcome:?}"),
            }
        }
    }
    bench.worker.ping(1).await.unwrap();
}

#[tokio::test]
async fn a_panic_while_an_instance_is_made_fails_the_request() {
    let mut bench = Bench::start().await;
    for (session, word) in [(1, "panic-at-instantiate"), (2, "fail-at-instantiate")] {
        bench.load(session, word).await.unwrap();
        for _ in 0..2 {
            let outcome = bench.run(session, 0).await.unwrap();
            assert!(matches!(outcome, Err(RunError::Failed(_))), "{word}: {outcome:?}");
        }
    }
    bench.load(3, "well").await.unwrap();
    assert!(bench.run(3, 0).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_panic_while_loading_fails_the_load() {
    let mut bench = Bench::start().await;
    match bench.load(1, "panic-at-load").await {
        Err(LoadFailure::Refused(LoadError::Invalid { reason, .. })) => {
            assert_eq!(reason, "it panicked: the parser fell over");
        }
        other => panic!("{other:?}"),
    }
    bench.load(2, "well").await.unwrap();
    assert!(bench.run(2, 0).await.unwrap().is_ok());
}

#[tokio::test]
async fn an_error_of_any_length_arrives() {
    let mut bench = Bench::start().await;
    let load = bench.load(1, "essay-at-load").await;
    assert!(
        matches!(&load, Err(LoadFailure::Refused(LoadError::Invalid { reason, .. })) if reason.starts_with("éé"))
    );
    bench.load(2, "essay").await.unwrap();
    let outcome = bench.run(2, 1).await.unwrap();
    assert!(matches!(&outcome, Err(RunError::Failed(text)) if text.starts_with("éé") && text.ends_with('…')));
    assert!(bench.run(2, 0).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_signature_too_long_for_a_message_fails_the_load() {
    let bench = Bench::start().await;
    let load = bench.load(1, "vast-signature").await;
    assert!(matches!(&load, Err(LoadFailure::Refused(LoadError::Invalid { .. }))), "{load:?}");
    bench.load(2, "well").await.unwrap();
}

#[tokio::test]
async fn a_crash_while_loading_is_the_workers_end() {
    let bench = Bench::start().await;
    assert!(matches!(bench.load(1, "abort-at-load").await, Err(LoadFailure::Gone(_))));
    let death = bench.worker.dead().await;
    assert!(!death.from_outside() && death.status.is_some_and(|status| !status.success()), "{death}");
}

#[tokio::test]
async fn a_crash_while_running_is_the_workers_end() {
    let mut bench = Bench::start().await;
    bench.load(1, "abort").await.unwrap();
    assert!(bench.run(1, 0).await.unwrap().is_ok());
    assert!(matches!(bench.run(1, 1).await, Err(LaneError::Gone)));
    assert!(!bench.worker.dead().await.from_outside());
    assert!(bench.worker.ping(1).await.is_err());
}

#[tokio::test]
async fn a_lost_device_is_told_as_such() {
    let mut bench = Bench::start().await;
    bench.load(1, "lost").await.unwrap();
    let outcome = bench.run(1, 1).await.unwrap();
    assert!(matches!(outcome, Err(RunError::DeviceLost(_))), "{outcome:?}");
}

#[tokio::test]
async fn an_output_that_the_signature_lacks_fails_the_request() {
    let mut bench = Bench::start().await;
    bench.load(1, "no-such-output").await.unwrap();
    let outcome = bench.run(1, 1).await.unwrap();
    assert!(matches!(outcome, Err(RunError::Failed(_))), "{outcome:?}");
    assert!(bench.run(1, 0).await.unwrap().is_ok());
}

#[tokio::test]
async fn an_output_of_gigabytes_is_not_granted() {
    let mut bench = Bench::start().await;
    bench.load(1, "vast-output").await.unwrap();
    match bench.run(1, 1).await {
        // Whether it costs the request or the worker, the daemon allocates nothing and goes on.
        Ok(Err(_)) | Err(LaneError::Nonsense(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn responses_come_one_by_one() {
    let mut bench = Bench::start().await;
    bench.load(1, "three-responses").await.unwrap();
    for runs in 1..=3_u32 {
        let responses = bench.run(1, 0).await.unwrap().unwrap();
        assert_eq!(responses, [&[0][..], &[1], &runs.to_le_bytes()]);
    }
}

#[tokio::test]
async fn a_panic_while_opening_the_device_is_a_worker_that_left() {
    let spawned = spawn("panic").await.map(|(worker, _)| worker.pid());
    assert!(matches!(spawned, Err(SpawnError::Left)), "{spawned:?}");
}
