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

    /// Waits for one message: its length, 0 once the other end is closed. `last` looks at the message and says whether
    /// the worker has nothing more to say for now; that spares the call which would find the socket empty.
    pub(super) async fn receive<T>(
        &self,
        buffer: &mut [u8],
        mut last: impl FnMut(&[u8]) -> (T, bool),
    ) -> Result<T, Errno> {
        loop {
            let mut ready = self.0.readable().await.map_err(|error| errno(&error))?;
            // A worker has no descriptors to give: any that come are closed here.
            let received = ready
                .try_io(|socket| socket::receive(socket, buffer, &mut Vec::new()).map_err(io::Error::from));
            let len = match received {
                Err(_would_block) => continue,
                Ok(Ok(len)) => len,
                Ok(Err(error)) => match errno(&error) {
                    Errno::CONNRESET => 0,
                    errno => return Err(errno),
                },
            };
            let (answer, nothing_more) = last(&buffer[..len]);
            if nothing_more {
                // Whatever came in the meantime is a new event, which this does not clear.
                ready.clear_ready();
            }
            return Ok(answer);
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
