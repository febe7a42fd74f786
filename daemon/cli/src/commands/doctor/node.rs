//! What the machine offers: kernel, clock, shared memory, limits. These are of the machine that this command runs on.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::format;

/// pidfd_open, by which the daemon watches its workers.
const KERNEL_MIN: (u32, u32) = (5, 3);
/// 2025-01-01; a clock before it has never been set.
const CLOCK_MIN: Duration = Duration::from_secs(1_735_689_600);
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const SHARED_MEMORY: &str = "/dev/shm";
/// A container gets this by default, and it holds few tensors.
const SHARED_MEMORY_MIN: u64 = 256 << 20;
const FILES_MIN: u64 = 4096;
const LOCKED_MIN: u64 = 8 << 20;

pub(super) fn checks() -> Vec<Check> {
    let limit = |resource| getrlimit(resource).current;
    vec![
        kernel(rustix::system::uname().release().to_str().unwrap_or("unknown")),
        clock(SystemTime::now()),
        clock_source(fs::read_to_string(CLOCK_SOURCE).ok().as_deref()),
        shared_memory(Path::new(SHARED_MEMORY)),
        files(limit(Resource::Nofile)),
        locked(limit(Resource::Memlock)),
    ]
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Check::warn(
            "kernel",
            format!("Linux {release}"),
            "its version cannot be told; 5.3 or later is needed",
        );
    };
    if (major, minor) >= KERNEL_MIN {
        Check::ok("kernel", format!("Linux {release}"))
    } else {
        Check::fail("kernel", format!("Linux {release}"), "upgrade to Linux 5.3 or later")
    }
}

fn clock(now: SystemTime) -> Check {
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) if since >= CLOCK_MIN => Check::ok("clock", format!("{} s since 1970", since.as_secs())),
        _ => Check::warn(
            "clock",
            "the clock has not been set",
            "start an NTP client (timedatectl set-ntp true)",
        ),
    }
}

/// Latencies are measured by a clock that is read often.
fn clock_source(source: Option<&str>) -> Check {
    match source.map(str::trim) {
        Some(slow @ ("hpet" | "acpi_pm" | "refined-jiffies" | "jiffies")) => Check::warn(
            "clock-source",
            format!("{slow}, which is slow to read"),
            "choose tsc or the board's own counter, where the kernel offers it (available_clocksource)",
        ),
        Some(source) => Check::ok("clock-source", source),
        None => Check::ok("clock-source", "not shown by this kernel"),
    }
}

fn shared_memory(folder: &Path) -> Check {
    let shown = folder.display();
    if let Err(cause) = tempfile::Builder::new().prefix("edgemux-doctor-").tempfile_in(folder) {
        let advice = "mount a tmpfs there, writable for the daemon and its clients";
        return Check::fail("shared-memory", format!("{shown} cannot be written: {cause}"), advice);
    }
    let size = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat.f_blocks.saturating_mul(stat.f_frsize),
        Err(cause) => {
            return Check::warn(
                "shared-memory",
                format!("the size of {shown} is unknown: {cause}"),
                "look at `df`",
            );
        }
    };
    let finding = format!("{shown} is writable, {}", format::bytes(size));
    if size >= SHARED_MEMORY_MIN {
        Check::ok("shared-memory", finding)
    } else {
        let advice = "give it more (mount -o remount,size=1G /dev/shm; in a container --shm-size)";
        Check::warn("shared-memory", finding, advice)
    }
}

fn files(limit: Option<u64>) -> Check {
    let finding = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{limit} in this shell"));
    if limit.is_none_or(|limit| limit >= FILES_MIN) {
        Check::ok("open-files", finding)
    } else {
        let advice = "fine for this command; a daemon started from here takes `ulimit -n 65536`, or LimitNOFILE= in its unit";
        Check::warn("open-files", finding, advice)
    }
}

fn locked(limit: Option<u64>) -> Check {
    let finding = limit
        .map_or_else(|| "no limit".to_owned(), |limit| format!("{} in this shell", format::bytes(limit)));
    if limit.is_none_or(|limit| limit >= LOCKED_MIN) {
        Check::ok("locked-memory", finding)
    } else {
        let advice = "an accelerator's driver may need more to pin tensors: `ulimit -l`, or LimitMEMLOCK= in the daemon's unit";
        Check::warn("locked-memory", finding, advice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn old_kernels_fail_and_strange_ones_warn() {
        for (release, grade) in [
            ("6.1.0-13-amd64", Grade::Ok),
            ("5.3.0", Grade::Ok),
            ("5.2.9", Grade::Fail),
            ("4.9.337-tegra", Grade::Fail),
            ("strange", Grade::Warn),
        ] {
            assert_eq!(kernel(release).grade, grade, "{release}");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_noticed() {
        assert_eq!(clock(UNIX_EPOCH + Duration::from_secs(86_400)).grade, Grade::Warn);
        assert_eq!(clock(UNIX_EPOCH + CLOCK_MIN).grade, Grade::Ok);
        assert_eq!(clock_source(Some("hpet\n")).grade, Grade::Warn);
        assert_eq!(clock_source(Some("tsc\n")).grade, Grade::Ok);
        assert_eq!(clock_source(None).grade, Grade::Ok);
    }

    #[test]
    fn tight_limits_warn_and_missing_shared_memory_fails() {
        assert_eq!(files(Some(1024)).grade, Grade::Warn);
        assert_eq!(files(None).grade, Grade::Ok);
        assert_eq!(locked(Some(64 << 10)).grade, Grade::Warn);
        assert_eq!(shared_memory(Path::new("/nonexistent")).grade, Grade::Fail);
        let here = tempfile::tempdir().unwrap();
        assert_ne!(shared_memory(here.path()).grade, Grade::Fail);
    }
}
