//! TorchScript that throws, crashes or allocates without end, in a daemon that serves others meanwhile: the daemon stays, the
//! others are answered, and the operator is told which model it was and what it did.
//!
//! The others are an ONNX model on a device of its own, which must not feel anything, and a TorchScript model beside the bad
//! one in the same worker, which a crash of that worker costs what it was running. What they saw is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use edgemux_proto::inference::ModelInferRequest;
use edgemux_tests::{Bystanders, Client, Daemon, PATIENCE, Setup, eventually, keywords, request};
use tonic::Code;

// To fill a gigabyte takes more than a hundred times what this model usually does, which would be a hang.
const DEVICES: &str = "
[supervision]
hang-factor = 1e6
[[device]]
name = 'cpu0'
kind = 'cpu'
runtimes = ['onnx']
threads = 1
[[device]]
name = 'torch0'
kind = 'cpu'
runtimes = ['torch']
threads = 1
[device.torch]
memory-limit-mb = 1000
";

fn file(model: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/models/{model}.pt", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn vector(model: &str, values: &[f32]) -> ModelInferRequest {
    request(model, "x", &[values.len() as i64], values)
}

/// A daemon with a bad model, and those who do nothing wrong.
struct Scene {
    daemon: Daemon,
    client: Client,
    others: Bystanders,
}

impl Scene {
    async fn with(bad: &str) -> Self {
        let daemon = Setup::bare(DEVICES)
            .keywords("keywords")
            .file("echo", "1/model.pt", &file("echo"))
            .file("echo", "model.toml", b"")
            .file(bad, "1/model.pt", &file(bad))
            .file(bad, "model.toml", b"")
            .start()
            .await;
        let client = daemon.client().await;
        let others = Bystanders::start(&daemon, &keywords("keywords"), &vector("echo", &[1.0, 2.0])).await;
        Self { daemon, client, others }
    }
}

#[tokio::test]
async fn a_model_that_throws_is_told_to_its_client_and_noticed_by_nobody_else() {
    let scene = Scene::with("throws").await;
    for _ in 0..20 {
        let error = scene.client.infer(vector("throws", &[-1.0])).await.unwrap_err();
        assert!(error.message().contains("numbers below zero are not for this model"), "{error:?}");
        scene.client.infer(vector("throws", &[1.0])).await.unwrap();
    }
    let session = scene.client.session("throws").await;
    assert_eq!((session.failed, session.crashes), (20, 0));
    let lost = scene.others.end("a model throws").await;
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_model_that_allocates_without_end_fails_alone() {
    let scene = Scene::with("hoards").await;
    for _ in 0..3 {
        let error = scene.client.infer(vector("hoards", &[1.0])).await.unwrap_err();
        assert!(error.message().contains("can't allocate memory"), "{error:?}\n{}", scene.daemon.log());
        scene.client.infer(vector("hoards", &[0.0])).await.unwrap();
    }
    assert_eq!(scene.client.device("torch0").await.workers[0].restarts, 0);
    let lost = scene.others.end("a model hoards").await;
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_model_that_segfaults_is_blamed_and_quarantined_and_who_is_beside_it_is_back() {
    let scene = Scene::with("segfaults").await;
    for crash in 1..=3 {
        scene.client.until_ready("segfaults").await;
        let error = scene.client.infer(vector("segfaults", &[1.0])).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(error.message().contains("died under the request"), "{error:?}");
        eventually("the crash is put down to it", PATIENCE, async || {
            (scene.client.session("segfaults").await.crashes == crash).then_some(())
        })
        .await;
    }
    let session = scene.client.session("segfaults").await;
    assert!(session.reason.contains("quarantined: it crashed its worker 3 times"), "{}", session.reason);
    let error = scene.client.infer(vector("segfaults", &[0.0])).await.unwrap_err();
    assert!(error.message().contains("quarantined"), "{error:?}");
    let log = scene.daemon.log();
    assert!(log.contains("the worker is dead") && log.contains("signal: 11 (SIGSEGV)"), "{log}");
    assert_eq!(scene.client.session("echo").await.crashes, 0);
    let lost = scene.others.end("a model segfaults").await;
    // One client: at most the request that the worker had, each time.
    assert!(lost.len() <= 3 && lost.iter().all(|outcome| outcome.code == Code::Unavailable), "{lost:?}");
}
