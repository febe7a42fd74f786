//! The way to a daemon, for whoever talks to one: the command, a node's publisher, the controller.
//!
//! ```text
//! ServerAddress ─ endpoint(Credentials) ─▶ Endpoint ─ connect, or connect_lazy ─▶ Channel ─ Credentials::bear ─▶ Transport
//!                   certificates                                                             token
//! ```
//!
//! Files of the credentials are read at each step that uses them, so that what was renewed in them is used the next time.
#![forbid(unsafe_code)]

mod address;
mod credentials;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tonic::Request;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

pub use self::address::{CONNECT_MAX, ServerAddress};
pub use self::credentials::{Credentials, Token};

/// A channel on which every call bears the token, if there is one.
pub type Transport = InterceptedService<Channel, Token>;

/// No connection to the daemon.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// What names no daemon.
    #[error("{0}")]
    Address(String),
    /// Nobody listens there, or not in a way that was understood.
    #[error(
        "no edgemuxd at {server} ({cause}): start it with `edgemuxd --listen {server}`, \
         or name another with --server or EDGEMUX_SERVER"
    )]
    Unreached {
        /// Where it was looked for.
        server: ServerAddress,
        /// The cause at the bottom.
        cause: String,
    },
    /// No understanding over certificates, or nobody to have one with.
    #[error(
        "no TLS with {server} ({cause}): --ca names the authority that has signed its certificate, \
         --certificate and --key what it wants to see of you"
    )]
    Tls {
        /// With whom.
        server: ServerAddress,
        /// The cause at the bottom.
        cause: String,
    },
    /// A file of the credentials that is not there, or not for us.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file that holds something else than what it was named for.
    #[error("{} holds no {what}, or a damaged one: it has to be PEM", file.display())]
    NotPem {
        /// Which.
        file: PathBuf,
        /// What it was named for.
        what: &'static str,
    },
    /// A file that holds something else than a token.
    #[error("{} holds no bearer token: one line of printable ASCII", .0.display())]
    NoToken(PathBuf),
}

/// A request with a deadline, told to the daemon and kept by the channel.
pub fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

/// The cause at the bottom: the layers above it only say that something failed beneath them.
#[must_use]
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
