//! Processes, and what they hold, as `/proc` shows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

/// One process; another that gets its id later is not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
    started: u64,
}

impl Process {
    /// The process with this id, if it runs.
    pub fn of(pid: u32) -> Option<Self> {
        let (state, started) = stat(pid)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, started })
    }

    /// Its id.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Does it run still? One that has ended and waits to be reaped does not.
    pub fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal.
    pub fn signal(self, signal: Signal) {
        assert!(self.is_running(), "process {} has ended", self.pid);
        let pid = Pid::from_raw(self.pid as i32).expect("a process has an id");
        rustix::process::kill_process(pid, signal).expect("a signal to our own process");
    }

    /// Its children, those of all its threads.
    pub fn children(self) -> Vec<Self> {
        let threads = folder(&self.path("task"));
        let lists = threads.iter().filter_map(|thread| std::fs::read_to_string(thread.join("children")).ok());
        let text: String = lists.collect();
        text.split_whitespace().filter_map(|pid| Self::of(pid.parse().ok()?)).collect()
    }

    /// The files it has mapped, one line of `/proc/PID/maps` each.
    pub fn maps(self) -> Vec<String> {
        let maps = std::fs::read_to_string(self.path("maps")).unwrap_or_default();
        maps.lines().map(str::to_owned).collect()
    }

    /// Bytes of memory that are its own: anonymous and resident.
    pub fn resident_bytes(self) -> u64 {
        let status = std::fs::read_to_string(self.path("status")).unwrap_or_default();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = kilobytes.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("RssAnon in kB") * 1024
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }
}

/// What a process holds that could leak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Open descriptors by what they are, as in `{"socket": 9, "anon_inode:[eventpoll]": 1}`.
    pub descriptors: BTreeMap<String, usize>,
    /// Threads.
    pub threads: usize,
    /// Child processes, those that nobody has reaped included.
    pub children: usize,
    /// Mappings of memory that has no name: tensors.
    pub memory_maps: usize,
}

impl Held {
    /// By this process, now.
    pub fn by(process: Process) -> Self {
        let mut descriptors = BTreeMap::new();
        for target in folder(&process.path("fd")).iter().filter_map(|file| std::fs::read_link(file).ok()) {
            let target = target.to_string_lossy();
            let kind = target.split_once(":[").map_or(&*target, |(kind, _number)| kind);
            *descriptors.entry(kind.to_owned()).or_default() += 1;
        }
        Self {
            descriptors,
            threads: folder(&process.path("task")).len(),
            children: all_children(process),
            memory_maps: process.maps().iter().filter(|line| line.contains("/memfd:")).count(),
        }
    }
}

/// The shared memory objects with a name, in order, that have to do with edgemux.
pub fn shared_objects() -> Vec<PathBuf> {
    let mut objects = folder(Path::new("/dev/shm"));
    objects.retain(|path| path.to_string_lossy().contains("edgemux"));
    objects.sort();
    objects
}

fn all_children(process: Process) -> usize {
    let lists = folder(&process.path("task")).into_iter().map(|thread| thread.join("children"));
    lists
        .filter_map(|list| std::fs::read_to_string(list).ok())
        .map(|list| list.split_whitespace().count())
        .sum()
}

fn folder(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// State, and the time of its start in clock ticks since the system's.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows it are numbers, but for the state.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.nth(18)?.parse().ok()?))
}
