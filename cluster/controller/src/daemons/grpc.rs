//! Daemons over gRPC: a channel to each, made when it is first needed.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use edgemux_client::{CONNECT_MAX, ConnectError, Credentials, ServerAddress, Transport, innermost, within};
use edgemux_proto::edgemux::v1::admission_client::AdmissionClient;
use edgemux_proto::edgemux::v1::devices_client::DevicesClient;
use edgemux_proto::edgemux::v1::{CommitRequest, ListDevicesRequest, ReleaseRequest};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Daemons, Request, Token, What, wording};
use crate::decide::answers::{Answer, rejection};

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

/// Daemons over gRPC.
#[derive(Debug)]
pub struct Grpc {
    credentials: Credentials,
    channels: Mutex<HashMap<String, (Channel, Instant)>>,
}

impl Grpc {
    /// With these credentials.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, channels: Mutex::default() }
    }

    fn channel(&self, endpoint: &str) -> Result<Channel, ConnectError> {
        let now = Instant::now();
        let mut channels = self.channels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        channels.retain(|_, (_, since)| now.duration_since(*since) < CHANNEL_AGE_MAX);
        if let Some((channel, _)) = channels.get(endpoint) {
            return Ok(channel.clone());
        }
        let channel = endpoint
            .parse::<ServerAddress>()?
            .endpoint(&self.credentials, concat!("edgemux-controller/", env!("CARGO_PKG_VERSION")))?
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .connect_lazy();
        channels.insert(endpoint.to_owned(), (channel.clone(), now));
        Ok(channel)
    }

    async fn answer(&self, request: Request) -> Result<Answer, ConnectError> {
        let channel = self.credentials.bear(self.channel(&request.endpoint)?)?;
        let mut admission = AdmissionClient::new(channel.clone());
        Ok(match request.what {
            What::Reserve(wanted) => {
                let message = within(RESERVE_MAX, *wanted);
                match in_time(RESERVE_MAX, admission.reserve(message)).await {
                    Ok(response) => wording::reserved(response.into_inner()),
                    Err(status) => not_reserved(&status),
                }
            }
            What::Commit(token) => {
                if let Some(answer) = another_run(channel, &token).await {
                    return Ok(answer);
                }
                let message = within(COMMIT_MAX, CommitRequest { reservation: token.reservation.clone() });
                match in_time(COMMIT_MAX, admission.commit(message)).await {
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
                if let Some(answer) = another_run(channel, &token).await {
                    return Ok(answer);
                }
                let message = within(RELEASE_MAX, ReleaseRequest { reservation: token.reservation });
                match in_time(RELEASE_MAX, admission.release(message)).await {
                    Ok(_) => Answer::Serves,
                    Err(status) => not_released(&status),
                }
            }
        })
    }
}

impl Daemons for Grpc {
    async fn ask(&self, request: Request) -> Answer {
        self.answer(request).await.unwrap_or_else(|error| Answer::None(error.to_string()))
    }
}

/// Names of reservations are of one run of a daemon: another may have given the same to somebody else.
async fn another_run(channel: Transport, token: &Token) -> Option<Answer> {
    if token.epoch.is_empty() {
        return None;
    }
    let message = within(LIST_MAX, ListDevicesRequest {});
    match in_time(LIST_MAX, DevicesClient::new(channel).list(message)).await {
        Ok(response) => {
            let epoch = response.into_inner().epoch;
            (!epoch.is_empty() && epoch != token.epoch)
                .then(|| Answer::NoSuch("the daemon has started anew".into()))
        }
        Err(status) => Some(Answer::None(said(&status))),
    }
}

/// The channel keeps its deadline only once it is connected.
async fn in_time<T>(most: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
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
    let cause = std::error::Error::source(status).map(innermost).unwrap_or_default();
    match (status.message(), cause.as_str()) {
        ("", "") => status.code().description().to_owned(),
        (message, "") => message.to_owned(),
        ("", cause) => cause.to_owned(),
        (message, cause) => format!("{message}: {cause}"),
    }
}
