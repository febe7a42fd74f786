//! The worker's end: takes a runtime and serves the daemon until told to stop or until the daemon is gone.
//!
//! Threads: this one reads the control socket and is always ready to answer a ping; one loads and unloads, one thing at
//! a time; and one per lane runs requests.

mod lane;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use self::lane::Lane;
use crate::error::{LoadError, OpenError};
use crate::protocol::{
    self, Command, MESSAGE_BYTES_MAX, ProtocolError, Reply, SessionId, VERSION, decode, encode,
};
use crate::runtime::{Cancelled, Instance, Model, Runtime};
use crate::{sandbox, socket};

/// Loads that may wait for the one before them.
const LOADS_WAITING_MAX: usize = 256;

/// Why a worker gave up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The control socket failed.
    #[error("the daemon's socket: {0}")]
    Socket(#[from] Errno),
    /// The daemon sent something else than this protocol.
    #[error("the daemon's message: {0}")]
    Protocol(#[from] ProtocolError),
    /// The daemon speaks another version.
    #[error(
        "the daemon speaks worker protocol {daemon}, this worker {VERSION}: install both from one release"
    )]
    Version {
        /// What the daemon speaks.
        daemon: u32,
    },
    /// A message that has no place here.
    #[error("unexpected message: {0}")]
    Unexpected(&'static str),
    /// The device could not be opened; the daemon was told.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be kept to its sandbox.
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
}

/// The whole `main` of a worker: `--probe` prints [`crate::runtime::Probe`] as JSON; otherwise standard input must be
/// the control socket.
pub fn main<R: Runtime>(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    match arguments {
        [only] if only == "--probe" => {
            println!("{}", serde_json::to_string(&R::probe())?);
            Ok(())
        }
        [] => {
            // Before anything that a tenant has brought is read.
            sandbox::enter()?;
            Ok(serve::<R>(std::io::stdin().as_fd().try_clone_to_owned()?)?)
        }
        _ => Err("usage: --probe, or no argument and the daemon's socket as standard input".into()),
    }
}

/// Serves the daemon at the other end of `control` with runtime `R`; returns when it says stop or is gone.
pub fn serve<R: Runtime>(control: OwnedFd) -> Result<(), HostError> {
    let control = Arc::new(control);
    let mut incoming = Incoming { buffer: vec![0; MESSAGE_BYTES_MAX].into_boxed_slice(), files: Vec::new() };
    let device = match incoming.next(&control)? {
        None => return Ok(()),
        Some(Command::Hello { version: VERSION, device }) => device,
        Some(Command::Hello { version, .. }) => return Err(HostError::Version { daemon: version }),
        Some(_) => return Err(HostError::Unexpected("the first is to be hello")),
    };
    let runtime = match R::open(&device) {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            reply(&control, &Reply::OpenFailed(error.clone()))?;
            return Err(error.into());
        }
    };
    sandbox::start_nothing()?;
    reply(&control, &Reply::Hello { version: VERSION, probe: R::probe() })?;

    let sessions = Arc::new(Sessions::default());
    let loads = start_loader(runtime, Arc::clone(&sessions), Arc::clone(&control));
    let mut cancels: Vec<Cancelled> = Vec::new();
    while let Some(command) = incoming.next(&control)? {
        match command {
            Command::Hello { .. } => return Err(HostError::Unexpected("a second hello")),
            Command::OpenLane => {
                let socket =
                    incoming.files.pop().ok_or(HostError::Unexpected("a lane without its socket"))?;
                let cancel = Cancelled::default();
                cancels.push(Arc::clone(&cancel));
                Lane::start(socket, Arc::clone(&sessions), cancel)?;
            }
            Command::Load { session, file } => send_load(&loads, LoaderTask::Load { session, file })?,
            Command::Unload { session } => send_load(&loads, LoaderTask::Unload { session })?,
            Command::Cancel { lane, request } => {
                if let Some(cancel) = cancels.get(lane as usize) {
                    cancel[request as usize % cancel.len()].store(request, Ordering::Relaxed);
                }
            }
            Command::Ping { nonce } => reply(&control, &Reply::Pong { nonce })?,
            Command::Stop => break,
        }
    }
    Ok(())
}

struct Incoming {
    buffer: Box<[u8]>,
    files: Vec<OwnedFd>,
}

impl Incoming {
    fn next(&mut self, control: &OwnedFd) -> Result<Option<Command>, HostError> {
        self.files.clear();
        let len = match socket::receive(control, &mut self.buffer, &mut self.files) {
            Err(Errno::CONNRESET) | Ok(0) => return Ok(None),
            received => received?,
        };
        Ok(Some(decode(&self.buffer[..len])?))
    }
}

fn reply(control: &OwnedFd, reply: &Reply) -> Result<(), HostError> {
    let mut bytes = Vec::new();
    encode(reply, &mut bytes)?;
    Ok(socket::send(control.as_fd(), &bytes, &[])?)
}

// === the loader ===

enum LoaderTask {
    Load { session: SessionId, file: String },
    Unload { session: SessionId },
}

fn send_load(loads: &SyncSender<LoaderTask>, task: LoaderTask) -> Result<(), HostError> {
    loads
        .try_send(task)
        .map_err(|_| HostError::Unexpected("more loads than any daemon of ours has under way"))
}

fn start_loader<R: Runtime>(
    runtime: Arc<R>,
    sessions: Arc<Sessions>,
    control: Arc<OwnedFd>,
) -> SyncSender<LoaderTask> {
    let (loads, tasks): (_, Receiver<LoaderTask>) = sync_channel(LOADS_WAITING_MAX);
    std::thread::spawn(move || {
        for task in tasks {
            let answer = match task {
                LoaderTask::Load { session, file } => load(&*runtime, &sessions, session, file),
                LoaderTask::Unload { session } => {
                    sessions.remove(session);
                    Reply::Unloaded { session }
                }
            };
            if let Err(error) = reply(&control, &answer) {
                // The daemon is gone: the control loop sees the same and ends the process.
                eprintln!("worker: {error}");
                return;
            }
        }
    });
    loads
}

fn load<R: Runtime>(runtime: &R, sessions: &Sessions, session: SessionId, file: String) -> Reply {
    match unwound(|| runtime.load(Path::new(&file))) {
        Ok(Ok(model)) => {
            let loaded = Reply::Loaded {
                session,
                signature: model.signature().clone(),
                memory: model.memory(),
                details: model.details(),
            };
            if encode(&loaded, &mut Vec::new()).is_err() {
                let reason =
                    format!("its signature and details are over {} bytes long", protocol::MESSAGE_BYTES_MAX);
                return Reply::LoadFailed { session, error: LoadError::Invalid { file, reason } };
            }
            sessions.insert(session, model);
            loaded
        }
        Ok(Err(error)) => Reply::LoadFailed { session, error: error.shortened() },
        Err(reason) => Reply::LoadFailed { session, error: LoadError::Invalid { file, reason } },
    }
}

/// Runs `work`; a panic becomes its message.
fn unwound<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("it panicked: {}", text.unwrap_or_default())
    })
}

// === sessions ===

type Instances = Arc<Mutex<HashMap<SessionId, Box<dyn Instance>>>>;

/// The models loaded here and, per lane, their instances.
#[derive(Default)]
struct Sessions {
    models: Mutex<HashMap<SessionId, Arc<dyn Model>>>,
    lanes: Mutex<Vec<Instances>>,
}

impl Sessions {
    fn insert(&self, session: SessionId, model: Arc<dyn Model>) {
        locked(&self.models).insert(session, model);
    }

    fn model(&self, session: SessionId) -> Option<Arc<dyn Model>> {
        locked(&self.models).get(&session).cloned()
    }

    /// Returns once the model and its instances are dropped, which may have to wait for a run to end.
    fn remove(&self, session: SessionId) {
        locked(&self.models).remove(&session);
        let lanes = locked(&self.lanes).clone();
        for instances in lanes {
            locked(&instances).remove(&session);
        }
    }

    fn new_lane(&self) -> Instances {
        let instances = Instances::default();
        locked(&self.lanes).push(Arc::clone(&instances));
        instances
    }
}

/// A panic elsewhere leaves these tables whole: nothing that can panic happens while they are changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
