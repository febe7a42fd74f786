//! The one table from what goes wrong inside to what a client is told.

use std::time::Duration;

use edgemux_multiplexer::Refusal;
use edgemux_runtime_api::error::{LoadError as RuntimeLoadError, RunError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, QuotaViolation, StatusExt};

use crate::desk::{ReservationError, Verdict};
use crate::device::{Failure, LoadProblem};
use crate::node::{LoadError, NoSession};
use crate::regions::{RegisterError, SliceError};
use crate::repository::RepositoryError;

/// Longest message that goes into a response's trailers: clients refuse more than some kilobytes of them.
const MESSAGE_BYTES_MAX: usize = 2048;

/// Most reasons of a refusal that are sent one by one.
const VIOLATIONS_MAX: usize = 16;

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
        Failure::Refused(Refusal::QueueFull { retry_after }) => {
            return later(format!("the queue of model '{model}' is full"), *retry_after);
        }
        Failure::Refused(Refusal::Excess { retry_after }) => {
            return later(format!("model '{model}' was sent more than its terms allow"), *retry_after);
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

/// A refusal that says when to come again: in its message, and as `google.rpc.RetryInfo` for programs.
fn later(message: String, retry_after: Duration) -> Status {
    let ms = retry_after.as_secs_f64() * 1e3;
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(
        Code::ResourceExhausted,
        format!("{message}; try again in {ms:.0} ms"),
        details,
    )
}

/// A refusal by admission, its reasons in the message and, for programs, as `google.rpc.QuotaFailure` violations: the
/// subject is the device, or the session whose objective would break.
fn not_admitted(message: String, verdict: &Verdict) -> Status {
    let violations = verdict.reasons.iter().map(|reason| {
        let subject = if reason.session.is_empty() { &reason.device } else { &reason.session };
        QuotaViolation::new(subject.clone(), format!("{}: {}", reason.why.name(), reason.message))
    });
    // Trailers that are too long are refused by clients.
    let mut details = ErrorDetails::with_quota_failure(violations.take(VIOLATIONS_MAX).collect::<Vec<_>>());
    let largest = verdict.largest_rate_hz.unwrap_or_default();
    details.set_error_info(
        "NOT_ADMITTED",
        "edgemux",
        [("largest_admissible_rate_hz".to_owned(), format!("{largest:.6}"))],
    );
    Status::with_error_details(Code::ResourceExhausted, brief(Status::unknown(message)).message(), details)
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
            RepositoryError::Taken(_) => Code::AlreadyExists,
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
            LoadError::NotAdmitted { verdict, .. } => return not_admitted(error.to_string(), verdict),
            LoadError::NoPlace => Code::Aborted,
            LoadError::NameTaken { .. } => Code::AlreadyExists,
            LoadError::OtherFile { .. } => Code::FailedPrecondition,
            LoadError::NotYours { .. } => Code::PermissionDenied,
            LoadError::TooManySessions { .. } => Code::ResourceExhausted,
            LoadError::NotMeasured(_) => Code::FailedPrecondition,
            LoadError::Terms(_) => Code::InvalidArgument,
            LoadError::Reservation(problem) => match problem {
                ReservationError::OutOfDate { .. } | ReservationError::OtherTerms { .. } => {
                    Code::FailedPrecondition
                }
                ReservationError::Unknown(_) => Code::NotFound,
                ReservationError::Committing(_) => Code::Aborted,
                ReservationError::TooMany => Code::ResourceExhausted,
                ReservationError::Uid(_) | ReservationError::Ttl(_) => Code::InvalidArgument,
            },
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
            RegisterError::NotYours { .. } => Code::PermissionDenied,
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
