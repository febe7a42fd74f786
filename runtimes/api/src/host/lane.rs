//! One lane: a thread that runs one request at a time, in the order in which they come.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::{HostError, Instances, Sessions, locked, unwound};
use crate::error::RunError;
use crate::protocol::{
    Attach, BufferId, Input, MESSAGE_BYTES_MAX, Outcome, Output, Place, RequestId, SessionId, Target, Task,
    decode, encode,
};
use crate::runtime::{Cancel, Cancelled, Instance, Outputs, Timing};
use crate::shm::{Buffers, align};
use crate::socket;
use crate::tensor::{DataType, Signature, TensorView, byte_len};

/// Everything a lane's thread owns.
pub(super) struct Lane {
    wire: Wire,
    sessions: Arc<Sessions>,
    instances: Instances,
    signatures: HashMap<SessionId, Arc<Signature>>,
    cancel: Cancelled,
}

/// The lane's socket and the memory it speaks of.
struct Wire {
    socket: OwnedFd,
    incoming: Box<[u8]>,
    outgoing: Vec<u8>,
    files: Vec<OwnedFd>,
    buffers: Buffers,
    /// Requests that came while the one before them asked for a buffer.
    waiting: VecDeque<(Task, Vec<OwnedFd>)>,
}

/// What a request comes to.
type Ran = Result<(Vec<Output>, Timing), RunError>;

struct Run {
    request: RequestId,
    session: SessionId,
    inputs: Vec<Input>,
    outputs: Vec<Target>,
    output_buffer: BufferId,
}

impl Lane {
    /// Starts the lane's thread. A lane that fails ends the worker: the daemon starts a new one.
    pub(super) fn start(
        socket: OwnedFd,
        sessions: Arc<Sessions>,
        cancel: Cancelled,
    ) -> Result<(), HostError> {
        let instances = sessions.new_lane();
        let wire = Wire {
            socket,
            incoming: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice(),
            outgoing: Vec::new(),
            files: Vec::new(),
            buffers: Buffers::default(),
            waiting: VecDeque::new(),
        };
        let mut lane = Self { wire, sessions, instances, signatures: HashMap::new(), cancel };
        std::thread::Builder::new()
            .name("lane".into())
            .spawn(move || {
                if let Err(error) = lane.serve() {
                    eprintln!("worker: lane: {error}");
                    std::process::exit(1);
                }
            })
            .map_err(|_| HostError::Socket(Errno::AGAIN))?;
        Ok(())
    }

    fn serve(&mut self) -> Result<(), HostError> {
        while let Some(task) = self.wire.next()? {
            let Task::Run { request, session, inputs, outputs, output_buffer, attach, detach } = task else {
                return Err(HostError::Unexpected("a buffer that nobody asked for"));
            };
            for buffer in detach {
                self.wire.buffers.detach(buffer);
            }
            let run = Run { request, session, inputs, outputs, output_buffer };
            let outcome = match self.wire.attach(&attach) {
                Ok(()) => self.run(run)?,
                Err(error) => Err(error),
            };
            let outcome = match outcome {
                Ok((outputs, timing)) => Outcome::Response { request, outputs, last: true, timing },
                Err(error) => Outcome::Failed { request, error: error.shortened() },
            };
            self.wire.send(&outcome)?;
        }
        Ok(())
    }

    /// The outer error ends the worker, the inner one only the request.
    fn run(&mut self, run: Run) -> Result<Ran, HostError> {
        let Some(model) = self.sessions.model(run.session) else {
            self.signatures.remove(&run.session);
            return Ok(Err(RunError::NotLoaded(run.session)));
        };
        let signature = Arc::clone(
            self.signatures.entry(run.session).or_insert_with(|| Arc::new(model.signature().clone())),
        );
        let cancel = Cancel { cancelled: Arc::clone(&self.cancel), request: run.request };
        if cancel.is_cancelled() {
            // It never reaches the device.
            return Ok(Err(RunError::Cancelled));
        }
        let mut instances = locked(&self.instances);
        let mut instance = match instances.remove(&run.session) {
            Some(instance) => instance,
            None => match unwound(|| model.instantiate()) {
                Ok(Ok(instance)) => instance,
                Ok(Err(error)) => return Ok(Err(error)),
                Err(panic) => return Ok(Err(RunError::Failed(panic))),
            },
        };
        let session = run.session;
        let (ran, whole) = run.execute(&mut self.wire, &signature, &mut *instance, &cancel)?;
        if whole {
            instances.insert(session, instance);
        }
        Ok(ran)
    }
}

impl Run {
    /// Beside the outcome: is the instance still whole? One that panicked may be half changed.
    fn execute(
        self,
        wire: &mut Wire,
        signature: &Signature,
        instance: &mut dyn Instance,
        cancel: &Cancel,
    ) -> Result<(Ran, bool), HostError> {
        if let Err(error) = self.check(signature) {
            return Ok((Err(error), true));
        }
        // The views borrow the buffers for the whole run, while a growing output attaches new ones: those wait in a
        // table of their own until the run is over.
        let buffers = std::mem::take(&mut wire.buffers);
        let views: Result<Vec<_>, _> = signature
            .inputs
            .iter()
            .zip(&self.inputs)
            .map(|(spec, input)| {
                Ok(TensorView {
                    datatype: spec.datatype,
                    shape: &input.shape,
                    bytes: buffers.read(input.place)?,
                })
            })
            .collect();
        let views = match views {
            Ok(views) => views,
            Err(error) => {
                wire.buffers = buffers;
                return Ok((Err(shared_memory(&error)), true));
            }
        };
        let mut outputs = LaneOutputs {
            signature,
            request: self.request,
            targets: &self.outputs,
            attached: &buffers,
            buffer: self.output_buffer,
            cursor: 0,
            written: Vec::with_capacity(signature.outputs.len()),
            broken: None,
            wire,
        };
        let result = unwound(|| instance.run(&views, &mut outputs, cancel));
        let LaneOutputs { written, broken, .. } = outputs;
        drop(views);
        let grown = std::mem::replace(&mut wire.buffers, buffers);
        wire.buffers.extend(grown);
        match (broken, result) {
            (Some(error), _) => Err(error),
            (None, Ok(result)) => Ok((result.map(|timing| (written, timing)), true)),
            (None, Err(panic)) => Ok((Err(RunError::Failed(panic)), false)),
        }
    }

    /// The daemon has checked the request against the same signature; a worker trusts nobody all the same, because
    /// overlapping places would be two mutable references to one memory.
    fn check(&self, signature: &Signature) -> Result<(), RunError> {
        let refuse = |what: &str| Err(RunError::SharedMemory(what.to_owned()));
        if self.inputs.len() != signature.inputs.len()
            || !(self.outputs.is_empty() || self.outputs.len() == signature.outputs.len())
        {
            return Err(RunError::Inputs("inputs or outputs do not fit the model's signature".into()));
        }
        for (spec, input) in signature.inputs.iter().zip(&self.inputs) {
            // Byte strings have no length of their own; what they hold is for the model to check.
            let bytes = byte_len(spec.datatype, &input.shape).map(|bytes| bytes as u64);
            let fits = bytes == Some(input.place.len) || spec.datatype == DataType::Bytes;
            if !spec.accepts(&input.shape) || !fits {
                let Input { shape, place } = input;
                let what = format!("{} bytes of shape {shape:?} do not fit input {:?}", place.len, spec.name);
                return Err(RunError::Inputs(what));
            }
        }
        let overlap = |a: Place, b: Place| {
            a.buffer == b.buffer
                && a.offset < b.offset.saturating_add(b.len)
                && b.offset < a.offset.saturating_add(a.len)
        };
        for target in &self.outputs {
            let Target::Region(place) = *target else { continue };
            if place.buffer == self.output_buffer {
                return refuse("a region is not the daemon's output buffer");
            }
            if self.inputs.iter().any(|input| overlap(input.place, place)) {
                return refuse("an output overlaps an input");
            }
        }
        // An empty input may lie anywhere: it shares no byte.
        let lies_in_output = |place: Place| place.len > 0 && place.buffer == self.output_buffer;
        if self.inputs.iter().any(|input| lies_in_output(input.place)) {
            return refuse("an input lies in the output buffer");
        }
        Ok(())
    }
}

fn shared_memory(error: &crate::shm::ShmError) -> RunError {
    RunError::SharedMemory(error.to_string())
}

// === impl Wire ===

impl Wire {
    /// The next request.
    fn next(&mut self) -> Result<Option<Task>, HostError> {
        match self.waiting.pop_front() {
            None => self.receive(),
            Some((task, files)) => {
                self.files = files;
                Ok(Some(task))
            }
        }
    }

    fn receive(&mut self) -> Result<Option<Task>, HostError> {
        self.files.clear();
        match socket::receive(&self.socket, &mut self.incoming, &mut self.files) {
            Err(Errno::CONNRESET) | Ok(0) => Ok(None),
            received => Ok(Some(decode(&self.incoming[..received?])?)),
        }
    }

    fn send(&mut self, outcome: &Outcome) -> Result<(), HostError> {
        encode(outcome, &mut self.outgoing)?;
        Ok(socket::send(self.socket.as_fd(), &self.outgoing, &[])?)
    }

    fn attach(&mut self, attach: &[Attach]) -> Result<(), RunError> {
        if attach.len() != self.files.len() {
            return Err(RunError::SharedMemory("buffers and descriptors differ in number".into()));
        }
        for (&attach, file) in attach.iter().zip(&self.files) {
            self.buffers.attach(attach, file.as_fd()).map_err(|error| shared_memory(&error))?;
        }
        Ok(())
    }
}

// === outputs ===

struct LaneOutputs<'a> {
    signature: &'a Signature,
    request: RequestId,
    targets: &'a [Target],
    /// What was attached when the run began; what came since is in `wire.buffers`.
    attached: &'a Buffers,
    buffer: BufferId,
    cursor: usize,
    written: Vec<Output>,
    /// The lane itself failed: the worker must end once the instance has returned.
    broken: Option<HostError>,
    wire: &'a mut Wire,
}

impl LaneOutputs<'_> {
    /// Asks the daemon for a buffer of at least `bytes` and starts at its beginning.
    fn grow(&mut self, bytes: usize) -> Result<(), RunError> {
        self.exchange(bytes).map_err(|error| {
            let said = RunError::Failed(error.to_string());
            self.broken = Some(error);
            said
        })?
    }

    fn exchange(&mut self, bytes: usize) -> Result<Result<(), RunError>, HostError> {
        self.wire.send(&Outcome::NeedBuffer { request: self.request, bytes: bytes as u64 })?;
        loop {
            match self.wire.receive()? {
                Some(Task::Buffer { output_buffer, attach }) => {
                    self.buffer = output_buffer;
                    self.cursor = 0;
                    return Ok(self.wire.attach(&attach));
                }
                // Handed over ahead of time, before the daemon heard of the need.
                Some(run) => {
                    let files = std::mem::take(&mut self.wire.files);
                    self.wire.waiting.push_back((run, files));
                }
                None => return Err(HostError::Socket(Errno::CONNRESET)),
            }
        }
    }

    fn room(&self) -> usize {
        self.attached.len_of(self.buffer).max(self.wire.buffers.len_of(self.buffer))
    }
}

impl Outputs for LaneOutputs<'_> {
    fn buffer(&mut self, index: usize, shape: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError> {
        let Some(spec) = self.signature.outputs.get(index) else {
            return Err(RunError::Failed(format!("the model has no output {index}")));
        };
        let place = match self.targets.get(index) {
            Some(Target::Skip) => return Ok(None),
            Some(&Target::Region(place)) => {
                if (bytes as u64) > place.len {
                    return Err(RunError::OutputSpace {
                        output: spec.name.clone(),
                        needed_bytes: bytes as u64,
                        available_bytes: place.len,
                    });
                }
                Place { len: bytes as u64, ..place }
            }
            Some(Target::Buffer) | None => {
                if self.room().checked_sub(self.cursor).is_none_or(|left| left < bytes) {
                    self.grow(bytes)?;
                }
                let place = Place { buffer: self.buffer, offset: self.cursor as u64, len: bytes as u64 };
                self.cursor = align(self.cursor + bytes);
                place
            }
        };
        self.written.push(Output { index: index as u32, shape: shape.to_vec(), place });
        let holder =
            if self.wire.buffers.len_of(place.buffer) > 0 { &self.wire.buffers } else { self.attached };
        // SAFETY: `Run::check` keeps regions apart from inputs, the daemon's output buffer is no input, and the slice
        // of the output before ended with the borrow of `self` that gave it.
        unsafe { holder.write(place) }.map(Some).map_err(|error| shared_memory(&error))
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        let outcome = Outcome::Response {
            request: self.request,
            outputs: std::mem::take(&mut self.written),
            last: false,
            timing: Timing::default(),
        };
        // The daemon now owns the buffer that was sent: whatever follows needs another.
        self.cursor = usize::MAX;
        self.wire.send(&outcome).map_err(|error| {
            let said = RunError::Failed(error.to_string());
            self.broken = Some(error);
            said
        })
    }
}
