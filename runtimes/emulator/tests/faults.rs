//! Faults that only a process can show: a crash, a hang.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use edgemux_runtime_api::client::{
    Contents, InputTensor, Job, LaneError, LaneEvent, LaneReader, LoadFailure, Worker, WorkerCommand,
};
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};

const PATIENCE: Duration = Duration::from_secs(20);

async fn worker() -> (Worker, LaneReader) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_edgemux-runtime-emulator"));
    let command = WorkerCommand::new(program);
    let device =
        DeviceSpec { name: "gpu0".into(), kind: DeviceKind::Gpu, threads: 0, options: String::new() };
    let (worker, mut readers) = Worker::spawn(&command, &device, 1, PATIENCE).await.unwrap();
    (worker, readers.pop().unwrap())
}

async fn load(worker: &Worker, fault: &str) -> Result<(), LoadFailure> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.emu.toml");
    let tensor = |kind: &str| format!("[[{kind}]]\nname = \"X\"\ndatatype = \"UINT8\"\nshape = [4]\n");
    let text = format!("{}{}[service]\nmean-ms = 0\n[[fault]]\n{fault}", tensor("input"), tensor("output"));
    std::fs::write(&file, text).unwrap();
    worker.load(1, &file).await.map(drop)
}

async fn run(worker: &Worker, reader: &mut LaneReader, request: u64) -> Result<LaneEvent, LaneError> {
    let contents = Contents::Inline(Bytes::from_static(&[1, 2, 3, 4]));
    worker.lanes()[0].start(&Job {
        request,
        session: 1,
        inputs: vec![InputTensor { shape: vec![4], contents }],
        outputs: vec![],
        output_bytes_hint: 4,
    })?;
    reader.next().await
}

#[tokio::test]
async fn a_crash_takes_the_worker_at_its_request() {
    let (worker, mut reader) = worker().await;
    load(&worker, "kind = \"crash\"\nafter-requests = 3\n").await.unwrap();
    assert!(run(&worker, &mut reader, 1).await.is_ok());
    assert!(run(&worker, &mut reader, 2).await.is_ok());
    assert!(matches!(run(&worker, &mut reader, 3).await, Err(LaneError::Gone)));
    assert!(!worker.dead().await.from_outside());
}

#[tokio::test]
async fn a_load_crash_takes_the_worker_while_it_loads() {
    let (worker, _reader) = worker().await;
    assert!(matches!(load(&worker, "kind = \"load-crash\"\n").await, Err(LoadFailure::Gone(_))));
    assert!(!worker.dead().await.from_outside());
}

#[tokio::test]
async fn a_hang_ends_only_with_the_worker() {
    let (worker, mut reader) = worker().await;
    load(&worker, "kind = \"hang\"\nafter-requests = 1\n").await.unwrap();
    {
        let hung = run(&worker, &mut reader, 1);
        tokio::pin!(hung);
        // Long enough for the worker to have begun, even where the machine is busy: one that has not can be cancelled.
        let silence = tokio::time::timeout(Duration::from_millis(500), &mut hung).await;
        assert!(silence.is_err(), "{silence:?}");
        worker.cancel(0, 1);
        // Several times the interval at which a request looks whether it was cancelled.
        let silence = tokio::time::timeout(Duration::from_millis(50), &mut hung).await;
        assert!(silence.is_err(), "{silence:?}");
        worker.ping(1).await.unwrap();
        worker.kill();
        assert!(matches!(hung.await, Err(LaneError::Gone)));
    }
    assert!(worker.dead().await.from_outside());
}
