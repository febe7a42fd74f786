//! etcd and kube-apiserver, on loopback, with all that edgemux ships for them.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use edgemux_tests::{PATIENCE, Process};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config, discovery};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::assets::Assets;
use crate::eventually;
use crate::program::Program;
use crate::{certificates, manifests};

/// Where edgemux's own programs are, as it is shipped.
const NAMESPACE: &str = edgemux_cluster_api::access::NAMESPACE;
/// A server that is not there yet may take a connection and say nothing.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Tokens outlive every test.
const TOKEN_S: i64 = 24 * 3600;

/// One at a time: each is a good part of a small machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A cluster without a kubelet; dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    // Programs go before their folder, and that before the next may start.
    extensions: Option<Program>,
    apiserver: Option<Program>,
    etcd: Program,
    assets: Assets,
    port: u16,
    extensions_port: u16,
    etcd_port: u16,
    has_policies: bool,
    is_set_up: bool,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts it, and gives it definitions, roles and admission policy as they are shipped.
    pub async fn start(assets: &Assets) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let alone = ALONE.lock().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        certificates::write(folder.path());
        let [port, extensions_port, etcd_port, peer_port] = free_ports();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let etcd = Program::start(
            &assets.etcd(),
            [
                format!("--data-dir={}", folder.path().join("etcd").display()),
                format!("--listen-client-urls={}", url(etcd_port)),
                format!("--advertise-client-urls={}", url(etcd_port)),
                format!("--listen-peer-urls={}", url(peer_port)),
                format!("--initial-advertise-peer-urls={}", url(peer_port)),
                format!("--initial-cluster=default={}", url(peer_port)),
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
            ],
            &[],
            folder.path().join("etcd.log"),
        );
        let mut control = Self {
            extensions: None,
            apiserver: None,
            etcd,
            assets: assets.clone(),
            port,
            extensions_port,
            etcd_port,
            has_policies: false,
            is_set_up: false,
            folder,
            _alone: alone,
        };
        control.start_apiserver().await;
        let admin = control.admin().await;
        for file in ["namespace.yaml", "rbac.yaml"] {
            manifests::apply(&admin, &format!("base/{file}")).await;
        }
        // Where definitions have a server of their own, they are its.
        let definitions = match &control.extensions {
            None => admin.clone(),
            Some(_) => client(&control.admin_of("extensions", control.extensions_port)).await,
        };
        manifests::apply(&definitions, "base/crds.yaml").await;
        manifests::established(&definitions).await;
        if control.extensions.is_some() {
            manifests::pass_on(&admin, control.extensions_port, &control.path("ca.crt")).await;
        }
        manifests::served(&admin).await;
        control.is_set_up = true;
        let version =
            GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy");
        control.has_policies = discovery::pinned_kind(&admin, &version).await.is_ok();
        if control.has_policies {
            manifests::apply(&admin, "base/admission-policy.yaml").await;
        }
        control
    }

    /// Starts the API server, and waits until it is ready.
    pub async fn start_apiserver(&mut self) {
        let path = |name: &str| self.path(name).display().to_string();
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={}", self.port),
            format!("--cert-dir={}", path("generated")),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--client-ca-file={}", path("ca.crt")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", path("accounts.pub")),
            format!("--service-account-signing-key-file={}", path("accounts.key")),
            "--authorization-mode=RBAC".into(),
            "--service-cluster-ip-range=10.96.0.0/24".into(),
            "--allow-privileged=true".into(),
            "--endpoint-reconciler-type=none".into(),
            format!("--requestheader-client-ca-file={}", path("ca.crt")),
            "--requestheader-allowed-names=front-proxy".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            format!("--proxy-client-cert-file={}", path("front.crt")),
            format!("--proxy-client-key-file={}", path("front.key")),
        ];
        let apiserver =
            Program::start(&self.assets.apiserver(), arguments, &[], self.path("kube-apiserver.log"));
        let process = apiserver.process();
        self.apiserver = Some(apiserver);
        is_ready(&self.admin().await, process, &self.path("kube-apiserver.log")).await;
        if let Some(extensions) = self.assets.extensions() {
            self.start_extensions(&extensions).await;
        }
        if self.is_set_up {
            manifests::served(&self.admin().await).await;
        }
    }

    async fn start_extensions(&mut self, program: &Path) {
        let path = |name: &str| self.path(name).display().to_string();
        let front = self.admin_of("admin", self.port).display().to_string();
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", self.extensions_port),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--kubeconfig={front}"),
            format!("--authentication-kubeconfig={front}"),
            format!("--authorization-kubeconfig={front}"),
            // They ask the API server for resources that it does not have yet.
            "--disable-admission-plugins=ValidatingAdmissionPolicy,MutatingAdmissionPolicy".into(),
            "--enable-priority-and-fairness=false".into(),
        ];
        let log = self.path("apiextensions-apiserver.log");
        let extensions = Program::start(program, arguments, &[], log.clone());
        let process = extensions.process();
        self.extensions = Some(extensions);
        is_ready(&client(&self.admin_of("extensions", self.extensions_port)).await, process, &log).await;
    }

    /// Ends the API server; its data stays.
    pub async fn stop_apiserver(&mut self) {
        // It waits for its watchers otherwise, for a minute.
        if let Some(extensions) = self.extensions.take() {
            extensions.kill().await;
        }
        self.apiserver.take().expect("it runs").kill().await;
    }

    /// A client that may do everything.
    pub async fn admin(&self) -> Client {
        client(&self.admin_of("admin", self.port)).await
    }

    fn admin_of(&self, name: &str, port: u16) -> PathBuf {
        let path = |name: &str| self.path(name).display().to_string();
        let user = json!({ "client-certificate": path("admin.crt"), "client-key": path("admin.key") });
        self.kubeconfig(name, &user, port)
    }

    /// The kubeconfig of one of edgemux's accounts, with a token that is of no pod.
    pub async fn account(&self, account: &str) -> PathBuf {
        let token = self.token(account, None).await;
        self.kubeconfig(account, &json!({ "token": token }), self.port)
    }

    /// The kubeconfig of the publisher on this node: its account, and a token of a pod there.
    pub async fn publisher(&self, node: &str) -> PathBuf {
        let token = self.token(edgemux_cluster_api::access::PUBLISHER, Some(node)).await;
        self.kubeconfig(&format!("publisher-{node}"), &json!({ "token": token }), self.port)
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether it is recent enough for ValidatingAdmissionPolicies.
    #[must_use]
    pub fn has_policies(&self) -> bool {
        self.has_policies
    }

    /// Whether etcd and the API server run still.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.etcd.is_running() && self.apiserver.as_ref().is_some_and(Program::is_running)
    }

    async fn token(&self, account: &str, node: Option<&str>) -> String {
        let admin = self.admin().await;
        let bound = match node {
            None => None,
            Some(node) => {
                let pod = self.pod(&admin, account, node).await;
                Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: pod.metadata.name,
                    uid: pod.metadata.uid,
                })
            }
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(admin, NAMESPACE);
        let spec = TokenRequestSpec {
            expiration_seconds: Some(TOKEN_S),
            bound_object_ref: bound,
            ..Default::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let issued = accounts.create_token_request(account, &PostParams::default(), &request).await;
        issued.expect("a token").status.expect("a token").token
    }

    /// A pod on a node, neither of which runs: what a token can be bound to.
    async fn pod(&self, admin: &Client, account: &str, node: &str) -> Pod {
        let nodes: Api<Node> = Api::all(admin.clone());
        let of = |value: Value| serde_json::from_value(value).expect("a node");
        let made = nodes.create(&PostParams::default(), &of(json!({ "metadata": { "name": node } }))).await;
        if let Err(error) = made {
            assert!(error.to_string().contains("already exists"), "{error}");
        }
        let pods: Api<Pod> = Api::namespaced(admin.clone(), NAMESPACE);
        let pod = json!({
            "metadata": { "generateName": "edgemux-node-" },
            "spec": {
                "nodeName": node,
                "serviceAccountName": account,
                "automountServiceAccountToken": false,
                "containers": [{ "name": "publisher", "image": "edgemux-publisher" }],
            },
        });
        let pod = serde_json::from_value(pod).expect("a pod");
        eventually("a pod is made", PATIENCE, async || {
            pods.create(&PostParams::default(), &pod).await.map_err(|error| eprintln!("a pod: {error}")).ok()
        })
        .await
    }

    fn kubeconfig(&self, name: &str, user: &Value, port: u16) -> PathBuf {
        let file = self.path(&format!("{name}.kubeconfig"));
        // JSON is YAML.
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{ "name": "tests", "context": { "cluster": "tests", "user": name } }],
            "clusters": [{ "name": "tests", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": self.path("ca.crt"),
            } }],
            "users": [{ "name": name, "user": user }],
        });
        std::fs::write(&file, text.to_string()).expect("a kubeconfig");
        file
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("=== all logs are kept in {}", self.folder.path().display());
        }
    }
}

/// The client of a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a kubeconfig of one cluster");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

/// The variables of a program with this kubeconfig.
#[must_use]
pub fn kubeconfig(file: &Path) -> [(&'static str, &OsStr); 1] {
    [("KUBECONFIG", file.as_os_str())]
}

/// Waits until a server says that it is ready.
async fn is_ready(admin: &Client, process: Process, log: &Path) {
    eventually("the server is ready", PATIENCE, async || {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(process.is_running(), "it ended: {}", said());
        let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
        let answer = tokio::time::timeout(ANSWER_MAX, admin.request_text(request)).await;
        answer.ok()?.ok().filter(|text| text == "ok")
    })
    .await;
}

/// Ports that nobody listens on now.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    // All at once, so that they differ.
    let listeners: Vec<_> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    std::array::from_fn(|index| listeners[index].local_addr().expect("its address").port())
}
