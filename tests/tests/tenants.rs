//! Tenants: known by token or by user, each with its own sessions and its share, and no other's.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use edgemux_proto::edgemux::v1::{
    ExportCalibrationRequest, FenceRequest, GetSessionRequest, ListSessionsRequest, ResetCalibrationRequest,
    Terms,
};
use edgemux_proto::inference::{
    LogSettingsRequest, ModelMetadataRequest, ServerLiveRequest, SystemSharedMemoryRegisterRequest,
};
use edgemux_tests::{Client, Daemon, Emulated, Setup, assert_echo, echo, edgemuxd, terms};
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

const DEVICE: &str =
    "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";

fn tenant(name: &str, more: &str) -> String {
    let digest = Sha256::digest(format!("{name}'s token"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[tenant]]\nname = '{name}'\ntoken-sha256 = ['{digest}']\n{more}\n")
}

/// `a` with the models `a-*`, `b` with `b-*`, and an operator.
async fn two_tenants(more: &str) -> (Daemon, Client, Client, Client) {
    let tenants = [
        tenant("a", &format!("models = ['a-*']\n{more}")),
        tenant("b", "models = ['b-*']"),
        tenant("operator", "admin = true"),
    ];
    let model = || Emulated::new(5.0).not_at_start();
    let daemon = Setup::bare(&format!("{}{DEVICE}", tenants.concat()))
        .emulated("a-1", model())
        .emulated("a-2", model())
        .emulated("b-1", Emulated::new(100.0).not_at_start())
        .start()
        .await;
    let anybody = daemon.client().await;
    let of = |name: &str| anybody.bearing(&format!("{name}'s token"));
    let (a, b, operator) = (of("a"), of("b"), of("operator"));
    (daemon, a, b, operator)
}

fn assert_code<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, says: &str) {
    let refused = answer.expect_err(says);
    assert_eq!(refused.code(), code, "{refused:?}");
    assert!(refused.message().contains(says), "{refused:?}");
}

#[tokio::test]
async fn who_is_not_known_may_ask_whether_it_lives_and_nothing_else() {
    let (daemon, a, ..) = two_tenants("").await;
    a.load("a-1").await.unwrap();
    let anybody = daemon.client().await;
    for client in [anybody.clone(), anybody.bearing("c's token"), anybody.bearing("")] {
        assert_code(client.infer(echo("a-1", [1.0; 4])).await, Code::Unauthenticated, "token");
        assert_code(client.load("a-2").await, Code::Unauthenticated, "token");
        assert_code(
            client.sessions.clone().list(ListSessionsRequest {}).await,
            Code::Unauthenticated,
            "token",
        );
        assert!(client.inference.clone().server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_sees_and_touches_its_own_sessions_only() {
    let (daemon, a, b, operator) = two_tenants("").await;
    a.load("a-1").await.unwrap();
    assert_echo(&a.infer(echo("a-1", [1.0; 4])).await.unwrap(), [1.0; 4]);
    b.load("b-1").await.unwrap();
    assert_eq!(a.session_names().await, ["a-1/1"]);
    assert_eq!(b.session_names().await, ["b-1/1"]);
    assert_eq!(operator.session_names().await, ["a-1/1", "b-1/1"]);

    // To B, what is A's is like what is not there.
    assert_code(b.infer(echo("a-1", [1.0; 4])).await, Code::NotFound, "unknown model: 'a-1'");
    let metadata = ModelMetadataRequest { name: "a-1".into(), version: String::new() };
    assert_code(b.inference.clone().model_metadata(metadata).await, Code::NotFound, "unknown model: 'a-1'");
    let get = GetSessionRequest { id: "a-1/1".into() };
    assert_code(b.sessions.clone().get(get).await, Code::NotFound, "no session 'a-1/1'");
    let reset = ResetCalibrationRequest { session: "a-1/1".into() };
    assert_code(b.calibration.clone().reset(reset).await, Code::NotFound, "no session 'a-1/1'");
    assert_code(b.unload("a-1").await, Code::NotFound, "unknown model: 'a-1'");
    assert_code(b.load("a-2").await, Code::PermissionDenied, "is not of tenant 'b'");
    let reserved = a.reserve("uid", &Terms { model: "a-2".into(), ..Terms::default() }).await.unwrap();
    assert_code(b.commit(&reserved.reservation).await, Code::NotFound, "no reservation");
    assert_code(b.release(&reserved.reservation).await, Code::NotFound, "no reservation");
    // Its uids are its own as well.
    let own = b.reserve("uid", &Terms { model: "b-1".into(), ..Terms::default() }).await.unwrap();
    assert_ne!(own.reservation, reserved.reservation);
    a.release(&reserved.reservation).await.unwrap();

    // What is the node's is for admins.
    let fence = FenceRequest { device: "gpu0".into(), reason: String::new() };
    assert_code(a.devices.clone().fence(fence).await, Code::PermissionDenied, "tenant 'a' is no admin");
    let export = a.calibration.clone().export(ExportCalibrationRequest {}).await;
    assert_code(export, Code::PermissionDenied, "tenant 'a' is no admin");
    let reset = ResetCalibrationRequest { session: String::new() };
    assert_code(a.calibration.clone().reset(reset).await, Code::PermissionDenied, "for admins");
    let settings = [("log_info".to_owned(), Default::default())].into();
    let settings = a.inference.clone().log_settings(LogSettingsRequest { settings }).await;
    assert_code(settings, Code::PermissionDenied, "for admins");
    operator.calibration.clone().export(ExportCalibrationRequest {}).await.unwrap();

    // The daemon would open any memory that its own user may; over TCP nobody's is A's.
    let region = SystemSharedMemoryRegisterRequest {
        name: "r".into(),
        key: "/edgemux-test-of-tenants".into(),
        offset: 0,
        byte_size: 4,
    };
    let shared = std::path::Path::new("/dev/shm/edgemux-test-of-tenants");
    std::fs::write(shared, [0; 4]).unwrap();
    let refused = a.inference.clone().system_shared_memory_register(region.clone()).await;
    let taken = operator.inference.clone().system_shared_memory_register(region).await;
    std::fs::remove_file(shared).unwrap();
    assert_code(refused, Code::PermissionDenied, "not of whoever asks");
    taken.unwrap();
    daemon.stop().await;
}

#[tokio::test]
async fn a_refusal_says_nothing_of_whose_objective_would_break() {
    let (daemon, a, b, _) = two_tenants("").await;
    // One inference of B's takes longer than A can wait, however fast the machine.
    a.admit(&terms("a-1", 10.0, 0.99, 60.0)).await;
    let asked = terms("b-1", 2.0, 0.99, 5000.0);
    let verdict = b.evaluate(&asked).await.unwrap();
    assert!(!verdict.admitted, "{verdict:?}");
    let told = format!("{verdict:?}{:?}", b.load_with(&asked).await.unwrap_err());
    assert!(told.contains("the objective of another tenant would break"), "{told}");
    assert!(!told.contains("a-1"), "{told}");
    assert_eq!(verdict.tenants.len(), 1, "its own: {verdict:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_has_its_share_of_sessions_and_of_requests() {
    let (daemon, a, b, _) = two_tenants("sessions = 1\nrequests = 2").await;
    Emulated::new(500.0).not_at_start().write(&daemon.setup().models(), "a-1");
    a.load("a-1").await.unwrap();
    assert_code(a.load("a-2").await, Code::ResourceExhausted, "tenant 'a' has 1 sessions and reservations");
    let asked = Terms { model: "a-2".into(), ..Terms::default() };
    assert_code(a.reserve("uid", &asked).await, Code::ResourceExhausted, "tenant 'a' has 1 sessions");
    assert!(a.evaluate(&asked).await.unwrap().admitted, "to ask is free");
    // Its own, once more, takes no more.
    a.load("a-1").await.unwrap();
    let under_way: Vec<_> = (0..2).map(|_| a.spawn(echo("a-1", [1.0; 4]))).collect();
    a.until_load("a-1", 1, 1).await;
    let third = a.infer(echo("a-1", [1.0; 4])).await;
    assert_code(third, Code::ResourceExhausted, "tenant 'a' has 2 requests under way");
    b.load("b-1").await.unwrap();
    assert_echo(&b.infer(echo("b-1", [1.0; 4])).await.unwrap(), [1.0; 4]);
    for request in under_way {
        request.await.unwrap().unwrap();
    }
    assert_echo(&a.infer(echo("a-1", [1.0; 4])).await.unwrap(), [1.0; 4]);
    a.unload("a-1").await.unwrap();
    a.load("a-2").await.unwrap();
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_is_taken_out_of_the_file_is_refused_on_connections_that_are_open() {
    let (daemon, a, b, _) = two_tenants("").await;
    b.load("b-1").await.unwrap();
    let without_b = format!("{}{DEVICE}", tenant("a", "models = ['a-*']"));
    std::fs::write(daemon.setup().path("edgemuxd.toml"), without_b).unwrap();
    daemon.process().signal(rustix::process::Signal::HUP);
    let said = "the configuration is reloaded";
    edgemux_tests::eventually(said, edgemux_tests::PATIENCE, async || {
        daemon.log().contains(said).then_some(())
    })
    .await;
    assert_code(b.infer(echo("b-1", [1.0; 4])).await, Code::Unauthenticated, "no tenant's");
    assert!(a.session_names().await.is_empty(), "A goes on, and B's session is still none of A's");
    daemon.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let daemon = Setup::bare(&format!("[limits]\nconnections = 3\n{DEVICE}")).start().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(daemon.client().await);
        clients.last().unwrap().session_names().await;
    }
    let fourth = Client::try_connect(daemon.address()).await;
    if let Ok(fourth) = fourth {
        fourth.sessions.clone().list(ListSessionsRequest {}).await.unwrap_err();
    }
    clients[0].session_names().await;
    clients.pop();
    edgemux_tests::eventually("there is room again", edgemux_tests::PATIENCE, async || {
        let client = Client::try_connect(daemon.address()).await.ok()?;
        client.sessions.clone().list(ListSessionsRequest {}).await.ok()
    })
    .await;
}

/// A user whom no tenant is known by, and another who is one.
const STRANGER: u32 = 64_001;
const CAMERA: u32 = 64_002;

/// Runs `edgemux sessions` as this user; returns what it printed, and what it complained of.
fn sessions_as(uid: u32, edgemux: &Path, address: &str) -> (String, String) {
    let output = std::process::Command::new(edgemux)
        .args(["--server", address, "sessions", "--json"])
        .uid(uid)
        .gid(uid)
        .output()
        .expect("`edgemux` runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn on_a_unix_socket_the_kernel_says_who_calls() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can call as somebody else");
        return;
    }
    let tenants = format!("[[tenant]]\nname = 'camera'\nmodels = ['cam-*']\nuids = [{CAMERA}]\n");
    let setup = Setup::bare(&format!("{tenants}{DEVICE}"))
        .emulated("cam-1", Emulated::new(1.0))
        .emulated("other", Emulated::new(1.0));
    // As root's, nobody else may even open the socket: first as shipped, then let open to see who is refused by name.
    let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let path = folder.path().join("edgemuxd.sock");
    // Where everybody can reach it, whoever's the folder is in which it was built.
    let edgemux = folder.path().join("edgemux");
    std::fs::copy(edgemuxd().with_file_name("edgemux"), &edgemux).expect("cargo build -p edgemux");
    let elsewhere =
        std::process::Command::new(&edgemux).arg("--version").uid(STRANGER).gid(STRANGER).output();
    if elsewhere.is_err() {
        eprintln!("not run: this machine lets root run nothing as user {STRANGER}: {elsewhere:?}");
        return;
    }
    let address = format!("unix:{}", path.display());
    let daemon = setup.argument("--listen", &address).start().await;
    let (_, said) = sessions_as(CAMERA, &edgemux, &address);
    assert!(said.contains("Permission denied"), "{said}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let (seen, said) = sessions_as(CAMERA, &edgemux, &address);
    assert!(seen.contains("cam-1/1") && !seen.contains("other"), "{seen} {said}");
    let (_, said) = sessions_as(STRANGER, &edgemux, &address);
    assert!(said.contains("user id 64001 is no tenant's"), "{said}");
    let (seen, said) = sessions_as(0, &edgemux, &address);
    assert!(seen.contains("cam-1/1") && seen.contains("other"), "{seen} {said}");
    daemon.stop().await;
}
