//! How the command shows who it is, and how it knows the daemon: certificates and a bearer token.

use std::path::{Path, PathBuf};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use super::ConnectError;

/// The options of every command by which it shows who it is.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Credentials {
    /// The authority that has signed the daemon's certificate, a PEM file [default: those the system trusts]
    #[arg(long, global = true, env = "EDGEMUX_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The certificate to show to the daemon, a PEM file
    #[arg(long, global = true, env = "EDGEMUX_CERTIFICATE", value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,

    /// The private key of --certificate, a PEM file
    #[arg(long, global = true, env = "EDGEMUX_KEY", value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,

    /// A file that holds the bearer token to send
    #[arg(long, global = true, env = "EDGEMUX_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// TLS as these files say.
    pub(super) fn tls(&self) -> Result<ClientTlsConfig, ConnectError> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
            None => tls.with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(tls)
    }

    /// What is sent with every call.
    pub(super) fn token(&self) -> Result<Token, ConnectError> {
        let Some(file) = &self.token_file else { return Ok(Token(None)) };
        let text = read(file)?;
        let header = format!("Bearer {}", String::from_utf8_lossy(&text).trim());
        let mut header: MetadataValue<Ascii> =
            header.parse().map_err(|_| ConnectError::NoToken(file.clone()))?;
        header.set_sensitive(true);
        Ok(Token(Some(header)))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(file).map_err(|error| ConnectError::Read { file: file.to_owned(), error })
}

/// Puts the bearer token with every call, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
