//! The one table from what goes wrong inside to what a client is told.

use edgemux_multiplexer::Refusal;
use edgemux_runtime_api::error::{LoadError as RuntimeLoadError, RunError};
use tonic::{Code, Status};

use crate::device::{Failure, LoadProblem};
use crate::node::{LoadError, NoSession};
use crate::regions::{RegisterError, SliceError};
use crate::repository::RepositoryError;

/// Longest message that goes into a response's trailers: clients refuse more than some kilobytes of them.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The status with its message cut to what a client takes: names that clients made up can be of any length.
pub(super) fn brief(status: Status) -> Status {
    let message = status.message();
    if message.len() <= MESSAGE_BYTES_MAX {
        return status;
    }
    let end = (0..=MESSAGE_BYTES_MAX).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
    Status::new(status.code(), format!("{}…", &message[..end]))
}

/// A failure as it is told to a client of `model`.
pub(super) fn failure(model: &str, failure: &Failure) -> Status {
    let (code, message) = match failure {
        Failure::Refused(Refusal::QueueFull) => {
            (Code::ResourceExhausted, format!("the queue of model '{model}' is full; try again later"))
        }
        Failure::Refused(Refusal::Closed | Refusal::NoSession) => (
            Code::Unavailable,
            format!("model '{model}' takes no more requests: it is being unloaded or has failed"),
        ),
        Failure::Expired => {
            (Code::DeadlineExceeded, format!("the request's deadline passed in the queue of model '{model}'"))
        }
        Failure::WorkerDied => {
            (Code::Unavailable, format!("the worker of model '{model}' died under the request; try again"))
        }
        Failure::SlowClient => {
            (Code::ResourceExhausted, "the responses were not taken as fast as the model gave them".into())
        }
        Failure::Run(error) => return run_error(model, error),
    };
    Status::new(code, message)
}

fn run_error(model: &str, error: &RunError) -> Status {
    let code = match error {
        RunError::Inputs(_) | RunError::OutputSpace { .. } | RunError::SharedMemory(_) => {
            Code::InvalidArgument
        }
        RunError::Failed(_) => Code::Internal,
        RunError::Cancelled => Code::Cancelled,
        RunError::NotLoaded(_) | RunError::DeviceLost(_) => Code::Unavailable,
    };
    brief(Status::new(code, format!("model '{model}': {error}")))
}

impl From<NoSession> for Status {
    fn from(error: NoSession) -> Self {
        let code = match error {
            NoSession::Unknown(_) | NoSession::UnknownVersion { .. } => Code::NotFound,
            NoSession::NotReady { .. } => Code::Unavailable,
        };
        brief(Self::new(code, error.to_string()))
    }
}

impl From<RepositoryError> for Status {
    fn from(error: RepositoryError) -> Self {
        let code = match error {
            RepositoryError::Name(_) | RepositoryError::Version(_) => Code::InvalidArgument,
            RepositoryError::NoModel { .. } | RepositoryError::NoVersion { .. } => Code::NotFound,
            RepositoryError::NoFile { .. }
            | RepositoryError::Declaration { .. }
            | RepositoryError::Terms { .. } => Code::InvalidArgument,
            RepositoryError::Read { .. } => Code::Internal,
        };
        brief(Self::new(code, error.to_string()))
    }
}

impl From<LoadError> for Status {
    fn from(error: LoadError) -> Self {
        let code = match &error {
            LoadError::Repository(_) => {
                let LoadError::Repository(error) = error else { return Self::internal("") };
                return error.into();
            }
            LoadError::NoDevice { .. } => Code::FailedPrecondition,
            LoadError::Problem { problem, .. } => match problem {
                LoadProblem::Refused(RuntimeLoadError::Invalid { .. }) => Code::InvalidArgument,
                LoadProblem::Refused(RuntimeLoadError::Memory { .. }) => Code::ResourceExhausted,
                LoadProblem::Refused(RuntimeLoadError::Read { .. }) | LoadProblem::Quarantined(_) => {
                    Code::Internal
                }
                LoadProblem::Slow(_) => Code::DeadlineExceeded,
                LoadProblem::NoWorker(_) | LoadProblem::Stopping => Code::Unavailable,
            },
        };
        brief(Self::new(code, error.to_string()))
    }
}

impl From<RegisterError> for Status {
    fn from(error: RegisterError) -> Self {
        let code = match error {
            RegisterError::Taken(_) => Code::AlreadyExists,
            RegisterError::TooMany(_) => Code::ResourceExhausted,
            RegisterError::Region { .. } => Code::InvalidArgument,
        };
        brief(Self::new(code, error.to_string()))
    }
}

impl From<SliceError> for Status {
    fn from(error: SliceError) -> Self {
        let code = match error {
            SliceError::Unknown(_) => Code::NotFound,
            SliceError::Outside(_) => Code::InvalidArgument,
        };
        brief(Self::new(code, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_at_a_character_and_a_short_one_is_left_alone() {
        assert_eq!(brief(Status::not_found("x")).message(), "x");
        let long = brief(Status::not_found("ä".repeat(3000)));
        assert_eq!((long.code(), long.message().len()), (Code::NotFound, 2048 + '…'.len_utf8()));
    }
}
