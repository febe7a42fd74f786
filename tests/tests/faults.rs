//! What a client sees of a device that fails once, vanishes or slows down.

use edgemux_tests::{Emulated, PATIENCE, Setup, assert_echo, echo, eventually};
use tonic::Code;

#[tokio::test]
async fn a_request_that_fails_on_the_device_is_an_internal_error_and_nothing_else_happens() {
    let fails = Emulated::new(1.0).fault("kind = 'fail'\nafter-requests = 3");
    let daemon = Setup::default().emulated("fails", fails).start().await;
    let client = daemon.client().await;
    let worker = daemon.worker(&client, "gpu0").await;
    let error = client.infer(echo("fails", [1.0; 4])).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(error.message().contains("request 3 fails"), "{error:?}");
    assert_echo(&client.infer(echo("fails", [2.0; 4])).await.unwrap(), [2.0; 4]);
    assert_eq!(daemon.worker(&client, "gpu0").await, worker);
    daemon.stop().await;
}

#[tokio::test]
async fn a_device_that_vanishes_ends_the_request_unavailable_and_is_opened_again() {
    let vanishes = Emulated::new(1.0).fault("kind = 'vanish'\nafter-requests = 3");
    let daemon =
        Setup::default().emulated("vanishes", vanishes).emulated("beside", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let worker = daemon.worker(&client, "gpu0").await;
    let error = client.infer(echo("vanishes", [1.0; 4])).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("device lost"), "{error:?}");
    eventually("the worker is replaced", PATIENCE, async || (!worker.is_running()).then_some(())).await;
    assert_echo(&client.infer(echo("beside", [2.0; 4])).await.unwrap(), [2.0; 4]);
    client.until_ready("vanishes").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_device_that_slows_down_shows_in_the_service_time_for_as_long_as_it_lasts() {
    let slows =
        Emulated::new(5.0).fault("kind = 'slow-down'\nafter-requests = 4\nfactor = 4.0\nrequests = 1");
    let daemon = Setup::default().emulated("slows", slows).start().await;
    let client = daemon.client().await;
    let mut took_ms = Vec::new();
    let mut before_ns = 0;
    for _ in 0..3 {
        client.infer(echo("slows", [1.0; 4])).await.unwrap();
        let total_ns = client.statistics("slows").await.inference_stats.unwrap().compute_infer.unwrap().ns;
        took_ms.push((total_ns - before_ns) as f64 / 1e6);
        before_ns = total_ns;
    }
    // The emulator keeps this time: it is exact.
    for (took, want) in took_ms.iter().zip([5.0, 20.0, 5.0]) {
        assert!((took - want).abs() < 0.01, "{took_ms:?} ms");
    }
    daemon.stop().await;
}
