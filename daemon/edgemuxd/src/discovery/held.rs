//! Who holds the lock of a file, as the kernel lists it. The file need not be readable for that, as another user's may not.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

/// The kernel's list of locks.
const LIST: &str = "/proc/locks";

/// The process that has locked `file` for itself alone, if it is of those that this one can see.
pub(super) fn by(file: &Path) -> Option<u32> {
    let about = file.metadata().ok()?;
    let (device, inode) = (about.dev(), about.ino());
    let place = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let list = std::fs::read_to_string(LIST).ok()?;
    list.lines().find_map(|line| holder(line, &place))
}

/// `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`; who waits for it has `->` before its kind.
fn holder(line: &str, place: &str) -> Option<u32> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        [_, "FLOCK", _, "WRITE", pid, at, ..] if at == place => pid.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn who_has_the_lock_is_named_and_who_waits_or_only_reads_is_not() {
        let place = "00:1a:42";
        assert_eq!(holder("1: FLOCK  ADVISORY  WRITE 4711 00:1a:42 0 EOF", place), Some(4711));
        for other in [
            "1: -> FLOCK  ADVISORY  WRITE 4711 00:1a:42 0 EOF",
            "1: FLOCK  ADVISORY  READ 4711 00:1a:42 0 EOF",
            "1: POSIX  ADVISORY  WRITE 4711 00:1a:42 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 4711 00:1a:421 0 EOF",
            "1: FLOCK  ADVISORY  WRITE",
            "",
        ] {
            assert_eq!(holder(other, place), None, "{other}");
        }
    }

    #[test]
    fn a_lock_is_seen_for_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        assert_eq!(by(&path), None);
        file.lock().unwrap();
        assert_eq!(by(&path), Some(std::process::id()));
        file.unlock().unwrap();
        assert_eq!(by(&path), None);
        assert_eq!(by(&folder.path().join("none")), None);
    }
}
