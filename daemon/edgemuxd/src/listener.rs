//! Sockets that the daemon listens on.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::TcpIncoming;

use crate::config::Listen;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error(
        "cannot listen on {0}: it is in use. Is another edgemuxd running? Stop it, or choose another --listen"
    )]
    InUse(Listen),
    /// The system refused.
    #[error("cannot listen on {address}: {error}")]
    System {
        /// The address.
        address: Listen,
        /// What the system said.
        error: io::Error,
    },
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, removed on drop.
    Unix(UnixListener, SocketFile),
    /// A unix socket that the service manager made, and keeps.
    Kept(UnixListener),
}

/// Connections as they come in.
pub enum Incoming {
    /// TCP.
    Tcp(TcpIncoming),
    /// Unix.
    Unix(OwnedSocketStream),
}

/// A unix listener's connections; the socket's file goes when it does.
pub struct OwnedSocketStream {
    stream: UnixListenerStream,
    _file: Option<SocketFile>,
}

impl futures_util::Stream for OwnedSocketStream {
    type Item = io::Result<UnixStream>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        futures_util::StreamExt::poll_next_unpin(&mut self.stream, context)
    }
}

/// The file of a unix socket, removed on drop.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whatever is wrong with it now, the next start deals with it.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds `address`.
    pub async fn bind(address: &Listen) -> Result<Self, ListenError> {
        let bound = match address {
            Listen::Tcp(socket) => TcpListener::bind(socket).await.map(Self::Tcp),
            Listen::Unix(path) => bind_unix(path).await,
        };
        bound.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address.clone()),
            _ => ListenError::System { address: address.clone(), error },
        })
    }

    /// The sockets that a service manager handed over when it started the daemon, in its order: unix sockets and TCP.
    pub fn inherited(mut handed: ListenFd) -> io::Result<Vec<Self>> {
        let mut listeners = Vec::with_capacity(handed.len());
        for at in 0..handed.len() {
            // An error leaves it where it is: it is a socket of another kind.
            if let Ok(Some(socket)) = handed.take_unix_listener(at) {
                socket.set_nonblocking(true)?;
                listeners.push(Self::Kept(UnixListener::from_std(socket)?));
            } else if let Some(socket) = handed.take_tcp_listener(at)? {
                socket.set_nonblocking(true)?;
                listeners.push(Self::Tcp(TcpListener::from_std(socket)?));
            }
        }
        Ok(listeners)
    }

    /// The address it is bound to, with the port that the system chose if none was asked for.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Self::Unix(_, file) => format!("unix:{}", file.0.display()),
            Self::Kept(listener) => {
                let path =
                    listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
                format!("unix:{}", path.unwrap_or_default().display())
            }
        }
    }

    /// Its connections.
    pub fn incoming(self) -> Incoming {
        match self {
            Self::Tcp(listener) => Incoming::Tcp(TcpIncoming::from(listener).with_nodelay(Some(true))),
            Self::Unix(listener, file) => Incoming::Unix(OwnedSocketStream {
                stream: UnixListenerStream::new(listener),
                _file: Some(file),
            }),
            Self::Kept(listener) => {
                Incoming::Unix(OwnedSocketStream { stream: UnixListenerStream::new(listener), _file: None })
            }
        }
    }
}

/// A socket file left by a daemon that was killed is replaced; one that somebody answers on is not.
async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let stale = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if stale {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(Listener::Unix(listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_said_with_what_to_do() {
        let first = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
        let taken: Listen = first.address().parse().unwrap();
        let error = Listener::bind(&taken).await.unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("--listen"), "{error}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_live_one_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/x.sock");
        let address = Listen::Unix(path.clone());
        let live = Listener::bind(&address).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(Listener::bind(&address).await, Err(ListenError::InUse(_))));
        drop(live);
        assert!(!path.exists());

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file, as a killed daemon does");
        assert!(Listener::bind(&address).await.is_ok());

        std::fs::write(&path, "precious").unwrap();
        assert!(Listener::bind(&address).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
