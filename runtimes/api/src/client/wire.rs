//! A message socket under tokio: sends at once, receives when there is something.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::socket;

/// The daemon's end of one socket pair.
#[derive(Debug)]
pub(super) struct Wire(AsyncFd<OwnedFd>);

impl Wire {
    /// Must be called within a tokio runtime; `socket` must not block.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is open, and an `OwnedFd` names the same open file until it is dropped, which the
        // `AsyncFd` that owns it does last.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        registered.map(Self).map_err(io::Error::from)
    }

    /// Sends one message; `WOULDBLOCK` means the worker has not read for a long time.
    pub(super) fn send(&self, message: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        socket::send(self.0.get_ref().as_fd(), message, files)
    }

    /// Waits for one message: its length, 0 once the other end is closed.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let received = self
            .0
            .async_io(Interest::READABLE, |socket| {
                // A worker has no descriptors to give: any that come are closed here.
                socket::receive(socket, buffer, &mut Vec::new()).map_err(io::Error::from)
            })
            .await;
        match received {
            Ok(len) => Ok(len),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::CONNRESET) => Ok(0),
                errno => Err(errno.unwrap_or(Errno::IO)),
            },
        }
    }
}
