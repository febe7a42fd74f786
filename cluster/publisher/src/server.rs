//! The way to the daemon: its address, and what is shown there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::args::Credentials;

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// `unix:PATH`, `HOST:PORT` or `https://HOST:PORT`, as the command takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// As tonic takes it.
    uri: String,
}

/// A channel on which every call bears the token, if there is one.
pub type Transport = InterceptedService<Channel, Token>;

/// No connection to the daemon.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody listens there, or not in a way that was understood.
    #[error("no edgemuxd at {server}: {cause}")]
    Unreached {
        /// Where it was looked for.
        server: ServerAddress,
        /// The cause at the bottom.
        cause: String,
    },
    /// A file with what is to be shown.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file that holds something else than a token.
    #[error("{} holds no bearer token: one line of printable ASCII", .0.display())]
    NoToken(PathBuf),
}

// === impl ServerAddress ===

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(format!(
                    "`{text}` names no absolute path; write unix:/run/edgemux/edgemuxd.sock"
                ));
            }
            return Ok(Self { uri: format!("unix:{path}") });
        }
        let tls = text.strip_prefix("https://").or_else(|| text.strip_prefix("tls:"));
        let bare = tls.or_else(|| text.strip_prefix("http://")).unwrap_or(text).trim_end_matches('/');
        match bare.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
                Ok(Self { uri: format!("{}://{bare}", if tls.is_some() { "https" } else { "http" }) })
            }
            _ => Err(format!(
                "`{text}` is neither unix:PATH nor HOST:PORT (127.0.0.1:8001) nor https://HOST:PORT"
            )),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.strip_prefix("http://").unwrap_or(&self.uri))
    }
}

impl ServerAddress {
    /// Connects. The files of the credentials are read each time, so that what was renewed in them is used.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(&self, credentials: &Credentials) -> Result<Transport, ConnectError> {
        let failed = |error: tonic::transport::Error| ConnectError::Unreached {
            server: self.clone(),
            cause: innermost(&error),
        };
        let mut endpoint = Endpoint::from_shared(self.uri.clone())
            .and_then(|endpoint| {
                endpoint.user_agent(concat!("edgemux-publisher/", env!("CARGO_PKG_VERSION")))
            })
            .map_err(failed)?
            .connect_timeout(CONNECT_MAX);
        if self.uri.starts_with("https:") {
            endpoint = endpoint.tls_config(tls(credentials)?).map_err(failed)?;
        }
        let token = token(credentials)?;
        // A unix socket has no time-out of its own: one whose daemon takes nobody in would hold us.
        let channel = tokio::time::timeout(CONNECT_MAX, endpoint.connect()).await;
        let channel = channel.map_err(|_| ConnectError::Unreached {
            server: self.clone(),
            cause: format!("it takes no connection within {} s", CONNECT_MAX.as_secs()),
        })?;
        Ok(InterceptedService::new(channel.map_err(failed)?, token))
    }
}

fn tls(credentials: &Credentials) -> Result<ClientTlsConfig, ConnectError> {
    let mut tls = ClientTlsConfig::new();
    tls = match &credentials.ca {
        Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
        None => tls.with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&credentials.certificate, &credentials.key) {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(tls)
}

fn token(credentials: &Credentials) -> Result<Token, ConnectError> {
    let Some(file) = &credentials.token_file else { return Ok(Token(None)) };
    let text = read(file)?;
    let header = format!("Bearer {}", String::from_utf8_lossy(&text).trim());
    let mut header: MetadataValue<Ascii> = header.parse().map_err(|_| ConnectError::NoToken(file.clone()))?;
    header.set_sensitive(true);
    Ok(Token(Some(header)))
}

fn read(file: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(file).map_err(|error| ConnectError::Read { file: file.to_owned(), error })
}

/// The cause at the bottom: the layers above it only say that something failed beneath them.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Puts the bearer token with every call, if there is one.
#[derive(Clone, Debug)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_command() {
        for (text, shown) in [
            ("unix:/run/e.sock", "unix:/run/e.sock"),
            ("unix:///run/e.sock", "unix:/run/e.sock"),
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("http://h:1/", "h:1"),
            ("https://h:1", "https://h:1"),
            ("tls:h:1", "https://h:1"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), shown);
        }
        for text in ["", "h", "h:0", ":1", "unix:e.sock"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_named() {
        let server: ServerAddress = "unix:/nowhere/edgemuxd.sock".parse().unwrap();
        let error = server.connect(&Credentials::default()).await.unwrap_err().to_string();
        assert!(error.starts_with("no edgemuxd at unix:/nowhere/edgemuxd.sock: "), "{error}");
    }
}
