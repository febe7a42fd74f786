//! A device that hangs, or a worker that stops answering, is noticed and replaced; nobody else waits for it for long.

use std::time::{Duration, Instant};

use edgemux_tests::{Emulated, Load, PATIENCE, Setup, assert_echo, echo, eventually};
use rustix::process::Signal;
use tonic::Code;

#[tokio::test]
async fn a_request_that_hangs_the_device_ends_unavailable_and_the_worker_is_replaced() {
    let hangs = Emulated::new(1.0).fault("kind = 'hang'\nafter-requests = 3");
    let daemon = Setup::new("[supervision]\nhang-timeout-s = 0.3")
        .emulated("hangs", hangs)
        .emulated("beside", Emulated::new(1.0))
        .emulated("elsewhere", Emulated::new(1.0).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    let worker = daemon.worker(&client, "gpu0").await;
    let elsewhere = Load::start(&daemon, &echo("elsewhere", [1.0; 4]), 1).await;

    let hung = client.spawn(echo("hangs", [1.0; 4]));
    client.until_load("hangs", 0, 1).await;
    let waits = client.spawn(echo("beside", [2.0; 4]));
    let error = hung.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert_echo(&waits.await.unwrap().unwrap(), [2.0; 4]);

    assert!(!worker.is_running());
    client.until_ready("hangs").await;
    assert_eq!(client.session("hangs").await.crashes, 1);
    assert_eq!(client.session("beside").await.crashes, 0);
    assert!(elsewhere.stop().await.iter().all(|outcome| outcome.code == Code::Ok));
    daemon.stop().await;
}

#[tokio::test]
async fn a_worker_that_leaves_a_ping_unanswered_is_replaced_and_nobody_is_blamed() {
    // A short time-out makes the watch look, and so ping, more often; the worker's patience with a ping is five seconds.
    let daemon =
        Setup::new("[supervision]\nhang-timeout-s = 0.4").emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let worker = daemon.worker(&client, "gpu0").await;
    worker.signal(Signal::STOP);
    eventually("the stopped worker is killed", PATIENCE, async || (!worker.is_running()).then_some(())).await;
    assert_echo(&client.infer(echo("model", [3.0; 4])).await.unwrap(), [3.0; 4]);
    assert_ne!(daemon.worker(&client, "gpu0").await, worker);
    assert_eq!(client.session("model").await.crashes, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_worker_stopped_under_a_request_is_replaced_when_the_request_is_overdue() {
    let daemon = Setup::new("[supervision]\nhang-timeout-s = 0.3")
        .emulated("model", Emulated::new(100.0))
        .start()
        .await;
    let client = daemon.client().await;
    let request = client.spawn(echo("model", [1.0; 4]));
    client.until_load("model", 0, 1).await;
    daemon.worker(&client, "gpu0").await.signal(Signal::STOP);
    assert_eq!(request.await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_echo(&client.infer(echo("model", [3.0; 4])).await.unwrap(), [3.0; 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_a_hundred_times_what_is_usual_is_hung_long_before_the_time_out() {
    let hangs = Emulated::new(2.0).fault("kind = 'hang'\nafter-requests = 50");
    let daemon = Setup::new("[supervision]\nhang-timeout-s = 20.0").emulated("hangs", hangs).start().await;
    let client = daemon.client().await;
    let worker = daemon.worker(&client, "gpu0").await;
    // What its requests take has to be known first.
    for _ in 0..47 {
        client.infer(echo("hangs", [1.0; 4])).await.unwrap();
    }
    let begun = Instant::now();
    let error = client.infer(echo("hangs", [1.0; 4])).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(15), "noticed after {took:?}");
    assert!(!worker.is_running());
    daemon.stop().await;
}
