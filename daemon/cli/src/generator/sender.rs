//! Sends one request and waits for its end, by a call of its own or on a stream.

use std::time::Duration;

use edgemux_client::within;
use edgemux_proto::inference::ModelInferRequest;
use tonic::{Code, Status};

use super::stream::StreamSender;
use crate::client::Client;
use crate::rpc;

/// Why a request failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// A gRPC status, or `IN_STREAM` for an error within a stream, which has none.
    pub(crate) code: String,
    pub(crate) message: String,
    status: Code,
}

/// Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub(crate) enum Sender {
    Unary { client: Client, timeout: Duration },
    Stream(StreamSender),
}

// === impl Sender ===

impl Sender {
    pub(crate) async fn send(&self, request: ModelInferRequest) -> Result<(), Failure> {
        match self {
            Self::Unary { client, timeout } => {
                let answer = client.inference().model_infer(within(*timeout, request)).await;
                answer.map(|_| ()).map_err(|status| Failure::from(&status))
            }
            Self::Stream(stream) => stream.send(request).await,
        }
    }

    /// Opens a stream on which all requests travel.
    pub(crate) fn stream(client: &Client, timeout: Duration, outstanding: usize) -> Self {
        Self::Stream(StreamSender::open(client, timeout, outstanding))
    }
}

// === impl Failure ===

impl Failure {
    /// An error whose status is not known: within a stream, or on this side.
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned(), status: Code::Unknown }
    }

    pub(super) fn timed_out(timeout: Duration) -> Self {
        let message = format!("no answer within {} ms", timeout.as_millis());
        Self::from(&Status::deadline_exceeded(message))
    }

    pub(super) fn into_status(self) -> Status {
        Status::new(self.status, self.message)
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        let code = rpc::code(status);
        Self { code: rpc::code_name(code).to_owned(), message: rpc::message(status), status: code }
    }
}
