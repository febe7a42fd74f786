//! What a worker may touch: little more than its models and its device.
//!
//! A worker runs files that tenants have brought, in libraries of millions of lines. The daemon says in the worker's
//! environment what it may reach, and the worker gives up the rest before it reads anything: files by Landlock, sockets and
//! system calls that no inference needs by seccomp, memory by a limit. Nothing of it can be taken back by the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// The variable in which the daemon tells a worker of its sandbox, as JSON.
pub const VARIABLE: &str = "EDGEMUX_SANDBOX";

/// What any library may read: code, the machine, and of `/proc` what is no other process's.
const READABLE: [&str; 20] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/sys",
    "/run/udev",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/version",
];
const DEVICES_OF_ALL: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// The newest rules that are asked for; a kernel that knows fewer keeps those that it knows.
const RULES: ABI = ABI::V6;

/// What a worker is kept to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// What it may read besides the system's libraries; none: all that its user may.
    pub files: Option<Files>,
    /// Whether it may make unix sockets of its own, as CUDA's driver does. It reaches nobody by them: it can neither connect
    /// nor send to an address. None may talk to the network.
    pub unix_sockets: bool,
    /// Most bytes of memory of its own, heap and anonymous mappings, but for what it shares with the daemon.
    pub memory_bytes: Option<u64>,
}

/// What a worker may open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// To read, with all that is below.
    pub read: Vec<PathBuf>,
    /// Device nodes, or folders of them, to use; what else a driver writes to.
    pub devices: Vec<PathBuf>,
}

/// Why a worker cannot be kept to its sandbox. It ends then.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Not what a daemon of this release writes.
    #[error("{VARIABLE}: {0}")]
    Said(#[from] serde_json::Error),
    /// Landlock.
    #[error("files cannot be kept from the worker: {0}")]
    Files(#[from] RulesetError),
    /// seccomp.
    #[error("system calls cannot be kept from the worker: {0}")]
    Calls(String),
    /// The limit.
    #[error("the worker's memory cannot be limited to {bytes} bytes: {errno}")]
    Memory {
        /// The limit.
        bytes: u64,
        /// What the system said.
        errno: rustix::io::Errno,
    },
}

/// Keeps this process to what the daemon has said, if it has said anything. To be called before there are other threads.
pub fn enter() -> Result<(), SandboxError> {
    let Some(said) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let sandbox: Sandbox = serde_json::from_slice(said.as_encoded_bytes())?;
    sandbox.enter()
}

/// Once the device is open, which a runtime may try in a process of its own, nothing has to be started any more.
pub fn start_nothing() -> Result<(), SandboxError> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    apply([(libc::SYS_execve, Vec::new()), (libc::SYS_execveat, Vec::new())].into())
}

impl Sandbox {
    /// As it is put into a worker's environment.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Keeps this process to it.
    pub fn enter(&self) -> Result<(), SandboxError> {
        if let Some(bytes) = self.memory_bytes {
            let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
            setrlimit(Resource::Data, limit).map_err(|errno| SandboxError::Memory { bytes, errno })?;
        }
        if let Some(files) = &self.files
            && !files.keep()?
        {
            eprintln!("worker: this kernel knows no Landlock: files are not kept from the worker");
        }
        apply(forbidden(self.unix_sockets).map_err(|error| SandboxError::Calls(error.to_string()))?)
    }
}

impl Files {
    /// Is it kept, if only in part?
    fn keep(&self) -> Result<bool, RulesetError> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
        let use_device: BitFlags<AccessFs> = AccessFs::ReadFile
            | AccessFs::ReadDir
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::IoctlDev;
        let readable = READABLE.iter().map(Path::new).chain(self.read.iter().map(PathBuf::as_path));
        let devices = DEVICES_OF_ALL.iter().map(Path::new).chain(self.devices.iter().map(PathBuf::as_path));
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(RULES))?
            .scope(Scope::from_all(RULES))?
            .create()?
            .add_rules(path_beneath_rules(readable, read))?
            .add_rules(path_beneath_rules(devices, use_device))?
            .restrict_self()?;
        Ok(status.ruleset != RulesetStatus::NotEnforced)
    }
}

/// System calls, each under any of its rules, or always where it has none.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// Has these answered EPERM from now on, in every thread.
fn apply(calls: Calls) -> Result<(), SandboxError> {
    let said = |error: &dyn std::error::Error| SandboxError::Calls(error.to_string());
    let program = filter(calls).map_err(|error| said(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| said(&error))
}

fn filter(calls: Calls) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(calls, SeccompAction::Allow, denied, architecture)?.try_into()
}

/// System calls by which a worker would reach beyond itself.
fn forbidden(unix_sockets: bool) -> Result<Calls, BackendError> {
    let mut calls: Calls = CALLS.iter().map(|&call| (call, Vec::new())).collect();
    let family = |op, family: i32| SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, family as u64);
    // Datagrams need no connection to reach somebody, one of a pair as little as any, and a filter does not see to whom they
    // go. Of unix sockets a raw one is one for datagrams.
    let flags = (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64;
    let kind = SeccompCmpOp::MaskedEq(u64::from(u32::MAX) & !flags);
    let datagrams = [libc::SOCK_DGRAM, libc::SOCK_RAW].into_iter().map(|of| {
        let of = SeccompCondition::new(1, SeccompCmpArgLen::Dword, kind.clone(), of as u64)?;
        SeccompRule::new(vec![family(SeccompCmpOp::Eq, libc::AF_UNIX)?, of])
    });
    let datagrams: Vec<SeccompRule> = datagrams.collect::<Result<_, _>>()?;
    // libusb listens for its devices by netlink, which reaches the kernel and nobody else.
    let mut other = vec![family(SeccompCmpOp::Ne, libc::AF_NETLINK)?];
    if unix_sockets {
        other.push(family(SeccompCmpOp::Ne, libc::AF_UNIX)?);
        calls.insert(libc::SYS_connect, Vec::new());
    }
    let sockets = [datagrams.as_slice(), &[SeccompRule::new(other)?]].concat();
    calls.insert(libc::SYS_socket, sockets);
    calls.insert(libc::SYS_socketpair, datagrams);
    Ok(calls)
}

/// Other processes' memory, other roots, the kernel itself, and ways around this filter.
const CALLS: [i64; 25] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_open_by_handle_at,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_says_is_what_the_worker_reads() {
        let files = Files { read: vec!["/models".into()], devices: vec!["/dev/apex_0".into()] };
        let sandbox = Sandbox { files: Some(files), unix_sockets: true, memory_bytes: Some(7) };
        assert_eq!(serde_json::from_str::<Sandbox>(&sandbox.to_json()).unwrap(), sandbox);
        assert!(serde_json::from_str::<Sandbox>("{\"network\": true}").is_err());
    }

    #[test]
    fn the_filters_can_be_built() {
        for unix_sockets in [false, true] {
            assert!(forbidden(unix_sockets).and_then(filter).is_ok_and(|program| !program.is_empty()));
        }
    }
}
