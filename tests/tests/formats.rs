//! A model that is there in several formats runs where admission finds a place for it, from the file that runs there.

use edgemux_proto::edgemux::v1::reason::Kind;
use edgemux_proto::edgemux::v1::{DeviceKind, FenceRequest, Terms};
use edgemux_tests::{Client, Emulated, Setup, assert_echo, echo, keywords, terms};

/// The model `a` for the processor, and for an accelerator where it takes 20 ms; `b`, which takes 20 ms there.
fn setup() -> Setup {
    let onnx = include_bytes!("../../examples/models/keywords.onnx");
    Setup::new("")
        .emulated("a", Emulated::new(20.0).on_tpu().not_at_start())
        .file("a", "1/model.onnx", onnx)
        .emulated("b", Emulated::new(20.0).on_tpu().not_at_start())
}

fn on(kind: DeviceKind, terms: Terms) -> Terms {
    Terms { devices: vec![kind.into()], ..terms }
}

async fn runs_on(client: &Client, model: &str) -> (String, String) {
    let session = client.session(model).await;
    (session.device, session.runtime)
}

#[tokio::test]
async fn the_terms_choose_among_the_formats_of_a_model() {
    let daemon = setup().start().await;
    let client = daemon.client().await;
    let wanted = terms("a", 10.0, 0.99, 500.0);
    client.admit(&on(DeviceKind::Edgetpu, wanted.clone())).await;
    assert_eq!(runs_on(&client, "a").await, ("tpu0".into(), "emulator".into()));
    assert_echo(&client.infer(echo("a", [1.0, 2.0, 3.0, 4.0])).await.unwrap(), [1.0, 2.0, 3.0, 4.0]);
    client.unload("a").await.unwrap();
    client.admit(&on(DeviceKind::Cpu, wanted)).await;
    assert_eq!(runs_on(&client, "a").await, ("cpu0".into(), "onnx".into()));
    client.infer(keywords("a")).await.unwrap();
}

#[tokio::test]
async fn an_accelerator_without_room_leaves_a_model_to_the_processor_if_the_terms_do() {
    let daemon = setup().start().await;
    let client = daemon.client().await;
    // 30/s of 20 ms keep the accelerator busy for 60 % of the time; 20/s more do not fit beside that.
    client.admit(&on(DeviceKind::Edgetpu, terms("b", 30.0, 0.99, 500.0))).await;
    let wanted = terms("a", 20.0, 0.99, 500.0);
    let refused = client.evaluate(&on(DeviceKind::Edgetpu, wanted.clone())).await.unwrap();
    assert!(!refused.admitted && !refused.reasons.is_empty(), "{refused:#?}");
    assert_eq!(client.admit(&wanted).await.device, "cpu0");
    assert_eq!(runs_on(&client, "a").await, ("cpu0".into(), "onnx".into()));
    client.infer(keywords("a")).await.unwrap();
}

#[tokio::test]
async fn a_fenced_accelerator_leaves_a_model_to_the_processor_if_the_terms_do() {
    let daemon = setup().start().await;
    let client = daemon.client().await;
    let fence = FenceRequest { device: "tpu0".into(), reason: "being serviced".into() };
    client.devices.clone().fence(fence).await.unwrap();
    let wanted = terms("a", 10.0, 0.99, 500.0);
    let refused = client.evaluate(&on(DeviceKind::Edgetpu, wanted.clone())).await.unwrap();
    assert_eq!(refused.reasons[0].kind(), Kind::Fenced, "{refused:#?}");
    assert_eq!(client.admit(&wanted).await.device, "cpu0");
    client.infer(keywords("a")).await.unwrap();
}
