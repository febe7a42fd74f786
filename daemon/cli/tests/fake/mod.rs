//! A server in this process that answers as a daemon would, and the command run against it.

mod admission;
pub(crate) mod calibration;
pub(crate) mod doctor;
pub(crate) mod inference;
pub(crate) mod node;
pub(crate) mod pty;

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use edgemux_proto::edgemux::v1::admission_server::AdmissionServer;
use edgemux_proto::edgemux::v1::calibration_server::CalibrationServer;
use edgemux_proto::edgemux::v1::devices_server::DevicesServer;
use edgemux_proto::edgemux::v1::sessions_server::SessionsServer;
use edgemux_proto::inference::RepositoryModelLoadRequest;
use edgemux_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::transport::server::Connected;

use inference::Fake;
use node::{Call, Node};

const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// The running server.
pub(crate) struct Running {
    pub(crate) address: String,
    /// What was asked to be loaded.
    pub(crate) loads: mpsc::Receiver<RepositoryModelLoadRequest>,
    pub(crate) inferences: Arc<watch::Sender<u64>>,
    /// What else was asked of it.
    pub(crate) calls: mpsc::Receiver<Call>,
}

/// Starts the server on a free port, in the runtime of the test.
pub(crate) async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    serve(address, TcpListenerStream::new(listener))
}

/// Starts the server on a socket of this path.
pub(crate) fn start_unix(path: &Path) -> Running {
    let listener = UnixListener::bind(path).unwrap();
    serve(format!("unix:{}", path.display()), UnixListenerStream::new(listener))
}

fn serve<S>(address: String, connections: impl Stream<Item = io::Result<S>> + Send + 'static) -> Running
where
    S: Connected + AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (loads_in, loads) = mpsc::channel(16);
    let inferences = Arc::new(watch::Sender::new(0));
    let (calls_in, calls) = mpsc::channel(64);
    let node = Node::new(calls_in);
    let fake = Fake { inferences: Arc::clone(&inferences), loads: loads_in };
    let inference = GrpcInferenceServiceServer::new(fake)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let serve = Server::builder()
        .add_service(inference)
        .add_service(DevicesServer::new(node.clone()))
        .add_service(SessionsServer::new(node.clone()))
        .add_service(AdmissionServer::new(node.clone()))
        .add_service(CalibrationServer::new(node))
        .serve_with_incoming(connections);
    tokio::spawn(serve);
    Running { address, loads, inferences, calls }
}

impl Running {
    /// Returns once so many inferences have come.
    pub(crate) async fn inferences_reach(&self, wanted: u64) {
        let mut inferences = self.inferences.subscribe();
        let reached = inferences.wait_for(|count| *count >= wanted);
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("requests come").unwrap();
    }

    /// Runs the command against this server.
    pub(crate) async fn edgemux(&self, arguments: &[&str]) -> Output {
        edgemux(&[&["--server", &self.address], arguments].concat()).await
    }

    /// Runs the command with `--json`, asserts its exit code, and returns its object.
    pub(crate) async fn json(&self, exit: i32, arguments: &[&str]) -> Value {
        let output = self.edgemux(&[&["--json"], arguments].concat()).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}\n{stderr}");
        let object = serde_json::from_slice(&output.stdout).expect("one JSON object on stdout");
        assert_documented(&object);
        object
    }
}

/// Every key of the command's JSON stands in its documentation.
pub(crate) fn assert_documented(object: &Value) {
    const README: &str = include_str!("../../README.md");
    match object {
        Value::Object(fields) => {
            for (key, value) in fields {
                // Error codes are keys too, and documented as a whole.
                let is_code = key.starts_with(char::is_uppercase);
                assert!(is_code || README.contains(&format!("`{key}`")), "`{key}` is not in the README");
                assert_documented(value);
            }
        }
        Value::Array(values) => values.iter().for_each(assert_documented),
        _ => {}
    }
}

/// Runs the command.
pub(crate) async fn edgemux(arguments: &[&str]) -> Output {
    edgemux_with(arguments, &[]).await
}

/// Runs the command in an environment with these variables.
pub(crate) async fn edgemux_with(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgemux"))
        .args(arguments)
        .env_remove("EDGEMUX_SERVER")
        .env_remove("EDGEMUXD")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("the command ends").unwrap()
}
