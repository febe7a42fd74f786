//! What a command can fail with, and the exit code of each failure.

use std::io;
use std::path::PathBuf;

use edgemux_client::ConnectError;
use thiserror::Error;

use crate::daemon::DaemonError;
use crate::experiment::cluster::ClusterError;
use crate::experiment::published::PublishedError;
use crate::plan::PlanError;
use crate::rpc::RpcError;
use crate::tensor::TensorError;

/// The command failed.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command line makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The model was not admitted.
pub(crate) const EXIT_NOT_ADMITTED: u8 = 3;

/// Each message says what was asked, what is so, and what to do.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Published(#[from] Box<PublishedError>),
    #[error(transparent)]
    Cluster(#[from] Box<ClusterError>),
    #[error("{0}")]
    Usage(String),
    #[error(
        "model `{model}` was not admitted: {message}\n  \
         ask for less (a lower --rate-hz, a higher --latency-ms), unload another session, or load it without terms;\n  \
         `edgemux admit {model} --dry-run` with the same terms shows what each device would bear"
    )]
    NotAdmitted { model: String, message: String },
    #[error("cannot write {path}: {cause}")]
    Write { path: PathBuf, cause: io::Error },
    #[error("{cause}\n  its place could not be given back and stays held until it expires: {error}")]
    NotReleased { cause: Box<Error>, error: RpcError },
    #[error("cannot read {path}: {cause}")]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot use this terminal: {0}; `edgemux top --once` prints the same as text")]
    Terminal(io::Error),
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    #[error("cannot start the command's own threads: {0}")]
    Runtime(io::Error),
    #[error("cannot make a timer: {0}")]
    Timer(io::Error),
    #[error("cannot make a histogram of latencies: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => EXIT_USAGE,
            Error::NotAdmitted { .. } => EXIT_NOT_ADMITTED,
            _ => EXIT_FAILED,
        }
    }

    /// A stable name for scripts: a gRPC status where the server answered with one.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Error::Connect(_) => "UNREACHABLE",
            Error::Rpc(error) => error.code_name(),
            Error::Tensor(_) => "TENSOR",
            Error::Daemon(_) => "DAEMON",
            Error::Plan(error) => error.code(),
            Error::Published(error) => error.code(),
            Error::Cluster(error) => error.code(),
            Error::Usage(_) => "USAGE",
            Error::NotReleased { cause, .. } => cause.code(),
            Error::Read { .. } => "FILE",
            Error::NotAdmitted { .. } => "NOT_ADMITTED",
            Error::Write { .. } | Error::Stdout(_) => "WRITE",
            Error::Runtime(_) | Error::Timer(_) | Error::Histogram(_) | Error::Terminal(_) => "INTERNAL",
            Error::Interrupted => "INTERRUPTED",
        }
    }
}
