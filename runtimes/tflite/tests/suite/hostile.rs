//! Damaged files: most are refused, some are models all the same, and where TensorFlow Lite ends the process over one, it is
//! a worker that ends.

use std::path::PathBuf;
use std::time::Duration;

use edgemux_runtime_api::client::{LoadFailure, Worker, WorkerCommand};
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};

use crate::models;

const PATIENCE: Duration = Duration::from_secs(20);

async fn worker() -> Worker {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_edgemux-runtime-tflite"));
    let command = WorkerCommand::new(program);
    let device = DeviceSpec { name: "cpu".into(), kind: DeviceKind::Cpu, threads: 1, options: String::new() };
    Worker::spawn(&command, &device, 0, PATIENCE).await.unwrap().0
}

/// Loads the file with every byte flipped in turn. Returns how many are refused, and how many cost the worker.
async fn flipped(name: &str) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.tflite");
    let (good, mut refused, mut deaths) = (models::model(name), 0, 0);
    let mut worker = worker().await;
    for at in 0..good.len() {
        for (turn, flip) in [0x01, 0x80].into_iter().enumerate() {
            let session = (2 * at + turn) as u32;
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            std::fs::write(&file, &bytes).unwrap();
            let loaded = tokio::time::timeout(PATIENCE, worker.load(session, &file)).await;
            match loaded.unwrap_or_else(|_| panic!("{name}, byte {at} by {flip:#x}: it does not answer")) {
                Ok(_) => worker.unload(session).await.unwrap(),
                Err(LoadFailure::Refused(_)) => refused += 1,
                Err(LoadFailure::Gone(_)) => {
                    println!("{name}, byte {at} by {flip:#x}: {}", worker.dead().await);
                    deaths += 1;
                    worker = self::worker().await;
                }
            }
        }
    }
    println!("{name}: of {} damaged files {refused} are refused, {deaths} end the worker", 2 * good.len());
    (refused, deaths)
}

#[tokio::test]
async fn a_damaged_file_in_floating_point_ends_no_worker() {
    let (refused, deaths) = flipped("conv_relu").await;
    assert!(refused > 500 && deaths == 0, "{refused} refused, {deaths} deaths");
}

#[tokio::test]
async fn a_damaged_file_in_integers_ends_a_worker_at_worst() {
    let (refused, _) = flipped("add_int8").await;
    assert!(refused > 500, "{refused} refused");
}
