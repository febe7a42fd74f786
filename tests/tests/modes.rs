//! How a device is shared changes while requests run, and loses none.

use edgemux_proto::edgemux::v1::{FenceRequest, Multiplexing, SetMultiplexingRequest, Terms, UnfenceRequest};
use edgemux_tests::{Emulated, Poisson, Setup, echo, terms};
use tonic::Code;

const DEVICE: &str = "
[[device]]
name = 'gpu0'
kind = 'gpu'
runtimes = ['emulator']
width = 3
[device.emulator]
sharing = 'processor-sharing'
";

fn set(mode: Multiplexing) -> SetMultiplexingRequest {
    SetMultiplexingRequest { device: "gpu0".into(), multiplexing: mode.into(), ..Default::default() }
}

#[tokio::test]
async fn the_mode_changes_under_load_and_every_request_is_answered() {
    let model = || Emulated::new(2.0).not_at_start();
    let daemon = Setup::bare(DEVICE).emulated("a", model()).emulated("b", model()).start().await;
    let client = daemon.client().await;
    let mut running = Vec::new();
    for name in ["a", "b"] {
        client.admit(&Terms { burst: 1000.0, ..terms(name, 100.0, 0.99, 1000.0) }).await;
        let arrivals = Poisson { request: echo(name, [1.0; 4]), rate_hz: 100.0, count: 300, seed: 5 };
        running.push(tokio::spawn(arrivals.run(client.clone())));
    }
    let modes = [Multiplexing::Concurrent, Multiplexing::TimeSliced, Multiplexing::Exclusive];
    for mode in modes.into_iter().cycle().take(30) {
        let device = client.devices.clone().set_multiplexing(set(mode)).await.unwrap().into_inner();
        assert_eq!((device.multiplexing(), device.configured_multiplexing()), (mode, mode));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for running in running {
        let seen = running.await.unwrap();
        assert_eq!((seen.failed, seen.refused, seen.latencies.len()), (vec![], 0, 300));
    }
}

#[tokio::test]
async fn several_run_together_in_concurrent_mode_and_one_after_the_other_in_exclusive_mode() {
    let daemon = Setup::bare(DEVICE).emulated("a", Emulated::new(100.0)).start().await;
    let client = daemon.client().await;
    for (mode, together) in [(Multiplexing::Concurrent, 3), (Multiplexing::Exclusive, 1)] {
        client.devices.clone().set_multiplexing(set(mode)).await.unwrap();
        let requests: Vec<_> = (0..4).map(|_| client.spawn(echo("a", [2.0; 4]))).collect();
        client.until_load("a", 4 - together, together).await;
        for request in requests {
            request.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_fenced_device_gets_nothing_and_loses_nothing() {
    let daemon = Setup::bare(DEVICE).emulated("a", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let fence = FenceRequest { device: "gpu0".into(), reason: "its fan is replaced".into() };
    let device = client.devices.clone().fence(fence).await.unwrap().into_inner();
    assert!(device.fenced && device.fence_reason == "its fan is replaced");
    let waiting = client.spawn(echo("a", [3.0; 4]));
    client.until_load("a", 1, 0).await;
    let refused = client.evaluate(&terms("a", 1.0, 0.99, 100.0)).await.unwrap();
    assert!(!refused.admitted && refused.reasons[0].message.contains("fan"), "{refused:?}");
    client.devices.clone().unfence(UnfenceRequest { device: "gpu0".into() }).await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_in_words() {
    let daemon = Setup::bare(DEVICE).start().await;
    let mut devices = daemon.client().await.devices;
    for (request, code, said) in [
        (SetMultiplexingRequest { device: "x".into(), ..set(Multiplexing::Auto) }, Code::NotFound, "gpu0"),
        (set(Multiplexing::Unspecified), Code::InvalidArgument, "exclusive, time-sliced"),
        (
            SetMultiplexingRequest { width: 4, ..set(Multiplexing::Concurrent) },
            Code::InvalidArgument,
            "started with 3",
        ),
        (
            SetMultiplexingRequest { quantum_ms: -1.0, ..set(Multiplexing::TimeSliced) },
            Code::InvalidArgument,
            "quantum",
        ),
        (
            SetMultiplexingRequest { quantum_ms: f64::NAN, ..set(Multiplexing::TimeSliced) },
            Code::InvalidArgument,
            "quantum",
        ),
        (
            SetMultiplexingRequest { run_max: 9999, ..set(Multiplexing::Exclusive) },
            Code::InvalidArgument,
            "1024",
        ),
    ] {
        let refused = devices.set_multiplexing(request).await.unwrap_err();
        assert_eq!(refused.code(), code);
        assert!(refused.message().contains(said), "{}", refused.message());
    }
}
