//! `edgemux.v1`: what operators see of devices and sessions, as it is and as it changes.

use edgemux_proto::edgemux::v1::{
    CommitRequest, DeviceKind, EvaluateRequest, FenceRequest, GetCalibrationRequest, GetSessionRequest,
    ListSessionsRequest, Multiplexing, ReleaseRequest, ReserveRequest, ResetCalibrationRequest, Session,
    SessionEvent, SessionState, SetMultiplexingRequest, UnfenceRequest, WatchSessionsRequest,
};
use edgemux_tests::{Client, Emulated, PATIENCE, Setup, echo};
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};

#[tokio::test]
async fn devices_show_their_kind_worker_and_load() {
    let daemon = Setup::default()
        .emulated("one", Emulated::new(10.0).first_takes(500.0))
        .emulated("two", Emulated::new(1.0))
        .start()
        .await;
    let client = daemon.client().await;
    let requests: Vec<_> = (0..3).map(|_| client.spawn(echo("one", [1.0; 4]))).collect();
    client.until_load("one", 2, 1).await;
    let gpu = client.device("gpu0").await;
    assert_eq!((gpu.kind(), gpu.multiplexing()), (DeviceKind::Gpu, Multiplexing::Exclusive));
    assert_eq!((gpu.sessions, gpu.queued, gpu.in_service, gpu.fenced), (2, 2, 1, false));
    let [worker] = &gpu.workers[..] else { panic!("{gpu:?}") };
    assert_eq!((worker.runtime.as_str(), worker.state.as_str(), worker.restarts), ("emulator", "up", 0));
    assert!(worker.runtime_version.contains("stand-in"), "{worker:?}");
    let children: Vec<_> = daemon.process().children().iter().map(|child| child.pid()).collect();
    assert!(children.contains(&worker.pid), "{worker:?}, {children:?}");
    let cpu = client.device("cpu0").await;
    assert_eq!((cpu.kind(), cpu.sessions), (DeviceKind::Cpu, 0));
    assert_eq!(client.device("tpu0").await.kind(), DeviceKind::Edgetpu);
    for request in requests {
        request.await.unwrap().unwrap();
    }
    daemon.stop().await;
}

#[tokio::test]
async fn sessions_show_their_terms_state_and_counts() {
    let terms =
        b"rate-hz = 20.0\npriority = 2\ndevices = ['gpu']\n[objective]\nquantile = 0.99\nlatency-ms = 40.0\n";
    let daemon = Setup::default()
        .emulated("model", Emulated::new(1.0).fault("kind = 'fail'\nafter-requests = 5"))
        .file("model", "model.toml", terms)
        .start()
        .await;
    let client = daemon.client().await;
    for _ in 0..3 {
        // The third of these is the fifth of the model.
        let _ = client.infer(echo("model", [1.0; 4])).await;
    }
    let session = client.session("model").await;
    assert_eq!((session.id.as_str(), session.version.as_str()), ("model/1", "1"));
    assert_eq!((session.device.as_str(), session.runtime.as_str()), ("gpu0", "emulator"));
    assert_eq!((session.state(), session.succeeded, session.failed), (SessionState::Ready, 2, 1));
    assert!((session.mean_service_ms - 1.0).abs() < 0.01, "{session:?}");
    let terms = session.terms.as_ref().unwrap();
    assert_eq!((terms.rate_hz, terms.priority, terms.objective.unwrap().latency_ms), (20.0, 2, 40.0));

    let all = client.sessions.clone().list(ListSessionsRequest {}).await.unwrap().into_inner().sessions;
    // What is estimated goes on while nobody asks.
    let steady = |session: &Session| Session { observed_rate_hz: 0.0, ..session.clone() };
    assert_eq!(all.iter().map(steady).collect::<Vec<_>>(), [steady(&session)]);
    let unknown = client.sessions.clone().get(GetSessionRequest { id: "none/1".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_watch_shows_every_session_now_and_then_each_as_it_changes() {
    let daemon = Setup::default()
        .emulated("at-start", Emulated::new(1.0))
        .emulated("later", Emulated::new(50.0).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    let mut watch = client.sessions.clone().watch(WatchSessionsRequest {}).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await.id, "at-start/1");

    client.load("later").await.unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&SessionState::Ready) {
        let session = next(&mut watch).await;
        assert_eq!(session.id, "later/1", "the other has not changed");
        seen.push(session.state());
    }
    // States that come and go faster than they are sent may be passed over; those seen are in order.
    assert!(seen.is_sorted() && seen.contains(&SessionState::Warming), "{seen:?}");
    client.unload("later").await.unwrap();
    daemon.stop().await;
}

async fn next(watch: &mut Streaming<SessionEvent>) -> Session {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event");
    event.expect("the watch goes on").expect("no error").session.expect("a session")
}

#[tokio::test]
async fn what_names_nothing_is_refused_in_words() {
    let daemon = Setup::default().start().await;
    let Client { mut admission, mut calibration, mut devices, .. } = daemon.client().await;
    let status = |answer: Result<(), Status>| answer.unwrap_err();
    for (name, status, code) in [
        (
            "Evaluate",
            status(admission.evaluate(EvaluateRequest::default()).await.map(drop)),
            Code::InvalidArgument,
        ),
        (
            "Reserve",
            status(admission.reserve(ReserveRequest::default()).await.map(drop)),
            Code::InvalidArgument,
        ),
        ("Commit", status(admission.commit(CommitRequest::default()).await.map(drop)), Code::NotFound),
        ("Release", status(admission.release(ReleaseRequest::default()).await.map(drop)), Code::NotFound),
        ("Get", status(calibration.get(GetCalibrationRequest::default()).await.map(drop)), Code::NotFound),
        (
            "Reset",
            status(calibration.reset(ResetCalibrationRequest { session: "x/1".into() }).await.map(drop)),
            Code::NotFound,
        ),
        (
            "SetMultiplexing",
            status(devices.set_multiplexing(SetMultiplexingRequest::default()).await.map(drop)),
            Code::NotFound,
        ),
        ("Fence", status(devices.fence(FenceRequest::default()).await.map(drop)), Code::NotFound),
        ("Unfence", status(devices.unfence(UnfenceRequest::default()).await.map(drop)), Code::NotFound),
    ] {
        assert_eq!(status.code(), code, "{name}: {status:?}");
        assert!(status.message().len() > 10, "{name}: {status:?}");
    }
    daemon.stop().await;
}
