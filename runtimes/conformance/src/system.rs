//! What the system says of a process, and memory that belongs to a client.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use edgemux_runtime_api::protocol::{Command, MESSAGE_BYTES_MAX, Reply, decode, encode};
use edgemux_runtime_api::socket;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::{Fault, Subject};

/// Longest a bare worker may take to answer or to leave.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) descriptors: usize,
    pub(crate) mappings_shared: usize,
    pub(crate) resident_kib: usize,
}

impl Holdings {
    pub(crate) fn of(pid: u32) -> Result<Self, Fault> {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        // Heaps and stacks come and go as the allocator likes; tensors are what must not pile up.
        let shared = |line: &&str| line.contains("memfd:") || line.contains("/dev/shm/");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident_kib = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
        Ok(Self {
            descriptors,
            mappings_shared: maps.lines().filter(shared).count(),
            resident_kib: resident_kib.ok_or("no VmRSS in /proc")?,
        })
    }
}

/// Does the process exist, if only as a zombie?
pub(crate) fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// A client's POSIX shared memory, removed on drop.
pub(crate) struct ClientMemory {
    pub(crate) key: String,
    pub(crate) file: File,
}

impl ClientMemory {
    pub(crate) fn new(len: u64) -> Result<Self, Fault> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = format!("/edgemux-conformance-{}-{number}", std::process::id());
        let path = format!("/dev/shm{key}");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(len)?;
        Ok(Self { key, file })
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        Ok(self.file.write_all_at(bytes, offset)?)
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl Drop for ClientMemory {
    fn drop(&mut self) {
        // Nothing to be done about a name that is already gone.
        let _ = std::fs::remove_file(format!("/dev/shm{}", self.key));
    }
}

/// A worker spoken to without the daemon's end, to say what the daemon never would.
pub(crate) struct BareWorker {
    child: Child,
    pub(crate) socket: Option<OwnedFd>,
}

impl BareWorker {
    pub(crate) fn start(subject: &Subject) -> Result<Self, Fault> {
        let (ours, theirs) = socket::pair()?;
        rustix::io::ioctl_fionbio(&ours, false)?;
        set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))?;
        let child = Process::new(&subject.command.program)
            .args(&subject.command.arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, socket: Some(ours) })
    }

    pub(crate) fn send(&self, command: &Command) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        encode(command, &mut bytes)?;
        self.send_raw(&bytes)
    }

    pub(crate) fn send_raw(&self, bytes: &[u8]) -> Result<(), Fault> {
        let socket = self.socket.as_ref().ok_or("the socket is closed")?;
        Ok(socket::send(socket.as_fd(), bytes, &[])?)
    }

    /// The next reply, `None` once the worker has closed its end.
    pub(crate) fn receive(&self) -> Result<Option<Reply>, Fault> {
        let socket = self.socket.as_ref().ok_or("the socket is closed")?;
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        match socket::receive(socket, &mut buffer, &mut Vec::new()) {
            Ok(0) | Err(Errno::CONNRESET) => Ok(None),
            Ok(len) => Ok(Some(decode(&buffer[..len])?)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for the process to leave of its own accord.
    pub(crate) async fn left(mut self) -> Result<ExitStatus, Fault> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(begun.elapsed() < PATIENCE, "the worker has not left after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for BareWorker {
    fn drop(&mut self) {
        // No error if it has left already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
