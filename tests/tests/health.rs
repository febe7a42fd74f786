//! Whoever asks whether the daemon serves is told the truth: before it is ready, then, and while it drains.

use edgemux_tests::{Client, Emulated, PATIENCE, Setup, echo, get};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// The daemon as a whole, and its inference service by name.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];

fn health(client: &Client) -> HealthClient<Channel> {
    HealthClient::new(client.channel.clone())
}

async fn check(client: &Client, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.into() };
    health(client).check(request).await.expect("a known service").into_inner().status()
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let next = tokio::time::timeout(PATIENCE, watch.next()).await.expect("a change");
    next.map(|response| response.expect("no error").status())
}

#[tokio::test]
async fn grpc_health_says_when_the_daemon_serves_and_when_it_drains() {
    let mut daemon = Setup::default().emulated("model", Emulated::new(300.0)).listen().await;
    let client = daemon.client().await;
    let mut watches = Vec::new();
    for service in SERVICES {
        let request = HealthCheckRequest { service: service.into() };
        let mut watch = health(&client).watch(request).await.expect("a known service").into_inner();
        assert_eq!(check(&client, service).await, ServingStatus::NotServing, "{service:?} while models load");
        assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
        watches.push(watch);
    }
    assert_eq!(get(daemon.metrics(), "/healthz").await, (503, "starting\n".into()));

    daemon.ready().await;
    for (service, watch) in SERVICES.into_iter().zip(&mut watches) {
        assert_eq!(check(&client, service).await, ServingStatus::Serving, "{service:?}");
        assert_eq!(next(watch).await, Some(ServingStatus::Serving));
    }
    assert_eq!(get(daemon.metrics(), "/healthz").await, (200, "ok\n".into()));
    let unknown = health(&client).check(HealthCheckRequest { service: "none".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let request = client.spawn(echo("model", [1.0; 4]));
    client.until_load("model", 0, 1).await;
    daemon.terminate();
    for watch in &mut watches {
        assert_eq!(next(watch).await, Some(ServingStatus::NotServing), "while it drains");
        assert_eq!(next(watch).await, None, "a watch is not to keep the daemon");
    }
    request.await.unwrap().unwrap();
    let (status, _) = daemon.ended().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn metrics_count_the_requests_of_each_session() {
    let daemon = Setup::default().emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    for _ in 0..3 {
        client.infer(echo("model", [1.0; 4])).await.unwrap();
    }
    let (status, page) = get(daemon.metrics(), "/metrics").await;
    assert_eq!(status, 200);
    let labels = "{model=\"model\",version=\"1\",device=\"gpu0\"}";
    for line in [
        format!("nv_inference_request_success{labels} 3"),
        format!("nv_inference_request_failure{labels} 0"),
        format!("edgemux_session_ready{labels} 1"),
    ] {
        assert!(page.lines().any(|other| other == line), "no line {line:?} in\n{page}");
    }
    assert_eq!(get(daemon.metrics(), "/nothing").await.0, 404);
    daemon.stop().await;
}

#[tokio::test]
async fn reflection_lists_every_service() {
    let daemon = Setup::default().start().await;
    let client = daemon.client().await;
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(client.channel.clone());
    let mut answers = reflection.server_reflection_info(tokio_stream::once(list)).await.unwrap().into_inner();
    let answer = answers.next().await.expect("an answer").expect("no error");
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let mut names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    names.retain(|name| !name.starts_with("grpc.reflection."));
    names.sort();
    assert_eq!(
        names,
        [
            "edgemux.v1.Admission",
            "edgemux.v1.Calibration",
            "edgemux.v1.Devices",
            "edgemux.v1.Sessions",
            "grpc.health.v1.Health",
            "inference.GRPCInferenceService",
        ]
    );
    drop(answers);
    daemon.stop().await;
}
