//! The connection to a daemon, and the calls that every command shares.

mod credentials;
mod node;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use edgemux_proto::inference;
use edgemux_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use thiserror::Error;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

pub(crate) use self::credentials::{Credentials, Token};
use crate::rpc::RpcError;

/// The largest message sent or received: a batch of large images, with room to spare.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// HTTP/2 windows and frames, far above their defaults of 64 and 16 KiB: a tensor then crosses in few steps.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
const FRAME_BYTES_MAX: u32 = 1 << 20;

const CONNECT_S_MAX: Duration = Duration::from_secs(5);
/// Calls that read state answer at once or not at all.
const READ_S_MAX: Duration = Duration::from_secs(10);
/// Loading reads, compiles and warms a model, which takes minutes on a small board.
const LOAD_S_MAX: Duration = Duration::from_secs(600);

// === ServerAddress ===

/// `HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    Tcp(String),
    Tls(String),
    Unix(String),
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.to_owned()))
            } else {
                Err(format!("`{text}` names no absolute path; write unix:/run/edgemux/edgemuxd.sock"))
            };
        }
        let tls = text.strip_prefix("https://").or_else(|| text.strip_prefix("tls:"));
        let bare = tls.or_else(|| text.strip_prefix("http://")).unwrap_or(text).trim_end_matches('/');
        match bare.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
                Ok(if tls.is_some() { Self::Tls(bare.to_owned()) } else { Self::Tcp(bare.to_owned()) })
            }
            _ => Err(format!(
                "`{text}` is neither HOST:PORT (127.0.0.1:8001) nor https://HOST:PORT nor unix:PATH"
            )),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

// === impl ServerAddress ===

impl ServerAddress {
    /// Is what listens there on the machine that asks?
    pub(crate) fn is_this_machine(&self) -> bool {
        let (Self::Tcp(address) | Self::Tls(address)) = self else { return true };
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

// === ConnectError ===

/// No connection to the daemon.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error(
        "no edgemuxd at {server} ({cause}): start it with `edgemuxd --listen {server}`, \
         or name another with --server or EDGEMUX_SERVER"
    )]
    Unreached { server: ServerAddress, cause: String },
    #[error(
        "no TLS with {server} ({cause}): --ca names the authority that has signed its certificate, \
         --certificate and --key what it wants to see of you"
    )]
    Tls { server: ServerAddress, cause: String },
    #[error("cannot read {}: {error}", file.display())]
    Read { file: PathBuf, error: std::io::Error },
    #[error("{} holds no bearer token: one line of printable ASCII", .0.display())]
    NoToken(PathBuf),
}

// === Client ===

/// One connection to one daemon; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Transport,
}

/// A channel on which every call bears the token.
pub(crate) type Transport = InterceptedService<Channel, Token>;

impl Client {
    /// Connects, and gives up after five seconds.
    pub(crate) async fn connect(
        server: &ServerAddress,
        credentials: &Credentials,
    ) -> Result<Self, ConnectError> {
        let failed = |error: tonic::transport::Error| {
            let (server, cause) = (server.clone(), innermost(&error));
            match server {
                ServerAddress::Tls(_) => ConnectError::Tls { server, cause },
                ServerAddress::Tcp(_) | ServerAddress::Unix(_) => ConnectError::Unreached { server, cause },
            }
        };
        let uri = match server {
            ServerAddress::Tcp(address) => format!("http://{address}"),
            ServerAddress::Tls(address) => format!("https://{address}"),
            ServerAddress::Unix(path) => format!("unix:{path}"),
        };
        let mut endpoint = Endpoint::from_shared(uri)
            .and_then(|endpoint| endpoint.user_agent(concat!("edgemux/", env!("CARGO_PKG_VERSION"))))
            .map_err(failed)?
            .connect_timeout(CONNECT_S_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .tcp_nodelay(true);
        if let ServerAddress::Tls(_) = server {
            endpoint = endpoint.tls_config(credentials.tls()?).map_err(failed)?;
        }
        let token = credentials.token()?;
        let channel = endpoint.connect().await.map_err(failed)?;
        Ok(Self { channel: InterceptedService::new(channel, token) })
    }

    pub(crate) fn inference(&self) -> GrpcInferenceServiceClient<Transport> {
        GrpcInferenceServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) async fn live(&self) -> Result<bool, RpcError> {
        let answer = self.inference().server_live(within(READ_S_MAX, inference::ServerLiveRequest {})).await;
        Ok(done("ask whether the server is alive", answer)?.live)
    }

    pub(crate) async fn ready(&self) -> Result<bool, RpcError> {
        let answer =
            self.inference().server_ready(within(READ_S_MAX, inference::ServerReadyRequest {})).await;
        Ok(done("ask whether the server is ready", answer)?.ready)
    }

    pub(crate) async fn server_metadata(&self) -> Result<inference::ServerMetadataResponse, RpcError> {
        let request = within(READ_S_MAX, inference::ServerMetadataRequest {});
        done("read the server's metadata", self.inference().server_metadata(request).await)
    }

    pub(crate) async fn model_metadata(
        &self,
        name: &str,
        version: &str,
    ) -> Result<inference::ModelMetadataResponse, RpcError> {
        let request = inference::ModelMetadataRequest { name: name.to_owned(), version: version.to_owned() };
        let answer = self.inference().model_metadata(within(READ_S_MAX, request)).await;
        done(format!("read the metadata of model `{name}`"), answer)
    }

    pub(crate) async fn model_statistics(
        &self,
        name: &str,
        version: &str,
    ) -> Result<Vec<inference::ModelStatistics>, RpcError> {
        let request =
            inference::ModelStatisticsRequest { name: name.to_owned(), version: version.to_owned() };
        let answer = self.inference().model_statistics(within(READ_S_MAX, request)).await;
        Ok(done(format!("read the statistics of model `{name}`"), answer)?.model_stats)
    }

    pub(crate) async fn repository_index(
        &self,
    ) -> Result<Vec<inference::repository_index_response::ModelIndex>, RpcError> {
        let request = within(READ_S_MAX, inference::RepositoryIndexRequest::default());
        Ok(done("list the models", self.inference().repository_index(request).await)?.models)
    }

    pub(crate) async fn load(&self, request: inference::RepositoryModelLoadRequest) -> Result<(), RpcError> {
        let what = format!("load model `{}`", request.model_name);
        done(what, self.inference().repository_model_load(within(LOAD_S_MAX, request)).await).map(|_| ())
    }

    pub(crate) async fn unload(&self, name: &str) -> Result<(), RpcError> {
        let request =
            inference::RepositoryModelUnloadRequest { model_name: name.to_owned(), ..Default::default() };
        let answer = self.inference().repository_model_unload(within(LOAD_S_MAX, request)).await;
        done(format!("unload model `{name}`"), answer).map(|_| ())
    }
}

/// A request with a deadline, told to the server and kept by the channel.
pub(crate) fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn done<T>(what: impl Into<String>, answer: Result<Response<T>, Status>) -> Result<T, RpcError> {
    answer.map(Response::into_inner).map_err(|status| RpcError::new(what, &status))
}

/// The cause at the bottom: the layers above it only say that something failed beneath them.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_sockets_are_this_machine() {
        let here = |text: &str| text.parse::<ServerAddress>().unwrap().is_this_machine();
        for text in ["127.0.0.1:8001", "127.1.2.3:1", "[::1]:8001", "localhost:8001", "unix:/run/e.sock"] {
            assert!(here(text), "{text}");
        }
        for text in ["edge-7:8001", "10.0.0.1:8001", "[fe80::1]:8001", "localhost.example:1"] {
            assert!(!here(text), "{text}");
        }
    }

    #[test]
    fn addresses_are_host_and_port_or_a_socket() {
        for (text, shown) in [
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("[::1]:8001", "[::1]:8001"),
            ("http://edge-7:8001/", "edge-7:8001"),
            ("https://edge-7:8443", "https://edge-7:8443"),
            ("tls:edge-7:8443", "https://edge-7:8443"),
            ("unix:/run/e.sock", "unix:/run/e.sock"),
            ("unix:///run/e.sock", "unix:/run/e.sock"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), shown);
        }
        for text in ["", "8001", "host", "host:", ":8001", "host:0", "host:99999", "unix:", "unix:e.sock"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
