//! How a program shows who it is, and how it knows the daemon: certificates and a bearer token.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use crate::{ConnectError, Transport};

/// The options by which every program shows who it is; by default it shows nothing.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Credentials {
    /// The authority that has signed the daemon's certificate, a PEM file [default: those the system trusts]
    #[arg(long, env = "EDGEMUX_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The certificate to show to the daemon, a PEM file
    #[arg(long, env = "EDGEMUX_CERTIFICATE", value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,

    /// The private key of --certificate, a PEM file
    #[arg(long, env = "EDGEMUX_KEY", value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,

    /// The name that the daemon's certificate is for [default: the host of the daemon's address]
    #[arg(long, env = "EDGEMUX_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,

    /// A file that holds the bearer token to send
    #[arg(long, env = "EDGEMUX_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Puts the bearer token with every call, if there is one.
#[derive(Clone, Debug)]
pub struct Token(Option<MetadataValue<Ascii>>);

// === impl Credentials ===

impl Credentials {
    /// Whether every file can be used, so that a mistake shows at once.
    ///
    /// # Errors
    ///
    /// The first that cannot.
    pub fn check(&self) -> Result<(), ConnectError> {
        self.tls()?;
        self.token().map(drop)
    }

    /// Every call on this channel bears the token, as it is in its file now.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Read`] and [`ConnectError::NoToken`].
    pub fn bear(&self, channel: Channel) -> Result<Transport, ConnectError> {
        Ok(InterceptedService::new(channel, self.token()?))
    }

    pub(crate) fn tls(&self) -> Result<ClientTlsConfig, ConnectError> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(file) => tls.ca_certificate(Certificate::from_pem(certificate(file)?)),
            None => tls.with_native_roots(),
        };
        if let (Some(file), Some(key)) = (&self.certificate, &self.key) {
            let key = pem::<PrivateKeyDer<'_>>(key, "private key")?;
            tls = tls.identity(Identity::from_pem(certificate(file)?, key));
        }
        Ok(match &self.server_name {
            Some(name) => tls.domain_name(name),
            None => tls,
        })
    }

    fn token(&self) -> Result<Token, ConnectError> {
        let Some(file) = &self.token_file else { return Ok(Token(None)) };
        let text = read(file)?;
        let header = match String::from_utf8_lossy(&text).trim() {
            token if !token.is_empty() && token.is_ascii() => format!("Bearer {token}").parse().ok(),
            _ => None,
        };
        let mut header: MetadataValue<Ascii> = header.ok_or_else(|| ConnectError::NoToken(file.clone()))?;
        header.set_sensitive(true);
        Ok(Token(Some(header)))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

fn certificate(file: &Path) -> Result<Vec<u8>, ConnectError> {
    pem::<CertificateDer<'_>>(file, "certificate")
}

/// The text of a file that is seen to hold at least one such thing.
fn pem<T: PemObject>(file: &Path, what: &'static str) -> Result<Vec<u8>, ConnectError> {
    let text = read(file)?;
    T::from_pem_slice(&text).map_err(|_| ConnectError::NotPem { file: file.to_owned(), what })?;
    Ok(text)
}

fn read(file: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(file).map_err(|error| ConnectError::Read { file: file.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::ServerAddress;

    /// As far as PEM goes.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        credentials: Credentials,
    }

    fn parse(line: &str) -> Result<Credentials, clap::Error> {
        let line = std::iter::once("program").chain(line.split_whitespace());
        Program::try_parse_from(line).map(|program| program.credentials)
    }

    /// What is said of options that all name one file, which holds this.
    fn said(options: &str, holds: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), holds).unwrap();
        let path = file.path().to_str().unwrap();
        let error = parse(&options.replace("FILE", path)).unwrap().check().expect_err(options).to_string();
        error.replace(path, "FILE")
    }

    #[test]
    fn a_key_goes_with_a_certificate() {
        for line in ["--key k.pem", "--certificate c.pem"] {
            assert!(parse(line).is_err(), "{line}");
        }
        parse("--key k.pem --certificate c.pem").unwrap();
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        for option in ["--ca", "--token-file", "--key /nowhere/file --certificate"] {
            let error = parse(&format!("{option} /nowhere/file")).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with("cannot read /nowhere/file: No such file"), "{error}");
        }
    }

    #[test]
    fn files_that_hold_something_else_are_named() {
        let halved = &CERTIFICATE[..40];
        let garbled = CERTIFICATE.replace("AAAA", "A*");
        for holds in ["", "no PEM", halved, &garbled, "-----BEGIN X-----\nAAAA\n-----END X-----\n"] {
            let error = said("--ca FILE", holds.as_bytes());
            assert_eq!(error, "FILE holds no certificate, or a damaged one: it has to be PEM", "{holds}");
        }
        let error = said("--certificate FILE --key FILE", CERTIFICATE.as_bytes());
        assert_eq!(error, "FILE holds no private key, or a damaged one: it has to be PEM");
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_shakes_hands_is_given_up() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("https://{}", mute.local_addr().unwrap());
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), CERTIFICATE).unwrap();
        let credentials = parse(&format!("--ca {}", ca.path().display())).unwrap();
        let to: ServerAddress = server.parse().unwrap();
        let endpoint = to.endpoint(&credentials, "test").unwrap();
        let error = to.connect(&endpoint).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("no TLS with {server} (")), "{error}");
    }

    #[test]
    fn a_token_is_one_line_of_printable_ascii() {
        for holds in ["", " \n", "a\nb", "gr\u{fc}n", "a\0"] {
            let error = said("--token-file FILE", holds.as_bytes());
            assert_eq!(error, "FILE holds no bearer token: one line of printable ASCII", "{holds:?}");
        }
        assert!(said("--token-file FILE", b"\xff\xfe").contains("holds no bearer token"));
    }

    #[test]
    fn a_token_is_sent_and_not_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let credentials = parse(&format!("--token-file {}", file.path().display())).unwrap();
        let mut token = credentials.token().unwrap();
        let request = token.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer secret");
        assert!(!format!("{token:?} {request:?}").contains("secret"));
    }
}
