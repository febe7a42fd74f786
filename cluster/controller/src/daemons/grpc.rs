//! Daemons over gRPC: a channel to each, made when it is first needed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use edgemux_proto::edgemux::v1::admission_client::AdmissionClient;
use edgemux_proto::edgemux::v1::devices_client::DevicesClient;
use edgemux_proto::edgemux::v1::{CommitRequest, ListDevicesRequest, ReleaseRequest};
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request as Message, Status};

use super::{Daemons, Request, Token, What, wording};
use crate::decide::answers::{Answer, rejection};

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A decision may wait for a trial of the model and for simulations.
const RESERVE_MAX: Duration = Duration::from_secs(30);
/// Reading, compiling and warming take minutes on a small board.
const COMMIT_MAX: Duration = Duration::from_secs(600);
/// A session is drained first.
const RELEASE_MAX: Duration = Duration::from_secs(60);
const LIST_MAX: Duration = Duration::from_secs(10);
/// After so long without a word on a connection the other end is asked whether it is there, and given up after as long again:
/// a node that is gone does not keep a call waiting.
const PING: Duration = Duration::from_secs(10);
/// After so long a channel is made anew, with certificates as they are then.
const CHANNEL_AGE_MAX: Duration = Duration::from_secs(600);

/// How the controller shows who it is, and how it knows daemons.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of connections to daemons")]
pub struct Credentials {
    /// The authority that has signed the daemons' certificates, a PEM file [default: those the system trusts]
    #[arg(long, env = "EDGEMUX_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The certificate to show to daemons, a PEM file
    #[arg(long, env = "EDGEMUX_CERTIFICATE", value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,

    /// The private key of --certificate, a PEM file
    #[arg(long, env = "EDGEMUX_KEY", value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,

    /// A file that holds the bearer token to send; it is read anew for each call
    #[arg(long, env = "EDGEMUX_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The name that the daemons' certificates are for [default: the host of each node's endpoint]
    #[arg(long, env = "EDGEMUX_SERVER_NAME", value_name = "NAME")]
    pub server_name: Option<String>,
}

/// No connection can be made.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A file is not there.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file without a token.
    #[error("{} holds no bearer token: one line of printable ASCII", .0.display())]
    NoToken(PathBuf),
    /// An endpoint that is none, or a certificate.
    #[error("no channel to {endpoint}: {error}")]
    Endpoint {
        /// Where to.
        endpoint: String,
        /// Why not.
        error: tonic::transport::Error,
    },
}

/// Daemons over gRPC.
#[derive(Debug)]
pub struct Grpc {
    credentials: Credentials,
    channels: Mutex<HashMap<String, (Channel, Instant)>>,
}

impl Credentials {
    /// Whether every file can be read, so that a mistake shows at once.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), ChannelError> {
        self.tls()?;
        self.token().map(drop)
    }

    fn tls(&self) -> Result<ClientTlsConfig, ChannelError> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
            None => tls.with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(match &self.server_name {
            Some(name) => tls.domain_name(name),
            None => tls,
        })
    }

    fn token(&self) -> Result<Option<MetadataValue<Ascii>>, ChannelError> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let text = read(file)?;
        let text = String::from_utf8_lossy(&text);
        let none = || ChannelError::NoToken(file.clone());
        if text.trim().is_empty() {
            return Err(none());
        }
        let mut header: MetadataValue<Ascii> =
            format!("Bearer {}", text.trim()).parse().map_err(|_| none())?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ChannelError> {
    std::fs::read(file).map_err(|error| ChannelError::Read { file: file.to_owned(), error })
}

impl Grpc {
    /// With these credentials.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, channels: Mutex::default() }
    }

    fn channel(&self, endpoint: &str) -> Result<Channel, ChannelError> {
        let now = Instant::now();
        let mut channels = self.channels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        channels.retain(|_, (_, since)| now.duration_since(*since) < CHANNEL_AGE_MAX);
        if let Some((channel, _)) = channels.get(endpoint) {
            return Ok(channel.clone());
        }
        let failed = |error| ChannelError::Endpoint { endpoint: endpoint.to_owned(), error };
        let mut to = Endpoint::from_shared(endpoint.to_owned())
            .and_then(|to| to.user_agent(concat!("edgemux-controller/", env!("CARGO_PKG_VERSION"))))
            .map_err(failed)?
            .connect_timeout(CONNECT_MAX)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .tcp_nodelay(true);
        if endpoint.starts_with("https://") {
            to = to.tls_config(self.credentials.tls()?).map_err(failed)?;
        }
        let channel = to.connect_lazy();
        channels.insert(endpoint.to_owned(), (channel.clone(), now));
        Ok(channel)
    }

    fn message<T>(&self, message: T, most: Duration) -> Result<Message<T>, ChannelError> {
        let mut message = Message::new(message);
        message.set_timeout(most);
        if let Some(token) = self.credentials.token()? {
            message.metadata_mut().insert("authorization", token);
        }
        Ok(message)
    }

    async fn answer(&self, request: Request) -> Result<Answer, ChannelError> {
        let channel = self.channel(&request.endpoint)?;
        let mut admission = AdmissionClient::new(channel.clone());
        Ok(match request.what {
            What::Reserve(wanted) => {
                let message = self.message(*wanted, RESERVE_MAX)?;
                match within(RESERVE_MAX, admission.reserve(message)).await {
                    Ok(response) => wording::reserved(response.into_inner()),
                    Err(status) => not_reserved(&status),
                }
            }
            What::Commit(token) => {
                if let Some(answer) = self.another_run(channel, &token).await? {
                    return Ok(answer);
                }
                let message =
                    self.message(CommitRequest { reservation: token.reservation.clone() }, COMMIT_MAX)?;
                match within(COMMIT_MAX, admission.commit(message)).await {
                    Ok(response) => {
                        let session = response.into_inner().session.unwrap_or_default();
                        if session.uid.is_empty() || session.uid == token.uid {
                            Answer::Serves
                        } else {
                            Answer::NoSuch(format!("{} is another's by now", token.reservation))
                        }
                    }
                    Err(status) => not_committed(&status),
                }
            }
            What::Release(token) => {
                if let Some(answer) = self.another_run(channel, &token).await? {
                    return Ok(answer);
                }
                let message = self.message(ReleaseRequest { reservation: token.reservation }, RELEASE_MAX)?;
                match within(RELEASE_MAX, admission.release(message)).await {
                    Ok(_) => Answer::Serves,
                    Err(status) => not_released(&status),
                }
            }
        })
    }

    /// Names of reservations are of one run of a daemon: another may have given the same to somebody else.
    async fn another_run(&self, channel: Channel, token: &Token) -> Result<Option<Answer>, ChannelError> {
        if token.epoch.is_empty() {
            return Ok(None);
        }
        let message = self.message(ListDevicesRequest {}, LIST_MAX)?;
        Ok(match within(LIST_MAX, DevicesClient::new(channel).list(message)).await {
            Ok(response) => {
                let epoch = response.into_inner().epoch;
                (!epoch.is_empty() && epoch != token.epoch)
                    .then(|| Answer::NoSuch("the daemon has started anew".into()))
            }
            Err(status) => Some(Answer::None(said(&status))),
        })
    }
}

impl Daemons for Grpc {
    async fn ask(&self, request: Request) -> Answer {
        self.answer(request).await.unwrap_or_else(|error| Answer::None(error.to_string()))
    }
}

/// The channel keeps its deadline only once it is connected.
async fn within<T>(most: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Err(Status::deadline_exceeded(format!("no answer in {} s", most.as_secs())));
    tokio::time::timeout(most + CONNECT_MAX, call).await.unwrap_or_else(late)
}

fn not_reserved(status: &Status) -> Answer {
    let reason = match status.code() {
        _ if is_silence(status) => return Answer::None(said(status)),
        Code::Aborted => return Answer::Busy(said(status)),
        Code::NotFound => "NoModel",
        Code::FailedPrecondition => "NotSuited",
        Code::AlreadyExists => "NameTaken",
        Code::ResourceExhausted => "Limit",
        Code::PermissionDenied | Code::Unauthenticated => "NotAllowed",
        Code::InvalidArgument | Code::OutOfRange => "Invalid",
        _ => "Failed",
    };
    Answer::Refused(vec![rejection(reason, status.message())])
}

fn not_committed(status: &Status) -> Answer {
    match status.code() {
        _ if is_silence(status) => Answer::None(said(status)),
        Code::Aborted => Answer::Busy(said(status)),
        Code::NotFound => Answer::NoSuch(said(status)),
        _ => Answer::Failed(said(status)),
    }
}

fn not_released(status: &Status) -> Answer {
    match status.code() {
        Code::NotFound if !is_silence(status) => Answer::NoSuch(said(status)),
        Code::Aborted => Answer::Busy(said(status)),
        _ => Answer::None(said(status)),
    }
}

/// Whether it is not the daemon that says this, or only that it cannot say anything.
fn is_silence(status: &Status) -> bool {
    let local = std::error::Error::source(status).is_some();
    local
        || matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
        )
}

fn said(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let cause = if std::error::Error::source(status).is_some() { cause.to_string() } else { String::new() };
    match (status.message(), cause.as_str()) {
        ("", "") => status.code().description().to_owned(),
        (message, "") => message.to_owned(),
        ("", cause) => cause.to_owned(),
        (message, cause) => format!("{message}: {cause}"),
    }
}
