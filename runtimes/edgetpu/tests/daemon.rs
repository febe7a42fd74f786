//! Every fault of an edgeTPU, in a daemon that serves others meanwhile: the daemon stays, the others are answered, and the
//! operator is told what is wrong. The edgeTPU is the fake delegate; what runs on it, it computes.
//!
//! The others are an ONNX model on the processor, which must not feel anything, and a model on the same edgeTPU. What they saw
//! is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use edgemux_proto::edgemux::v1::{DeviceKind, FenceRequest, Terms};
use edgemux_proto::inference::{ModelInferRequest, ModelInferResponse};
use edgemux_tests::{Bystanders, Client, Daemon, PATIENCE, Setup, eventually, keywords, request, terms};
use tonic::Code;

fn file(model: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/models/{model}.tflite", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A processor and an edgeTPU with this option of its delegate.
fn setup(config: &str, fault: &str) -> Setup {
    let tensorflow_lite = std::env::var("TFLITEC_PREBUILT_PATH")
        .expect("these tests run under the variables of `cargo xtask native`");
    let fault =
        if fault.is_empty() { String::new() } else { format!("delegate-options = {{ fault = '{fault}' }}") };
    Setup::bare(&format!(
        "{config}
[[device]]
name = 'cpu0'
kind = 'cpu'
runtimes = ['onnx', 'tflite']
threads = 1
[[device]]
name = 'tpu0'
kind = 'edgetpu'
runtimes = ['edgetpu']
[device.edgetpu]
delegate = '{}'
tensorflow-lite = '{tensorflow_lite}'
trial-seconds = 2
{fault}",
        env!("EDGEMUX_FAKE_DELEGATE"),
    ))
}

fn model(setup: Setup, name: &str) -> Setup {
    setup.file(name, "1/model_edgetpu.tflite", &file(name))
}

fn vector(model: &str, values: &[f32]) -> ModelInferRequest {
    request(model, "x", &[values.len() as i64], values)
}

fn floats(response: &ModelInferResponse) -> Vec<f32> {
    let (elements, _) = response.raw_output_contents[0].as_chunks::<4>();
    elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// A daemon with a bad model, and those who do nothing wrong.
struct Scene {
    daemon: Daemon,
    client: Client,
    others: Bystanders,
}

impl Scene {
    async fn with(config: &str, bad: &str) -> Self {
        let setup = model(model(setup(config, "").keywords("keywords"), "alone"), bad);
        let daemon = setup.file("alone", "model.toml", b"").file(bad, "model.toml", b"").start().await;
        let client = daemon.client().await;
        let others = Bystanders::start(&daemon, &keywords("keywords"), &vector("alone", &[3.0])).await;
        Self { daemon, client, others }
    }
}

#[tokio::test]
async fn a_run_that_fails_fails_alone() {
    let scene = Scene::with("", "fail").await;
    for _ in 0..20 {
        let error = scene.client.infer(vector("fail", &[1.0])).await.unwrap_err();
        assert!(error.message().contains("worker's log"), "{error:?}");
        assert_eq!(floats(&scene.client.infer(vector("fail", &[0.0])).await.unwrap()), [0.0]);
    }
    let session = scene.client.session("fail").await;
    assert_eq!((session.failed, session.crashes), (20, 0));
    let lost = scene.others.end("a run fails").await;
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_run_that_crashes_is_blamed_on_its_model_which_is_quarantined() {
    let scene = Scene::with("", "crash").await;
    for crash in 1..=3 {
        scene.client.until_ready("crash").await;
        let error = scene.client.infer(vector("crash", &[1.0])).await.unwrap_err();
        assert!(error.message().contains("died under the request"), "{error:?}");
        eventually("the crash is put down to it", PATIENCE, async || {
            (scene.client.session("crash").await.crashes == crash).then_some(())
        })
        .await;
    }
    let reason = scene.client.session("crash").await.reason;
    assert!(reason.contains("quarantined: it crashed its worker 3 times"), "{reason}");
    assert!(scene.daemon.log().contains("signal: 11 (SIGSEGV)"), "{}", scene.daemon.log());
    let lost = scene.others.end("a run crashes").await;
    assert!(lost.len() <= 3 && lost.iter().all(|outcome| outcome.code == Code::Unavailable), "{lost:?}");
}

#[tokio::test]
async fn a_run_that_hangs_is_ended_by_the_watchdog_and_the_edgetpu_is_back() {
    let scene = Scene::with("[supervision]\nhang-timeout-s = 5.0", "hang").await;
    let error = scene.client.infer(vector("hang", &[1.0])).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    eventually("the hang is put down to it", PATIENCE, async || {
        (scene.client.session("hang").await.crashes == 1).then_some(())
    })
    .await;
    assert!(scene.daemon.log().contains("hung; it is killed"), "{}", scene.daemon.log());
    scene.client.until_ready("alone").await;
    let lost = scene.others.end("a run hangs").await;
    assert!(lost.len() <= 2, "{lost:?}");
}

#[tokio::test]
async fn a_delegate_that_claims_nothing_is_a_refusal_of_the_model() {
    let daemon = model(setup("", "claims-nothing").keywords("keywords"), "alone").start().await;
    let client = daemon.client().await;
    let refused = client.load("alone").await.unwrap_err();
    assert!(refused.message().contains("took none of its edgetpu-custom-op"), "{refused:?}");
    client.infer(keywords("keywords")).await.unwrap();
}

#[tokio::test]
async fn a_delegate_that_refuses_crashes_or_hangs_when_it_is_made_is_a_worker_that_does_not_start() {
    for (fault, said) in [
        ("refuses", "is it plugged in"),
        ("crashes", "crashed a process of its own"),
        ("hangs", "did not open within 2 s"),
    ] {
        let daemon = model(setup("", fault).keywords("keywords"), "alone").start().await;
        let client = daemon.client().await;
        let refused = client.load("alone").await.unwrap_err();
        assert!(refused.message().contains("does not start"), "{fault}: {refused:?}");
        let state = eventually("the worker says why", PATIENCE, async || {
            let workers = client.device("tpu0").await.workers;
            let state = workers.into_iter().next()?.state;
            (state != "starting").then_some(state)
        })
        .await;
        println!("{fault}: the operator sees: {state}; the client: {}", refused.message());
        assert!(state.contains(said) || daemon.log().contains(said), "{fault}: {state}");
        client.infer(keywords("keywords")).await.unwrap();
    }
}

#[tokio::test]
async fn an_edgetpu_that_is_fenced_leaves_its_model_to_the_processor() {
    let both = setup("", "").file("sum", "1/model_edgetpu.tflite", &file("alone"));
    let daemon = both.file("sum", "1/model.tflite", &file("processor_only")).start().await;
    let client = daemon.client().await;
    let wanted = terms("sum", 5.0, 0.99, 2000.0);
    let on_tpu = Terms { devices: vec![DeviceKind::Edgetpu.into()], ..wanted.clone() };
    client.admit(&on_tpu).await;
    let session = client.session("sum").await;
    assert_eq!((session.device.as_str(), session.runtime.as_str()), ("tpu0", "edgetpu"));
    client.unload("sum").await.unwrap();
    let fence = FenceRequest { device: "tpu0".into(), reason: "too warm".into() };
    client.devices.clone().fence(fence).await.unwrap();
    assert!(!client.evaluate(&on_tpu).await.unwrap().admitted);
    assert_eq!(client.admit(&wanted).await.device, "cpu0");
    let session = client.session("sum").await;
    assert_eq!((session.device.as_str(), session.runtime.as_str()), ("cpu0", "tflite"));
}
