//! SIGTERM: what was admitted is answered, nothing new is taken, and the daemon is gone within the grace.

use std::time::{Duration, Instant};

use edgemux_proto::edgemux::v1::{WatchDevicesRequest, WatchSessionsRequest};
use edgemux_tests::{Client, Emulated, Load, PATIENCE, Setup, assert_echo, echo, eventually};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Far below the grace of 30 seconds, far above what a busy machine takes.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn every_admitted_request_is_answered_and_new_connections_are_refused() {
    let daemon = Setup::default().emulated("model", Emulated::new(10.0).first_takes(500.0)).start().await;
    let client = daemon.client().await;
    let requests: Vec<_> = (0..16).map(|_| client.spawn(echo("model", [1.0; 4]))).collect();
    client.until_load("model", 15, 1).await;
    daemon.terminate();
    eventually("new connections are refused", PATIENCE, async || {
        Client::try_connect(daemon.address()).await.is_err().then_some(())
    })
    .await;
    assert!(daemon.process().is_running(), "the refusal is to come while admitted requests are served");
    for request in requests {
        assert_echo(&request.await.unwrap().unwrap(), [1.0; 4]);
    }
    let (status, _) = daemon.ended().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn under_load_every_request_is_answered_or_told_that_nobody_is_there() {
    let daemon = Setup::default().emulated("model", Emulated::new(2.0)).start().await;
    let load = Load::start(&daemon, &echo("model", [1.0; 4]), 8).await;
    load.until_succeeded(50).await;
    let asked = Instant::now();
    daemon.terminate();
    let (status, _) = daemon.ended().await;
    assert!(status.success(), "{status}");
    let outcomes = load.ended().await;
    println!("drained in {:?}", asked.elapsed());
    // A request that was sent before the signal was admitted, or waited for a connection that the daemon then closed.
    let lost: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.code != Code::Ok && !outcome.message.contains("ConnectionRefused"))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn an_open_stream_ends_after_its_last_answer() {
    let daemon = Setup::default().emulated("model", Emulated::new(10.0).first_takes(500.0)).start().await;
    let client = daemon.client().await;
    let (requests, receiver) = tokio::sync::mpsc::channel(16);
    for _ in 0..5 {
        requests.send(echo("model", [1.0; 4])).await.unwrap();
    }
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.inference.clone().model_stream_infer(stream).await.unwrap().into_inner();
    client.until_load("model", 4, 1).await;
    daemon.terminate();
    for _ in 0..5 {
        let answer = answers.next().await.expect("five answers").expect("no error");
        assert_echo(&answer.infer_response.unwrap(), [1.0; 4]);
    }
    assert!(answers.next().await.is_none(), "the stream is to end");
    // The client's half is still open; that keeps nobody.
    let (status, _) = daemon.ended().await;
    assert!(status.success(), "{status}");
    drop(requests);
}

#[tokio::test]
async fn whoever_only_watches_keeps_the_daemon_from_nothing() {
    let daemon = Setup::default().emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let mut sessions = client.sessions.clone().watch(WatchSessionsRequest {}).await.unwrap().into_inner();
    let mut devices = client.devices.clone().watch(WatchDevicesRequest {}).await.unwrap().into_inner();
    let mut health = HealthClient::new(client.channel.clone());
    let mut health = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    sessions.next().await.unwrap().unwrap();
    devices.next().await.unwrap().unwrap();
    health.next().await.unwrap().unwrap();
    let took = daemon.stop().await;
    assert!(took < AT_ONCE, "it took {took:?}");
}

#[tokio::test]
async fn a_hung_model_keeps_the_daemon_no_longer_than_the_grace() {
    let hangs = Emulated::new(1.0).fault("kind = 'hang'\nafter-requests = 3");
    let daemon = Setup::new("drain-grace-s = 0.5").emulated("hangs", hangs).start().await;
    let client = daemon.client().await;
    let request = client.spawn(echo("hangs", [1.0; 4]));
    client.until_load("hangs", 0, 1).await;
    let took = daemon.stop().await;
    assert!(took >= Duration::from_millis(500) && took < AT_ONCE, "it took {took:?}");
    let error = request.await.unwrap().unwrap_err();
    println!("the hung request was told: {error:?}");
}

#[tokio::test]
async fn a_daemon_that_still_loads_ends_at_once() {
    let daemon = Setup::default().emulated("slow", Emulated::new(30_000.0)).listen().await;
    let client = daemon.client().await;
    eventually("the model is in its warm-up", PATIENCE, async || {
        (client.device("gpu0").await.in_service == 1).then_some(())
    })
    .await;
    let took = daemon.stop().await;
    assert!(took < AT_ONCE, "it took {took:?}");
}
