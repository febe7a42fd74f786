//! One lane of a worker as the daemon sees it: copies inputs into shared memory, starts a request, hears its outcome.
//!
//! A lane owns its buffers: a request's inline inputs are copied once, into a buffer that the worker reads in place;
//! outputs are handed on as [`Bytes`] over the buffer that the worker wrote, which comes back to the lane when the last
//! of them is dropped.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use rustix::io::Errno;

use super::buffers::{Buffer, Lease, Pool, locked};
use super::region::{Region, RegionSlice};
use super::wire::Wire;
use crate::error::RunError;
use crate::protocol::{
    Attach, BufferId, DESCRIPTORS_MAX, Input, MESSAGE_BYTES_MAX, Outcome, Output, Place, ProtocolError,
    RequestId, SessionId, Target, Task, decode, encode,
};
use crate::runtime::Timing;
use crate::shm::{ShmError, align};

/// Requests that a lane carries at once: one that runs, and some handed over ahead of time.
const REQUESTS_MAX: usize = 16;
/// The largest buffer a worker may ask for.
const BUFFER_BYTES_MAX: u64 = 1 << 31;

/// Why a lane is of no more use. The worker behind it must be replaced.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The worker is gone.
    #[error("the worker is gone")]
    Gone,
    /// The socket failed.
    #[error("the lane's socket: {0}")]
    Socket(Errno),
    /// The worker breaks the protocol.
    #[error("the worker's message: {0}")]
    Protocol(#[from] ProtocolError),
    /// The worker says something that cannot be.
    #[error("the worker says what cannot be: {0}")]
    Nonsense(&'static str),
    /// No memory for tensors.
    #[error("shared memory: {0}")]
    Memory(#[from] ShmError),
}

/// One request, ready to run.
#[derive(Debug)]
pub struct Job {
    /// Never used before on this worker, not 0.
    pub request: RequestId,
    /// A session that is loaded.
    pub session: SessionId,
    /// In the signature's order.
    pub inputs: Vec<InputTensor>,
    /// In the signature's order; empty means every output, inline.
    pub outputs: Vec<OutputTarget>,
    /// How many bytes of inline output to expect; more costs a round trip.
    pub output_bytes_hint: usize,
}

/// An input and its shape.
#[derive(Clone, Debug)]
pub struct InputTensor {
    /// Concrete shape.
    pub shape: Vec<i64>,
    /// Contents.
    pub contents: Contents,
}

/// Where an input's bytes are.
#[derive(Clone, Debug)]
pub enum Contents {
    /// With the daemon.
    Inline(Bytes),
    /// With the daemon, in parts that follow one another: those of several requests that run together.
    Parts(Vec<Bytes>),
    /// With the client.
    Region(RegionSlice),
}

impl Contents {
    /// Length in bytes.
    pub fn byte_size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Parts(parts) => parts.iter().map(|part| part.len() as u64).sum(),
            Self::Region(slice) => slice.byte_size(),
        }
    }

    /// The bytes that are with the daemon.
    fn parts(&self) -> &[Bytes] {
        match self {
            Self::Inline(bytes) => std::slice::from_ref(bytes),
            Self::Parts(parts) => parts,
            Self::Region(_) => &[],
        }
    }
}

/// What is to become of an output.
#[derive(Clone, Debug)]
pub enum OutputTarget {
    /// Nobody wants it.
    Skip,
    /// Handed over as bytes.
    Inline,
    /// Written into the client's memory.
    Region(RegionSlice),
}

/// News from the worker about the request that it runs.
#[derive(Debug)]
pub enum LaneEvent {
    /// A response.
    Response {
        /// The request.
        request: RequestId,
        /// Its outputs.
        outputs: Vec<OutputTensor>,
        /// No more to come: the next request runs.
        last: bool,
        /// Where the time went.
        timing: Timing,
    },
    /// The request failed; the next one runs.
    Failed {
        /// The request.
        request: RequestId,
        /// Why.
        error: RunError,
    },
}

/// An output of a response.
#[derive(Debug)]
pub struct OutputTensor {
    /// Its place in the signature.
    pub index: usize,
    /// Concrete shape.
    pub shape: Vec<i64>,
    /// Contents.
    pub contents: OutputContents,
}

/// Where an output's bytes are.
#[derive(Debug)]
pub enum OutputContents {
    /// Here.
    Inline(Bytes),
    /// In the client's region, this many of them.
    Region(u64),
}

/// The daemon's end of a lane.
#[derive(Debug)]
pub struct Lane {
    socket: Wire,
    state: Mutex<State>,
    pool: Arc<Mutex<Pool>>,
}

#[derive(Debug, Default)]
struct State {
    outgoing: Vec<u8>,
    regions: HashMap<u64, (BufferId, Weak<Region>)>,
    /// In the order in which the worker runs them.
    running: VecDeque<Running>,
}

#[derive(Debug)]
struct Running {
    request: RequestId,
    input: Option<Buffer>,
    /// Where inline outputs may lie; the last is the one being written.
    outputs: Vec<Buffer>,
    /// Keeps regions open until the request is over.
    regions: Vec<Arc<Region>>,
}

impl Lane {
    /// Must be called within a tokio runtime.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: Wire::new(socket)?, state: Mutex::default(), pool: Arc::default() })
    }

    /// Hands a request to the worker, which runs those of one lane one after the other, in this order. Never blocks:
    /// the socket has room for the few messages that a lane carries at once.
    ///
    /// After an error the worker does not have the request; the lane is still good unless the error is about its worker.
    pub fn start(&self, job: &Job) -> Result<(), LaneError> {
        let mut state = locked(&self.state);
        let state = &mut *state;
        if state.running.len() >= REQUESTS_MAX {
            return Err(LaneError::Nonsense("more requests on this lane than it carries"));
        }
        let inline = job.inputs.iter().fold(0, |end, input| match &input.contents {
            Contents::Region(_) => end,
            inline => align(end).saturating_add(inline.byte_size() as usize),
        });
        let (mut input, output, mut detach) = {
            let mut pool = locked(&self.pool);
            let input = if inline > 0 { Some(pool.take(inline)?) } else { None };
            (input, pool.take(job.output_bytes_hint)?, std::mem::take(&mut pool.dropped))
        };
        state.forget_closed_regions(&mut detach);

        let mut message = Message::default();
        let mut regions = Vec::new();
        let mut cursor = 0;
        let mut inputs = Vec::with_capacity(job.inputs.len());
        for tensor in &job.inputs {
            let place = match (&tensor.contents, &mut input) {
                (Contents::Region(slice), _) => {
                    message.region(&mut state.regions, &self.pool, slice, &mut regions)
                }
                (contents, Some(buffer)) => {
                    cursor = align(cursor);
                    let place = Place { buffer: buffer.id, offset: cursor as u64, len: contents.byte_size() };
                    for part in contents.parts() {
                        buffer.segment.bytes_mut()[cursor..cursor + part.len()].copy_from_slice(part);
                        cursor += part.len();
                    }
                    place
                }
                // Every inline input is empty: any place of no bytes will do.
                (_, None) => Place { buffer: output.id, offset: 0, len: 0 },
            };
            inputs.push(Input { shape: tensor.shape.clone(), place });
        }
        let outputs = job
            .outputs
            .iter()
            .map(|target| match target {
                OutputTarget::Skip => Target::Skip,
                OutputTarget::Inline => Target::Buffer,
                OutputTarget::Region(slice) => {
                    Target::Region(message.region(&mut state.regions, &self.pool, slice, &mut regions))
                }
            })
            .collect();
        let mut running = Running { request: job.request, input, outputs: vec![output], regions };
        for buffer in running.input.iter_mut().chain(&mut running.outputs) {
            message.buffer(buffer);
        }
        let task = Task::Run {
            request: job.request,
            session: job.session,
            inputs,
            outputs,
            output_buffer: running.outputs[0].id,
            attach: message.attach,
            detach,
        };
        let files: Vec<_> = message.files.iter().filter_map(|file| file.find(&running)).collect();
        let sent = encode(&task, &mut state.outgoing)
            .map_err(LaneError::from)
            .and_then(|()| self.send(&state.outgoing, &files));
        match sent {
            Ok(()) => state.running.push_back(running),
            // The worker has not heard of the regions either.
            Err(_) => state.regions.retain(|&id, _| !message.files.contains(&File::Region(id))),
        }
        sent
    }

    fn send(&self, message: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), LaneError> {
        if files.len() > DESCRIPTORS_MAX {
            return Err(LaneError::Nonsense("more new buffers than a message carries"));
        }
        self.socket.send(message, files).map_err(|errno| match errno {
            Errno::PIPE | Errno::CONNRESET => LaneError::Gone,
            errno => LaneError::Socket(errno),
        })
    }

    /// What a message means, and whether it is the last that the worker has to send.
    fn hear(&self, message: &[u8]) -> (Result<Option<LaneEvent>, LaneError>, bool) {
        let event = match message {
            [] => Err(LaneError::Gone),
            message => decode(message).map_err(LaneError::from).and_then(|outcome| self.outcome(outcome)),
        };
        (event, locked(&self.state).running.is_empty())
    }

    fn outcome(&self, outcome: Outcome) -> Result<Option<LaneEvent>, LaneError> {
        let mut state = locked(&self.state);
        let state = &mut *state;
        let Some(running) = state.running.front_mut() else {
            return Err(LaneError::Nonsense("an outcome without a request"));
        };
        let (Outcome::Response { request, .. }
        | Outcome::NeedBuffer { request, .. }
        | Outcome::Failed { request, .. }) = outcome;
        if request != running.request {
            return Err(LaneError::Nonsense("an outcome of another request"));
        }
        match outcome {
            Outcome::NeedBuffer { bytes, .. } => {
                if bytes > BUFFER_BYTES_MAX {
                    return Err(LaneError::Nonsense("an output over two gigabytes"));
                }
                let mut buffer = locked(&self.pool).take(bytes as usize)?;
                let mut message = Message::default();
                message.buffer(&mut buffer);
                let task = Task::Buffer { output_buffer: buffer.id, attach: message.attach };
                running.outputs.push(buffer);
                encode(&task, &mut state.outgoing)?;
                let files: Vec<_> = message.files.iter().filter_map(|file| file.find(running)).collect();
                self.send(&state.outgoing, &files)?;
                Ok(None)
            }
            Outcome::Response { outputs, last, timing, .. } => {
                let buffers = std::mem::take(&mut running.outputs);
                if last && let Some(Running { input: Some(input), .. }) = state.running.pop_front() {
                    locked(&self.pool).put(input);
                }
                let outputs = self.hand_over(outputs, buffers)?;
                Ok(Some(LaneEvent::Response { request, outputs, last, timing }))
            }
            Outcome::Failed { error, .. } => {
                if let Some(Running { input, outputs, .. }) = state.running.pop_front() {
                    let mut pool = locked(&self.pool);
                    input.into_iter().chain(outputs).for_each(|buffer| pool.put(buffer));
                }
                Ok(Some(LaneEvent::Failed { request, error }))
            }
        }
    }

    /// Turns places in buffers into bytes that own them. Trusts no number that the worker sent.
    fn hand_over(&self, outputs: Vec<Output>, buffers: Vec<Buffer>) -> Result<Vec<OutputTensor>, LaneError> {
        let leases: Vec<_> =
            buffers.into_iter().map(|buffer| Arc::new(Lease::new(buffer, Arc::clone(&self.pool)))).collect();
        outputs
            .into_iter()
            .map(|Output { index, shape, place }| {
                let contents = match leases.iter().find(|lease| lease.id() == Some(place.buffer)) {
                    None => OutputContents::Region(place.len),
                    Some(lease) => OutputContents::Inline(
                        Lease::bytes(lease, place)
                            .ok_or(LaneError::Nonsense("an output outside its buffer"))?,
                    ),
                };
                Ok(OutputTensor { index: index as usize, shape, contents })
            })
            .collect()
    }
}

impl State {
    fn forget_closed_regions(&mut self, detach: &mut Vec<BufferId>) {
        self.regions.retain(|_, (buffer, region)| {
            let open = region.strong_count() > 0;
            if !open {
                detach.push(*buffer);
            }
            open
        });
    }
}

// === a message's descriptors ===

#[derive(Default)]
struct Message {
    attach: Vec<Attach>,
    files: Vec<File>,
}

/// Which of a running request's files goes with the message.
#[derive(PartialEq, Eq)]
enum File {
    Buffer(BufferId),
    Region(u64),
}

impl File {
    fn find<'a>(&self, running: &'a Running) -> Option<BorrowedFd<'a>> {
        match *self {
            Self::Region(id) => {
                running.regions.iter().find(|region| region.id() == id).map(|region| region.file())
            }
            Self::Buffer(id) => running
                .input
                .iter()
                .chain(&running.outputs)
                .find(|buffer| buffer.id == id)
                .map(|buffer| buffer.segment.file()),
        }
    }
}

impl Message {
    fn buffer(&mut self, buffer: &mut Buffer) {
        if !buffer.known {
            buffer.known = true;
            self.attach.push(Attach { buffer: buffer.id, len: buffer.segment.len() as u64, client: false });
            self.files.push(File::Buffer(buffer.id));
        }
    }

    fn region(
        &mut self,
        known: &mut HashMap<u64, (BufferId, Weak<Region>)>,
        pool: &Mutex<Pool>,
        slice: &RegionSlice,
        regions: &mut Vec<Arc<Region>>,
    ) -> Place {
        let region = slice.region();
        let (buffer, _) = *known.entry(region.id()).or_insert_with(|| {
            let buffer = locked(pool).new_id();
            self.attach.push(Attach { buffer, len: region.mapped_len(), client: true });
            self.files.push(File::Region(region.id()));
            (buffer, Arc::downgrade(region))
        });
        regions.push(Arc::clone(region));
        Place { buffer, offset: slice.start(), len: slice.byte_size() }
    }
}

// === reading ===

/// The one reader of a lane's outcomes.
#[derive(Debug)]
pub struct LaneReader {
    lane: Arc<Lane>,
    incoming: Box<[u8]>,
}

impl LaneReader {
    pub(super) fn new(lane: Arc<Lane>) -> Self {
        Self { lane, incoming: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice() }
    }

    /// The lane it reads.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Waits for what comes of the request that the worker runs.
    pub async fn next(&mut self) -> Result<LaneEvent, LaneError> {
        let Self { lane, incoming } = self;
        loop {
            let event = lane.socket.receive(incoming, |message| lane.hear(message)).await;
            if let Some(event) = event.map_err(LaneError::Socket)?? {
                return Ok(event);
            }
        }
    }
}
