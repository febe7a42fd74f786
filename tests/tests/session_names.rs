//! Sessions of one model side by side, each under a name and terms of its own, as a cluster's controller asks for them.

use edgemux_proto::edgemux::v1::{
    ListCalibrationRequest, ListDevicesRequest, ListSessionsRequest, ReserveRequest, ReserveResponse,
};
use edgemux_proto::inference::RepositoryIndexRequest;
use edgemux_tests::{Client, Daemon, Emulated, Setup, assert_echo, echo, eventually_equal, terms};
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

const DEVICE: &str =
    "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";

async fn two_models() -> (Daemon, Client) {
    let model = || Emulated::new(5.0).not_at_start();
    let daemon = Setup::bare(DEVICE).emulated("a", model()).emulated("b", model()).start().await;
    let client = daemon.client().await;
    (daemon, client)
}

/// `model` for `uid`, called `name`.
fn asked(uid: &str, model: &str, name: &str, rate_hz: f64) -> ReserveRequest {
    ReserveRequest {
        uid: uid.into(),
        generation: 1,
        terms: Some(terms(model, rate_hz, 0.99, 200.0)),
        ttl_s: 60.0,
        session_name: name.into(),
        model_digest: String::new(),
    }
}

async fn serve(client: &Client, request: ReserveRequest) -> ReserveResponse {
    let reserved = client.reserve_with(request).await.unwrap();
    assert!(reserved.verdict.as_ref().unwrap().admitted, "{reserved:?}");
    client.commit(&reserved.reservation).await.unwrap();
    reserved
}

fn assert_code<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, says: &str) {
    let refused = answer.expect_err(says);
    assert_eq!(refused.code(), code, "{refused:?}");
    assert!(refused.message().contains(says), "{refused:?}");
}

#[tokio::test]
async fn two_of_one_model_serve_side_by_side_and_one_goes_without_the_other() {
    let (_daemon, client) = two_models().await;
    let first = serve(&client, asked("u1", "a", "shop.camera", 10.0)).await;
    serve(&client, asked("u2", "a", "farm.camera", 20.0)).await;
    client.load("a").await.unwrap();
    for name in ["shop.camera", "farm.camera", "a"] {
        let answer = client.infer(echo(name, [1.0, 2.0, 3.0, 4.0])).await.unwrap();
        assert_echo(&answer, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(answer.model_name, name);
    }
    let (shop, farm) = (client.session("shop.camera").await, client.session("farm.camera").await);
    assert_eq!((shop.terms.unwrap().rate_hz, farm.terms.unwrap().rate_hz), (10.0, 20.0));
    assert_eq!((shop.succeeded, farm.succeeded), (1, 1), "each counts its own");
    assert_eq!((shop.source_model.as_str(), shop.uid.as_str(), shop.generation), ("a", "u1", 1));
    assert_eq!(shop.reservation, first.reservation);
    let plain = client.session("a").await;
    assert!(plain.source_model.is_empty() && plain.uid.is_empty() && plain.reservation.is_empty());
    // One prediction is of all three.
    let verdict = client.evaluate(&terms("b", 1.0, 0.99, 300.0)).await.unwrap();
    let names: Vec<_> = verdict.tenants.iter().map(|tenant| tenant.session.as_str()).collect();
    assert!(names.contains(&"shop.camera/1") && names.contains(&"farm.camera/1"), "{names:?}");

    client.release(&first.reservation).await.unwrap();
    let left = ["a/1".to_owned(), "farm.camera/1".to_owned()];
    eventually_equal("sessions", left.to_vec(), async || client.session_names().await).await;
    assert_eq!(client.infer(echo("shop.camera", [1.0; 4])).await.unwrap_err().code(), Code::NotFound);
    // Not even its name is left.
    let index = client.inference.clone().repository_index(RepositoryIndexRequest::default()).await.unwrap();
    assert!(index.into_inner().models.iter().all(|model| model.name != "shop.camera"));
}

#[tokio::test]
async fn a_name_is_one_callers_and_no_models() {
    let (daemon, client) = two_models().await;
    serve(&client, asked("u1", "a", "mine", 10.0)).await;
    let others = asked("u2", "a", "mine", 10.0);
    assert_code(
        client.reserve_with(others.clone()).await,
        Code::AlreadyExists,
        "'mine' is the name of a session",
    );
    let other_model = asked("u2", "b", "mine", 10.0);
    assert_code(client.reserve_with(other_model).await, Code::AlreadyExists, "take another name");
    assert_code(
        client.reserve_with(asked("u2", "a", "b", 1.0)).await,
        Code::AlreadyExists,
        "a model of the repository",
    );
    for name in ["..", "a/b", "a b", &"x".repeat(65)] {
        assert_code(
            client.reserve_with(asked("u2", "a", name, 1.0)).await,
            Code::InvalidArgument,
            "no model name",
        );
    }
    // The model's own name said in full is no name of one's own.
    serve(&client, asked("u3", "a", "a", 1.0)).await;
    assert!(client.session("a").await.source_model.is_empty());
    // A reservation holds its name too, and gives it back.
    let held = client.reserve_with(asked("u4", "a", "held", 1.0)).await.unwrap();
    assert_code(
        client.reserve_with(asked("u5", "a", "held", 1.0)).await,
        Code::AlreadyExists,
        "another caller",
    );
    client.release(&held.reservation).await.unwrap();
    serve(&client, asked("u5", "a", "held", 1.0)).await;
    // Who has the name may ask for it anew, under the next generation and other terms; it serves all the while.
    let next = ReserveRequest { generation: 2, ..asked("u1", "a", "mine", 12.0) };
    let next = client.reserve_with(next).await.unwrap();
    client.infer(echo("mine", [1.0; 4])).await.unwrap();
    client.commit(&next.reservation).await.unwrap();
    assert_eq!(client.session("mine").await.terms.unwrap().rate_hz, 12.0);
    // A model that comes into the repository under such a name does not take its place.
    Emulated::new(1.0).not_at_start().write(&daemon.setup().models(), "mine");
    assert_code(client.load("mine").await, Code::AlreadyExists, "'mine' is the name of a session");
    client.infer(echo("mine", [1.0; 4])).await.unwrap();
}

#[tokio::test]
async fn what_serves_stays_the_callers_until_the_next_generation_serves() {
    let (_daemon, client) = two_models().await;
    let first = serve(&client, asked("u", "a", "mine", 10.0)).await;
    let of = |generation, rate_hz| ReserveRequest { generation, ..asked("u", "a", "mine", rate_hz) };
    // Reserved and given back: nothing has changed.
    let second = client.reserve_with(of(2, 12.0)).await.unwrap();
    client.release(&second.reservation).await.unwrap();
    // Reserved and left alone: it ends by itself.
    let third = ReserveRequest { ttl_s: 0.05, ..of(3, 13.0) };
    client.reserve_with(third).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(80)).await;
    let session = client.session("mine").await;
    assert_eq!((session.uid.as_str(), session.generation), ("u", 1));
    assert_eq!(session.reservation, first.reservation);
    assert_eq!(client.commit(&first.reservation).await.unwrap().id, "mine/1", "it serves all the while");
    // The next one takes its place when it is ready, and then the old one is nobody's.
    let fourth = serve(&client, of(4, 14.0)).await;
    let session = client.session("mine").await;
    assert_eq!((session.generation, session.reservation.as_str()), (4, fourth.reservation.as_str()));
    assert_eq!(client.release(&first.reservation).await.unwrap_err().code(), Code::NotFound);
    let other = ReserveRequest { generation: 4, ..asked("u", "b", "mine", 14.0) };
    assert_code(client.reserve_with(other).await, Code::FailedPrecondition, "count the generation up");
    // Another model takes the name over in the same way.
    let fifth = ReserveRequest { generation: 5, ..asked("u", "b", "mine", 1.0) };
    serve(&client, fifth).await;
    assert_eq!(client.session("mine").await.source_model, "b");
    assert_eq!(client.session_names().await, ["mine/1"]);
}

#[tokio::test]
async fn another_file_than_the_one_that_is_wanted_is_refused() {
    let (daemon, client) = two_models().await;
    let file = daemon.setup().models().join("a/1/model.emu.toml");
    let digest: String =
        Sha256::digest(std::fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
    let of = |digest: &str| ReserveRequest { model_digest: digest.into(), ..asked("u", "a", "mine", 1.0) };
    assert_code(client.reserve_with(of(&"0".repeat(64))).await, Code::FailedPrecondition, &digest);
    assert_code(client.reserve_with(of("0123")).await, Code::InvalidArgument, "64 hexadecimal digits");
    serve(&client, of(&digest)).await;
    assert_eq!(client.session("mine").await.model_digest, digest);
    // What it costs is known by the file, not by the name.
    let kept = client.calibration.clone().list(ListCalibrationRequest {}).await.unwrap().into_inner();
    let profile =
        kept.profiles.iter().find(|profile| profile.model_digest == digest).expect("it was measured");
    assert_eq!((profile.device.as_str(), profile.session.as_str()), ("gpu0", ""));
    assert!(profile.service_mean_ms > 4.0 && profile.service_mean_ms < 20.0, "{profile:?}");
}

#[tokio::test]
async fn every_run_of_the_daemon_says_that_it_is_another() {
    let (daemon, client) = two_models().await;
    let epoch = async |client: &Client| {
        client.devices.clone().list(ListDevicesRequest {}).await.unwrap().into_inner().epoch
    };
    let first = epoch(&client).await;
    let reserved = serve(&client, asked("u", "a", "mine", 1.0)).await;
    assert_eq!((reserved.epoch, epoch(&client).await), (first.clone(), first.clone()));
    let daemon = daemon.kill().await.start().await;
    let client = daemon.client().await;
    assert_ne!(epoch(&client).await, first);
    let sessions = client.sessions.clone().list(ListSessionsRequest {}).await.unwrap().into_inner().sessions;
    assert!(sessions.is_empty(), "what was reserved ended with the run that held it");
}
