//! The messages between the daemon and a worker.
//!
//! Two kinds of socket, both `SOCK_SEQPACKET`, so that a message arrives whole or not at all:
//!
//! * **control**, one per worker: handshake, load, unload, lanes, cancel, health, stop;
//! * **lane**, one per request that may be in service at once: run, and what came of it. A lane has one worker thread of
//!   its own, which runs its requests in the order in which they come, so nothing is handed from thread to thread on the
//!   way. A request may be sent while the one before it runs.
//!
//! Tensors never travel in messages. They lie in memory shared by file descriptor ([`crate::shm`]), and a message says
//! where. A descriptor travels with the first message on a lane that mentions its buffer.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{LoadError, OpenError, RunError};
use crate::runtime::{Details, DeviceSpec, Memory, Probe, Timing};
use crate::tensor::Signature;

/// Changes whenever a message changes; both ends must agree.
pub const VERSION: u32 = 2;

/// The longest message either end accepts.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The most descriptors one message carries.
pub const DESCRIPTORS_MAX: usize = 32;

/// A session as the worker knows it. Never used again after unload.
pub type SessionId = u32;
/// A request as the worker knows it. Starts at 1, never used again.
pub type RequestId = u64;
/// A shared buffer as a lane knows it. Never used again after it is detached.
pub type BufferId = u64;

/// From the daemon, on the control socket.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// First message: which protocol, which device.
    Hello {
        /// [`VERSION`] of the daemon.
        version: u32,
        /// The device to take charge of.
        device: DeviceSpec,
    },
    /// Carries the worker's end of a new lane's socket as its one descriptor.
    OpenLane,
    /// Load a model; answered by [`Reply::Loaded`] or [`Reply::LoadFailed`].
    Load {
        /// The id it will be run under.
        session: SessionId,
        /// The model file.
        file: String,
    },
    /// Drop a model and all its instances; answered by [`Reply::Unloaded`].
    Unload {
        /// The session to drop.
        session: SessionId,
    },
    /// Nobody waits for this request on this lane any more. No answer of its own.
    Cancel {
        /// Lanes are numbered in the order they were opened.
        lane: u32,
        /// The request.
        request: RequestId,
    },
    /// Answered by [`Reply::Pong`] whatever else goes on.
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// Leave at once. A closed socket means the same.
    Stop,
}

/// From the worker, on the control socket.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The device is in charge.
    Hello {
        /// [`VERSION`] of the worker.
        version: u32,
        /// What the runtime says of itself.
        probe: Probe,
    },
    /// The device could not be taken in charge; the worker leaves.
    OpenFailed(OpenError),
    /// The model is loaded.
    Loaded {
        /// The session.
        session: SessionId,
        /// What it takes and gives.
        signature: Signature,
        /// Its memory.
        memory: Memory,
        /// What else is known of it.
        details: Details,
    },
    /// The model is not loaded.
    LoadFailed {
        /// The session.
        session: SessionId,
        /// Why.
        error: LoadError,
    },
    /// The model and all its instances are gone.
    Unloaded {
        /// The session.
        session: SessionId,
    },
    /// The worker's control loop is alive.
    Pong {
        /// As in the ping.
        nonce: u64,
    },
}

/// A stretch of a shared buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which buffer.
    pub buffer: BufferId,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A buffer whose descriptor comes with this message, in the order of these entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Its id from now on.
    pub buffer: BufferId,
    /// Bytes to map, from the start of the file.
    pub len: u64,
    /// A client's own memory, which the client can truncate at any time: look before each use.
    pub client: bool,
}

/// One input of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Concrete shape.
    pub shape: Vec<i64>,
    /// Its contents.
    pub place: Place,
}

/// What is to become of one output of the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Nobody wants it.
    Skip,
    /// Into the daemon's buffer.
    Buffer,
    /// Into a client's shared memory.
    Region(Place),
}

/// From the daemon, on a lane.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Run one request.
    Run {
        /// The request.
        request: RequestId,
        /// The session it is for.
        session: SessionId,
        /// In the signature's order.
        inputs: Vec<Input>,
        /// In the signature's order; empty means every output into the daemon's buffer.
        outputs: Vec<Target>,
        /// Where the daemon's outputs go first.
        output_buffer: BufferId,
        /// Buffers new to this lane.
        attach: Vec<Attach>,
        /// Buffers this lane will hear of no more.
        detach: Vec<BufferId>,
    },
    /// The buffer asked for by [`Outcome::NeedBuffer`].
    Buffer {
        /// Where outputs go now.
        output_buffer: BufferId,
        /// The buffer, if new to this lane.
        attach: Vec<Attach>,
    },
}

/// One output of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its place in the signature.
    pub index: u32,
    /// Concrete shape.
    pub shape: Vec<i64>,
    /// Where it is.
    pub place: Place,
}

/// From the worker, on a lane.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// One response; the request is over if `last`.
    Response {
        /// The request.
        request: RequestId,
        /// The outputs that were wanted.
        outputs: Vec<Output>,
        /// No more to come.
        last: bool,
        /// Time so far.
        timing: Timing,
    },
    /// The outputs need a buffer of at least `bytes`.
    NeedBuffer {
        /// The request.
        request: RequestId,
        /// Bytes wanted.
        bytes: u64,
    },
    /// The request is over without a response.
    Failed {
        /// The request.
        request: RequestId,
        /// Why.
        error: RunError,
    },
}

/// Why a message could not be understood or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Too long to send.
    #[error("a message of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// Not a message of this protocol.
    #[error("malformed message: {0}")]
    Malformed(postcard::Error),
    /// A message with bytes left over.
    #[error("{0} stray bytes after a message")]
    Stray(usize),
}

/// Writes `message` into `into`, replacing what was there.
pub fn encode<M: Serialize>(message: &M, into: &mut Vec<u8>) -> Result<(), ProtocolError> {
    into.clear();
    let taken = std::mem::take(into);
    *into = postcard::to_extend(message, taken).map_err(ProtocolError::Malformed)?;
    if into.len() > MESSAGE_BYTES_MAX {
        return Err(ProtocolError::TooLong(into.len()));
    }
    Ok(())
}

/// Reads one whole message.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, ProtocolError> {
    let (message, rest) = postcard::take_from_bytes(bytes).map_err(ProtocolError::Malformed)?;
    if !rest.is_empty() {
        return Err(ProtocolError::Stray(rest.len()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_run() -> Task {
        Task::Run {
            request: 7,
            session: 3,
            inputs: vec![Input { shape: vec![1, 4], place: Place { buffer: 1, offset: 0, len: 16 } }],
            outputs: vec![Target::Buffer, Target::Skip],
            output_buffer: 2,
            attach: vec![Attach { buffer: 1, len: 4096, client: false }],
            detach: vec![],
        }
    }

    #[test]
    fn a_message_survives_the_way() {
        let mut bytes = vec![9; 100];
        encode(&a_run(), &mut bytes).unwrap();
        assert_eq!(decode::<Task>(&bytes).unwrap(), a_run());
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut bytes = Vec::new();
        encode(&a_run(), &mut bytes).unwrap();
        for len in 0..bytes.len() {
            assert!(decode::<Task>(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
        }
        bytes.push(0);
        assert_eq!(decode::<Task>(&bytes), Err(ProtocolError::Stray(1)));
    }

    #[test]
    fn a_message_over_the_limit_is_not_sent() {
        let load = Command::Load { session: 1, file: "x".repeat(MESSAGE_BYTES_MAX) };
        assert!(matches!(encode(&load, &mut Vec::new()), Err(ProtocolError::TooLong(_))));
    }

    proptest! {
        /// A hostile worker can send anything; the daemon must neither panic nor allocate more than a message's worth.
        #[test]
        fn arbitrary_bytes_are_refused_or_understood(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = decode::<Outcome>(&bytes);
            let _ = decode::<Reply>(&bytes);
            let _ = decode::<Task>(&bytes);
            if let Ok(message) = decode::<Command>(&bytes) {
                let mut again = Vec::new();
                encode(&message, &mut again).unwrap();
                prop_assert_eq!(decode::<Command>(&again).unwrap(), message);
            }
        }
    }
}
