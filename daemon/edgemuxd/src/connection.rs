//! A client's connection, and what it shows of the client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// What a connection shows of who is at its other end, whatever it says of itself.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// User and group of the process at the other end of a unix socket.
    pub user: Option<(u32, u32)>,
    /// DNS names of the certificate that was shown, and that an authority of ours has signed.
    pub certificate: Arc<[String]>,
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    peer: Peer,
    /// One of those that may be open.
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Over TCP: nothing is known of who is at the other end.
    pub fn tcp(stream: TcpStream, slot: OwnedSemaphorePermit) -> Self {
        Self { socket: Socket::Tcp(stream), peer: Peer::default(), _slot: slot }
    }

    /// Over a unix socket: the kernel says who opened it.
    pub fn unix(stream: UnixStream, slot: OwnedSemaphorePermit) -> Self {
        let user = stream.peer_cred().ok().map(|peer| (peer.uid(), peer.gid()));
        Self { socket: Socket::Unix(stream), peer: Peer { user, ..Peer::default() }, _slot: slot }
    }

    /// Over TLS, with the names of the certificate that was shown.
    pub fn tls(stream: TlsStream<TcpStream>, names: Vec<String>, slot: OwnedSemaphorePermit) -> Self {
        let peer = Peer { certificate: names.into(), ..Peer::default() };
        Self { socket: Socket::Tls(Box::new(stream)), peer, _slot: slot }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// Does the same with whichever socket it is.
macro_rules! with_socket {
    ($this:expr, $socket:ident => $done:expr) => {
        match &mut $this.socket {
            Socket::Tcp($socket) => $done,
            Socket::Unix($socket) => $done,
            Socket::Tls($socket) => $done,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        with_socket!(self, socket => Pin::new(socket).poll_read(context, into))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        with_socket!(self, socket => Pin::new(socket).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with_socket!(self, socket => Pin::new(socket).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Tcp(socket) => socket.is_write_vectored(),
            Socket::Unix(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_socket!(self, socket => Pin::new(socket).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with_socket!(self, socket => Pin::new(socket).poll_shutdown(context))
    }
}
