//! Whole messages with descriptors over `SOCK_SEQPACKET` sockets.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::protocol::{DESCRIPTORS_MAX, MESSAGE_BYTES_MAX};

const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// A connected pair: the daemon's end does not block, the worker's does.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (daemon, worker) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&daemon, true)?;
    Ok((daemon, worker))
}

/// Sends one message whole.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    debug_assert!(message.len() <= MESSAGE_BYTES_MAX, "checked by the encoder");
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => return Ok(()),
        }
    }
}

/// Receives one message into `buffer`: its length (0 at the end of the stream) and the descriptors that came with it.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    loop {
        let received =
            recvmsg(socket.as_fd(), &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        match received {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(message) => {
                for part in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(files) = part {
                        descriptors.extend(files);
                    }
                }
                if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
                    return Err(Errno::MSGSIZE);
                }
                return Ok(message.bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::{Mapping, Segment};

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (daemon, worker) = pair().unwrap();
        let mut segment = Segment::new(10).unwrap();
        segment.bytes_mut()[3] = 7;
        send(daemon.as_fd(), b"hello", &[segment.file()]).unwrap();
        let (mut buffer, mut files) = ([0; 64], Vec::new());
        assert_eq!(receive(&worker, &mut buffer, &mut files).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(Mapping::new(files[0].as_fd(), 10).unwrap().bytes()[3], 7);
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error_not_a_half() {
        let (daemon, worker) = pair().unwrap();
        send(daemon.as_fd(), &[1; 100], &[]).unwrap();
        assert_eq!(receive(&worker, &mut [0; 10], &mut Vec::new()), Err(Errno::MSGSIZE));
    }

    #[test]
    fn a_closed_socket_reads_as_the_end() {
        let (daemon, worker) = pair().unwrap();
        drop(daemon);
        assert_eq!(receive(&worker, &mut [0; 10], &mut Vec::new()), Ok(0));
    }
}
