//! Bounds on what this process may do to the machine when a model goes wrong.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sys::Device;

/// Bounds this process's memory on the host, and makes it the one that the system ends first when memory runs out. None
/// of it is needed to run, so that what is not allowed is left.
pub(crate) fn apply(device: Device, limit_mb: Option<u64>) {
    let free = || available_bytes().map(|bytes| bytes / 10 * 9);
    let limit = match (limit_mb, device) {
        (Some(limit), _) => Some(limit.saturating_mul(1_000_000)),
        (None, Device::Cpu) => free(),
        (None, Device::Cuda(_)) => None,
    };
    if let Some(limit) = limit {
        // Private memory that can be written: what a model allocates. Beyond it an allocation fails, and so the request.
        let current = limit.min(getrlimit(Resource::Data).maximum.unwrap_or(u64::MAX));
        let rlimit = Rlimit { current: Some(current), maximum: getrlimit(Resource::Data).maximum };
        if let Err(error) = setrlimit(Resource::Data, rlimit) {
            eprintln!("edgemux-runtime-torch: memory is not limited to {current} bytes: {error}");
        }
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

/// Memory that the system could give without swapping.
pub(crate) fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    parse_available(&text)
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read_as_linux_tells_it() {
        let meminfo = "MemTotal:       24645324 kB\nMemAvailable:   23456789 kB\n";
        assert_eq!(parse_available(meminfo), Some(23_456_789 * 1024));
        assert_eq!(parse_available("MemTotal: 1 kB\n"), None);
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
