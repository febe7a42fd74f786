//! A call's failure in words: what was asked, what the server answered, what to do.

use std::fmt;

use thiserror::Error;
use tonic::{Code, Status};

use crate::table::printable;

/// The server answered a call with an error status, or not at all.
#[derive(Debug, Error)]
pub(crate) struct RpcError {
    /// Completes "cannot …".
    what: String,
    code: Code,
    message: String,
    /// What to do.
    advice: Option<&'static str>,
}

// === impl RpcError ===

impl RpcError {
    pub(crate) fn new(what: impl Into<String>, status: &Status) -> Self {
        let (code, message) = (code(status), message(status));
        Self { what: what.into(), code, advice: usual_advice(code, &message), message }
    }

    /// Says what to do about this code in place of the usual advice.
    pub(crate) fn advise(mut self, code: Code, advice: &'static str) -> Self {
        if self.code == code {
            self.advice = Some(advice);
        }
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn code_name(&self) -> &'static str {
        code_name(self.code)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// What helps against most failures of this kind: calls are mostly about models.
fn usual_advice(code: Code, message: &str) -> Option<&'static str> {
    match code {
        Code::NotFound => Some("`edgemux models` lists what is in the repository"),
        Code::Unavailable if message.contains("not loaded") || message.contains("not ready") => {
            Some("`edgemux sessions` shows its state; `edgemux load NAME` loads it")
        }
        Code::Unavailable => Some("try again; `edgemux doctor` shows what is wrong with the server"),
        Code::DeadlineExceeded => {
            Some("the server is too slow or too busy: allow more time, or look at `edgemux sessions`")
        }
        Code::Unimplemented => Some("this server does not offer it: `edgemux doctor` shows its version"),
        Code::InvalidArgument => {
            Some("`edgemux models` shows the names, datatypes and shapes that models take")
        }
        _ => None,
    }
}

// === impl Display for RpcError ===

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}: {}", self.what, self.code_name(), self.message)?;
        self.advice.map_or(Ok(()), |advice| write!(f, "\n  {advice}"))
    }
}

/// A status's code. The channel's own timer cancels a call whose deadline passed; that is a deadline exceeded.
pub(crate) fn code(status: &Status) -> Code {
    match status.code() {
        Code::Cancelled if is_own_timer(status) => Code::DeadlineExceeded,
        code => code,
    }
}

fn is_own_timer(status: &Status) -> bool {
    status.message() == "Timeout expired"
}

/// A status's message, with the causes beneath it where the transport failed.
pub(crate) fn message(status: &Status) -> String {
    if is_own_timer(status) {
        return "the time allowed for it passed without an answer".to_owned();
    }
    let mut text = printable(status.message());
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The name of a status code as gRPC's documentation writes it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_asked_what_is_so_and_what_to_do() {
        let error = RpcError::new("load model `m`", &Status::not_found("no folder `m` in /models"));
        let text = error.to_string();
        assert!(text.starts_with("cannot load model `m`: NOT_FOUND: no folder `m` in /models\n"), "{text}");
        assert!(text.contains("`edgemux models`"), "{text}");
        let text =
            error.advise(Code::NotFound, "look elsewhere").advise(Code::Internal, "despair").to_string();
        assert!(text.ends_with("look elsewhere"), "{text}");
    }

    #[test]
    fn the_channels_own_timer_is_a_deadline() {
        assert_eq!(code(&Status::cancelled("Timeout expired")), Code::DeadlineExceeded);
        assert_eq!(code(&Status::cancelled("by the caller")), Code::Cancelled);
    }
}
