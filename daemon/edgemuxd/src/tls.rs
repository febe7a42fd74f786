//! TLS 1.3 on addresses of the kind `tls:`, with certificates that can be renewed while it serves.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config;

/// Longest that a client may take to shake hands.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read, or holds something else.
    #[error("tls.{key} = {file}: {error}")]
    File {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: PemError,
    },
    /// A file of certificates that has none.
    #[error("tls.{key} = {file}: no certificate in it")]
    Empty {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// Certificate and key that do not fit together, or that cannot be used.
    #[error("tls.certificate = {file} and its key: {error}")]
    Unfit {
        /// The certificate's file.
        file: PathBuf,
        /// What is wrong.
        error: String,
    },
}

/// Reads the files that the configuration names.
pub fn read(tls: &config::Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates("certificate", &tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| TlsError::File {
        key: "key",
        file: tls.key.clone(),
        error,
    })?;
    let unfit = |error: &dyn std::error::Error| TlsError::Unfit {
        file: tls.certificate.clone(),
        error: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unfit(&error))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in self::certificates("client-ca", file)? {
                roots.add(authority).map_err(|error| unfit(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unfit(&error))?)
        }
    };
    let mut server = builder.with_single_cert(certificates, key).map_err(|error| unfit(&error))?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(server))
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |error| TlsError::File { key, file: file.to_owned(), error };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
    match found.map_err(wrong)? {
        none if none.is_empty() => Err(TlsError::Empty { key, file: file.to_owned() }),
        found => Ok(found),
    }
}

/// Shakes hands; returns the stream and the DNS names of the certificate that the client has shown.
pub async fn accept(
    server: Arc<ServerConfig>,
    stream: TcpStream,
) -> io::Result<(TlsStream<TcpStream>, Vec<String>)> {
    let stream = tokio::time::timeout(HANDSHAKE_MAX, TlsAcceptor::from(server).accept(stream)).await??;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let names = shown.map(dns_names).unwrap_or_default();
    Ok((stream, names))
}

fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    match webpki::EndEntityCert::try_from(certificate) {
        Ok(certificate) => certificate.valid_dns_names().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}
