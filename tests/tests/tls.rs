//! TLS: a certificate that can be checked, clients that show one of the right authority, renewal that drops nobody.

use std::path::{Path, PathBuf};

use edgemux_proto::edgemux::v1::ListSessionsRequest;
use edgemux_tests::{
    Client, Daemon, Emulated, Load, PATIENCE, Setup, assert_echo, echo, edgemuxd, eventually,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustix::process::Signal;
use tonic::Code;
use tonic::transport::{Certificate as Pem, ClientTlsConfig, Identity};

const DEVICE: &str =
    "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";

/// Signs certificates.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose, years: (i32, i32)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    fn server(&self) -> Signed {
        self.sign("localhost", ExtendedKeyUsagePurpose::ServerAuth, (2020, 2090))
    }

    fn client(&self, name: &str) -> Signed {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth, (2020, 2090))
    }
}

fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A daemon that shows `shown` and lets in whom `clients` has signed, with two tenants by their certificates.
async fn start(shown: &Signed, clients: &Authority) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key, ca] =
        [("server.pem", &shown.certificate), ("server.key", &shown.key), ("ca.pem", &clients.pem())]
            .map(|(name, text)| put(folder.path(), name, text));
    let config = format!(
        "[tls]\ncertificate = '{}'\nkey = '{}'\nclient-ca = '{}'\n\
         [[tenant]]\nname = 'camera'\nmodels = ['cam']\ncertificates = ['camera.example']\n{DEVICE}",
        certificate.display(),
        key.display(),
        ca.display()
    );
    let setup =
        Setup::bare(&config).emulated("cam", Emulated::new(1.0)).emulated("other", Emulated::new(1.0));
    // The files stay for as long as the daemon's folder does.
    std::fs::rename(folder.keep(), setup.path("tls")).unwrap();
    let moved =
        config.replace(certificate.parent().unwrap().to_str().unwrap(), setup.path("tls").to_str().unwrap());
    std::fs::write(setup.path("edgemuxd.toml"), moved).unwrap();
    setup.argument("--listen", "tls:127.0.0.1:0").start().await
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Pem::from_pem(authority.pem())).domain_name("localhost")
}

fn showing(tls: ClientTlsConfig, signed: &Signed) -> ClientTlsConfig {
    tls.identity(Identity::from_pem(&signed.certificate, &signed.key))
}

/// In TLS 1.3 a client learns that its certificate was not taken with its first request, or even before.
async fn is_turned_away(daemon: &Daemon, tls: ClientTlsConfig) -> bool {
    match Client::try_connect_tls(daemon.address(), tls).await {
        Err(_) => true,
        Ok(client) => match client.sessions.clone().list(ListSessionsRequest {}).await {
            Ok(_) => false,
            Err(status) => status.code() != Code::Unauthenticated,
        },
    }
}

#[tokio::test]
async fn who_shows_no_certificate_or_a_wrong_or_an_expired_one_is_turned_away() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let daemon = start(&authority.server(), &authority).await;
    let camera = authority.client("camera.example");
    let client =
        Client::try_connect_tls(daemon.address(), showing(trusting(&authority), &camera)).await.unwrap();
    assert_echo(&client.infer(echo("cam", [1.0; 4])).await.unwrap(), [1.0; 4]);
    // A tenant by its certificate, with what is a tenant's.
    assert_eq!(client.session_names().await, ["cam/1"]);
    assert_eq!(client.infer(echo("other", [1.0; 4])).await.unwrap_err().code(), Code::NotFound);

    let purpose = ExtendedKeyUsagePurpose::ClientAuth;
    let expired = authority.sign("camera.example", purpose.clone(), (2020, 2021));
    let early = authority.sign("camera.example", purpose, (2080, 2090));
    let of_a_server = authority.sign("camera.example", ExtendedKeyUsagePurpose::ServerAuth, (2020, 2090));
    assert!(is_turned_away(&daemon, trusting(&authority)).await, "none");
    for (wrong, why) in [
        (stranger.client("camera.example"), "another authority's"),
        (expired, "expired"),
        (early, "not valid yet"),
        (of_a_server, "not for clients"),
    ] {
        assert!(is_turned_away(&daemon, showing(trusting(&authority), &wrong)).await, "{why}");
    }
    // The right authority, and nobody's name: known to nobody, which is said.
    let nobody = showing(trusting(&authority), &authority.client("printer.example"));
    let nobody = Client::try_connect_tls(daemon.address(), nobody).await.unwrap();
    let refused = nobody.sessions.clone().list(ListSessionsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert!(refused.message().contains("names of the certificate"), "{refused:?}");

    // A client that trusts another authority does not talk to this daemon, and plain text gets no answer.
    assert!(is_turned_away(&daemon, showing(trusting(&stranger), &camera)).await);
    let plain = daemon.address().strip_prefix("tls:").unwrap();
    if let Ok(client) = Client::try_connect(plain).await {
        client.sessions.clone().list(ListSessionsRequest {}).await.unwrap_err();
    }
    // It goes on.
    assert_echo(&client.infer(echo("cam", [1.0; 4])).await.unwrap(), [1.0; 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_under_load_and_no_request_is_lost() {
    let (old, new) = (Authority::new(), Authority::new());
    let daemon = start(&old.server(), &old).await;
    let camera = old.client("camera.example");
    let tls = showing(trusting(&old), &camera);
    let connected = Client::try_connect_tls(daemon.address(), tls.clone()).await.unwrap();
    let load = Load::over(vec![connected.clone(); 4], &echo("cam", [1.0; 4]));
    let renewed = new.server();
    let folder = daemon.setup().path("tls");
    let reload = async |said: &str| {
        let count = |log: String| log.matches(said).count();
        let before = count(daemon.log());
        daemon.process().signal(Signal::HUP);
        eventually(said, PATIENCE, async || (count(daemon.log()) > before).then_some(())).await;
    };
    load.until_succeeded(20).await;
    // Half of a renewal, as a script may leave it for a moment: the new certificate beside the old key.
    put(&folder, "server.pem", &renewed.certificate);
    reload("the configuration is not reloaded, nothing is changed").await;
    assert!(!is_turned_away(&daemon, tls.clone()).await, "the old one holds");
    put(&folder, "server.key", &renewed.key);
    reload("the configuration is reloaded").await;
    assert!(is_turned_away(&daemon, tls).await, "the new one is not what the old authority signed");
    let client = Client::try_connect_tls(daemon.address(), showing(trusting(&new), &camera)).await.unwrap();
    assert_echo(&client.infer(echo("cam", [1.0; 4])).await.unwrap(), [1.0; 4]);
    // Connections from before go on.
    assert_echo(&connected.infer(echo("cam", [1.0; 4])).await.unwrap(), [1.0; 4]);
    load.until_succeeded(20).await;
    let outcomes = load.stop().await;
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.code != Code::Ok).collect();
    assert!(
        outcomes.len() > 20 && failed.is_empty(),
        "{} of {}: {:?}",
        failed.len(),
        outcomes.len(),
        failed.first()
    );
    daemon.stop().await;
}

#[tokio::test]
async fn the_command_shows_who_it_is_and_checks_the_daemon() {
    let authority = Authority::new();
    let daemon = start(&authority.server(), &authority).await;
    let folder = tempfile::tempdir().unwrap();
    let signed = authority.client("camera.example");
    let [ca, certificate, key] =
        [("ca.pem", &authority.pem()), ("c.pem", &signed.certificate), ("c.key", &signed.key)]
            .map(|(name, text)| put(folder.path(), name, text));
    let port = daemon.address().rsplit_once(':').unwrap().1;
    let run = |arguments: &[&Path]| {
        let output = std::process::Command::new(edgemuxd().with_file_name("edgemux"))
            .args(["--server", &format!("https://localhost:{port}"), "sessions", "--json"])
            .args(arguments)
            .output()
            .expect("`edgemux` runs: cargo build -p edgemux");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let [ca_option, certificate_option, key_option] = ["--ca", "--certificate", "--key"].map(Path::new);
    let shown = [certificate_option, &certificate, key_option, &key];
    let (seen, said) = run(&[&shown[..], &[ca_option, &ca]].concat());
    assert!(seen.contains("cam/1"), "{seen} {said}");
    let (_, said) = run(&shown);
    assert!(said.contains("no TLS with") && said.contains("--ca"), "{said}");
    let (_, said) = run(&[certificate_option, &certificate]);
    assert!(said.contains("--key"), "{said}");
    daemon.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_anything_starts() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let (server, another) = (authority.server(), other.server());
    let [certificate, key, empty, another] = [
        ("server.pem", &server.certificate),
        ("server.key", &server.key),
        ("empty.pem", &String::new()),
        ("another.key", &another.key),
    ]
    .map(|(name, text)| put(folder.path(), name, text).display().to_string());
    for (certificate, key, says) in [
        ("/nowhere.pem", &*key, "tls.certificate = /nowhere.pem"),
        (&certificate, "/nowhere.key", "tls.key = /nowhere.key"),
        (&empty, &key, "no certificate in it"),
        (&certificate, &empty, "tls.key"),
        (&certificate, &another, "and its key"),
    ] {
        let config = format!("[tls]\ncertificate = '{certificate}'\nkey = '{key}'\n{DEVICE}");
        let refused = Setup::bare(&config).argument("--listen", "tls:127.0.0.1:0").refused().await;
        assert!(refused.code == Some(1) && refused.said.contains(says), "{says}: {}", refused.said);
    }
}
