//! A connection that gathers small reads and writes.
//!
//! HTTP/2 frames of one response reach the socket one by one: headers with data, then trailers of ten bytes. Each is a
//! system call, a packet, and a wake-up of the client, which needs the last to make use of the first. Here a flush is put
//! off until the connection is polled once more, which it asks for itself: by then whatever else was ready has been
//! written too, and all of it goes out at once. Large writes and reads go past the buffers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Writes are gathered up to this many bytes.
const WRITES_BYTES_MAX: usize = 32 * 1024;
/// A reader with less room than this is served from a buffer of this size.
const READ_BYTES: usize = 16 * 1024;

/// A connection that gathers small reads and writes.
#[derive(Debug)]
pub struct Corked<S> {
    socket: S,
    /// Read from the socket and not yet asked for.
    read: BytesMut,
    /// Written and not yet sent.
    written: BytesMut,
    /// A flush was asked for and put off.
    flush_due: bool,
}

impl<S> Corked<S> {
    /// Gathers what goes through `socket`.
    pub fn new(socket: S) -> Self {
        Self { socket, read: BytesMut::new(), written: BytesMut::new(), flush_due: false }
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    /// Sends what was gathered.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(context, &self.written))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written.advance(sent);
        }
        self.flush_due = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read.is_empty() {
            if into.remaining() >= READ_BYTES {
                return Pin::new(&mut this.socket).poll_read(context, into);
            }
            this.read.resize(READ_BYTES, 0);
            let mut room = ReadBuf::new(&mut this.read);
            let polled = Pin::new(&mut this.socket).poll_read(context, &mut room);
            let len = if matches!(polled, Poll::Ready(Ok(()))) { room.filled().len() } else { 0 };
            this.read.truncate(len);
            ready!(polled)?;
        }
        let len = this.read.len().min(into.remaining());
        into.put_slice(&this.read.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if this.written.len() + len > WRITES_BYTES_MAX {
            ready!(this.poll_send(context))?;
            if len > WRITES_BYTES_MAX {
                return Pin::new(&mut this.socket).poll_write_vectored(context, slices);
            }
        }
        for slice in slices {
            this.written.extend_from_slice(slice);
        }
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.written.is_empty() && !this.flush_due {
            this.flush_due = true;
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S: Connected> Connected for Corked<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.socket.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

    use super::*;

    /// Takes at most `limit` bytes a call and keeps each call's bytes; refuses when told to.
    #[derive(Default)]
    struct Wire {
        calls: Arc<Mutex<Vec<Vec<u8>>>>,
        limit: Option<usize>,
        full: bool,
        incoming: Vec<u8>,
    }

    impl AsyncWrite for Wire {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.full {
                return Poll::Pending;
            }
            let len = bytes.len().min(self.limit.unwrap_or(usize::MAX));
            self.calls.lock().unwrap().push(bytes[..len].to_vec());
            Poll::Ready(Ok(len))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Wire {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let len = self.incoming.len().min(into.remaining());
            into.put_slice(&self.incoming[..len]);
            self.incoming.drain(..len);
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(corked: &mut Corked<Wire>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        Pin::new(corked).poll_write(context, bytes).map(Result::unwrap)
    }

    fn flush(corked: &mut Corked<Wire>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(corked).poll_flush(context).map(Result::unwrap)
    }

    #[test]
    fn data_and_trailers_go_out_together() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut corked = Corked::new(Wire::default());
        let calls = Arc::clone(&corked.socket.calls);
        assert_eq!(write(&mut corked, &mut context, b"data"), Poll::Ready(4));
        assert_eq!(flush(&mut corked, &mut context), Poll::Ready(()));
        assert!(calls.lock().unwrap().is_empty(), "put off");
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "or it would never be sent");
        assert_eq!(write(&mut corked, &mut context, b"trailers"), Poll::Ready(8));
        assert_eq!(flush(&mut corked, &mut context), Poll::Ready(()));
        assert_eq!(*calls.lock().unwrap(), [b"datatrailers".to_vec()]);
        assert_eq!(flush(&mut corked, &mut context), Poll::Ready(()));
        assert_eq!(calls.lock().unwrap().len(), 1, "nothing is left to send");
    }

    #[test]
    fn everything_arrives_in_order_however_it_is_cut() {
        let mut context = Context::from_waker(Waker::noop());
        let mut corked = Corked::new(Wire { limit: Some(1000), ..Wire::default() });
        let calls = Arc::clone(&corked.socket.calls);
        let mut expected = Vec::new();
        for (at, len) in [10, 31_000, 5_000, 100_000, 3, 40_000].into_iter().enumerate() {
            let bytes = vec![at as u8; len];
            let mut left = &bytes[..];
            while !left.is_empty() {
                let Poll::Ready(taken) = write(&mut corked, &mut context, left) else { panic!("never full") };
                left = &left[taken..];
            }
            expected.extend(bytes);
        }
        while !corked.written.is_empty() {
            assert_eq!(flush(&mut corked, &mut context), Poll::Ready(()));
        }
        assert_eq!(calls.lock().unwrap().concat(), expected);
    }

    #[test]
    fn a_full_socket_holds_back_the_writer_and_what_is_gathered_stays_bounded() {
        let mut context = Context::from_waker(Waker::noop());
        let mut corked = Corked::new(Wire { full: true, ..Wire::default() });
        let mut taken = 0;
        while let Poll::Ready(len) = write(&mut corked, &mut context, &[0; 1000]) {
            taken += len;
        }
        assert!(taken <= WRITES_BYTES_MAX);
        assert_eq!(flush(&mut corked, &mut context), Poll::Ready(()), "put off");
        assert_eq!(flush(&mut corked, &mut context), Poll::Pending);
    }

    #[test]
    fn small_reads_are_served_from_one_large_one() {
        let mut context = Context::from_waker(Waker::noop());
        let incoming: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        let mut corked = Corked::new(Wire { incoming: incoming.clone(), ..Wire::default() });
        let mut got = Vec::new();
        loop {
            let mut room = [0; 700];
            let mut into = ReadBuf::new(&mut room);
            assert!(Pin::new(&mut corked).poll_read(&mut context, &mut into).is_ready());
            if into.filled().is_empty() {
                break;
            }
            got.extend_from_slice(into.filled());
        }
        assert_eq!(got, incoming);
    }
}
