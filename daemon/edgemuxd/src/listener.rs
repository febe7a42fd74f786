//! Sockets that the daemon listens on.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::ready;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use listenfd::ListenFd;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};

use crate::config::Listen;
use crate::connection::Connection;
use crate::tls;

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
    /// TLS over TCP.
    Tls(TcpListener),
    /// A unix socket, removed on drop.
    Unix(UnixListener, SocketFile),
    /// A unix socket that the service manager made, and keeps.
    Kept(UnixListener),
}

/// What TLS is served with now; none where it is not.
pub type Certificates = watch::Receiver<Option<Arc<ServerConfig>>>;

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
            Listen::Tls(socket) => TcpListener::bind(socket).await.map(Self::Tls),
            Listen::Unix(path) => bind_unix(path).await,
        };
        bound.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address.clone()),
            _ => ListenError::System { address: address.clone(), error },
        })
    }

    /// The sockets that a service manager handed over when it started the daemon, in its order: unix sockets and TCP, and
    /// TLS where `configured` says so of the same address.
    pub fn inherited(mut handed: ListenFd, configured: &[Listen]) -> io::Result<Vec<Self>> {
        let mut listeners = Vec::with_capacity(handed.len());
        for at in 0..handed.len() {
            // An error leaves it where it is: it is a socket of another kind.
            if let Ok(Some(socket)) = handed.take_unix_listener(at) {
                socket.set_nonblocking(true)?;
                listeners.push(Self::Kept(UnixListener::from_std(socket)?));
            } else if let Some(socket) = handed.take_tcp_listener(at)? {
                socket.set_nonblocking(true)?;
                let is_tls = configured.contains(&Listen::Tls(socket.local_addr()?));
                let socket = TcpListener::from_std(socket)?;
                listeners.push(if is_tls { Self::Tls(socket) } else { Self::Tcp(socket) });
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
            Self::Tls(listener) => {
                listener.local_addr().map(|address| format!("tls:{address}")).unwrap_or_default()
            }
            Self::Unix(_, file) => format!("unix:{}", file.0.display()),
            Self::Kept(listener) => {
                let path =
                    listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
                format!("unix:{}", path.unwrap_or_default().display())
            }
        }
    }

    /// Its connections, as many as there are `slots` for: others are closed at once.
    pub fn incoming(
        self,
        certificates: Certificates,
        slots: Arc<Semaphore>,
    ) -> BoxStream<'static, io::Result<Connection>> {
        let handshakes = slots.available_permits();
        match self {
            Self::Tcp(listener) => tcp(listener, slots)
                .map(|accepted| accepted.map(|(stream, slot)| Connection::tcp(stream, slot)))
                .boxed(),
            Self::Tls(listener) => tcp(listener, slots)
                .map(move |accepted| shake_hands(accepted, certificates.borrow().clone()))
                .buffer_unordered(handshakes)
                .filter_map(|shaken| ready(shaken.transpose()))
                .boxed(),
            Self::Unix(listener, file) => unix(listener, slots)
                .map(move |accepted| {
                    // The file goes with the last connection that could come.
                    let _ = &file;
                    accepted
                })
                .boxed(),
            Self::Kept(listener) => unix(listener, slots).boxed(),
        }
    }
}

type Slot = OwnedSemaphorePermit;

fn tcp(
    listener: TcpListener,
    slots: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<(TcpStream, Slot)>> + Send {
    with_slot(TcpListenerStream::new(listener), slots).map(|accepted| {
        let (stream, slot) = accepted?;
        stream.set_nodelay(true)?;
        Ok((stream, slot))
    })
}

fn unix(listener: UnixListener, slots: Arc<Semaphore>) -> impl Stream<Item = io::Result<Connection>> + Send {
    let accepted = with_slot(UnixListenerStream::new(listener), slots);
    accepted.map(|accepted| accepted.map(|(stream, slot)| Connection::unix(stream, slot)))
}

fn with_slot<S: Send>(
    accepted: impl Stream<Item = io::Result<S>> + Send,
    slots: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<(S, Slot)>> + Send {
    accepted.filter_map(move |accepted| {
        let slot = Arc::clone(&slots).try_acquire_owned();
        ready(match (accepted, slot) {
            (Err(error), _) => Some(Err(error)),
            (Ok(stream), Ok(slot)) => Some(Ok((stream, slot))),
            (Ok(_), Err(_)) => {
                tracing::debug!("a connection is closed: as many are open as limits.connections allows");
                None
            }
        })
    })
}

/// None of a client that cannot be talked to: that is its own affair, and no reason to say anything of the socket.
async fn shake_hands(
    accepted: io::Result<(TcpStream, Slot)>,
    server: Option<Arc<ServerConfig>>,
) -> io::Result<Option<Connection>> {
    let (stream, slot) = accepted?;
    let Some(server) = server else { return Ok(None) };
    match tls::accept(server, stream).await {
        Ok((stream, names)) => Ok(Some(Connection::tls(stream, names, slot))),
        Err(error) => {
            tracing::info!(%error, "a client did not come through the TLS handshake");
            Ok(None)
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
