//! Clients' POSIX shared memory, opened by the daemon and mapped by workers only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::shm::OFlags;

use crate::shm::file_len;

/// Why a client's shared memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// Not a name that `shm_open` takes.
    #[error("{0:?} is no shared memory key: one leading '/', no other, at most 254 bytes")]
    Key(String),
    /// Nothing under that name, or no permission.
    #[error("cannot open shared memory {key:?}: {errno}")]
    Open {
        /// The key.
        key: String,
        /// What the system said.
        errno: Errno,
    },
    /// The object ends before the region does.
    #[error("the region ends at byte {wanted}, shared memory {key:?} has {holds} bytes")]
    Short {
        /// The key.
        key: String,
        /// End of the region.
        wanted: u64,
        /// Length of the object.
        holds: u64,
    },
    /// A region of no bytes.
    #[error("a region must have at least one byte")]
    Empty,
}

/// A registered region: a stretch of a client's shared memory object.
#[derive(Debug)]
pub struct Region {
    id: u64,
    key: String,
    file: OwnedFd,
    owner: u32,
    offset: u64,
    len: u64,
}

impl Region {
    /// Opens `len` bytes from `offset` on of the object `key`. Nothing is mapped here.
    pub fn open(key: &str, offset: u64, len: u64) -> Result<Self, RegionError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = key.strip_prefix('/').unwrap_or(key);
        if name.is_empty() || name.len() > 254 || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(RegionError::Key(key.to_owned()));
        }
        if len == 0 {
            return Err(RegionError::Empty);
        }
        let open = |errno| RegionError::Open { key: key.to_owned(), errno };
        let file = rustix::shm::open(format!("/{name}"), OFlags::RDWR, Mode::empty()).map_err(open)?;
        let holds = file_len(file.as_fd()).map_err(|_| open(Errno::IO))?;
        let owner = rustix::fs::fstat(&file).map_err(open)?.st_uid;
        let wanted = offset.saturating_add(len);
        if wanted > holds {
            return Err(RegionError::Short { key: key.to_owned(), wanted, holds });
        }
        Ok(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), key: key.to_owned(), file, owner, offset, len })
    }

    /// The key it was opened by.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// User id of the object's owner.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Its first byte in the object.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    pub fn byte_size(&self) -> u64 {
        self.len
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes a worker maps: from the object's start to the region's end.
    pub(super) fn mapped_len(&self) -> u64 {
        self.offset + self.len
    }
}

/// A stretch of a region, holding one tensor.
#[derive(Clone, Debug)]
pub struct RegionSlice {
    region: Arc<Region>,
    offset: u64,
    len: u64,
}

impl RegionSlice {
    /// `len` bytes from `offset` on; `None` if they leave the region.
    pub fn new(region: Arc<Region>, offset: u64, len: u64) -> Option<Self> {
        (offset.checked_add(len)? <= region.len).then_some(Self { region, offset, len })
    }

    /// Do the two share a byte of one object?
    pub fn overlaps(&self, other: &Self) -> bool {
        let start = |slice: &Self| slice.region.offset + slice.offset;
        self.region.key == other.region.key
            && start(self) < start(other) + other.len
            && start(other) < start(self) + self.len
    }

    /// Its length in bytes.
    pub fn byte_size(&self) -> u64 {
        self.len
    }

    pub(super) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// First byte in the object.
    pub(super) fn start(&self) -> u64 {
        self.region.offset + self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, len: u64) -> OwnedFd {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::shm::open(name, flags, Mode::RUSR | Mode::WUSR).unwrap();
        rustix::fs::ftruncate(&file, len).unwrap();
        file
    }

    #[test]
    fn a_region_must_lie_inside_its_object_and_a_slice_inside_its_region() {
        let name = format!("/edgemux-region-test-{}", std::process::id());
        let _object = object(&name, 4096);
        let region = Region::open(&name, 96, 4000).map(Arc::new);
        assert!(matches!(Region::open(&name, 97, 4000), Err(RegionError::Short { wanted: 4097, .. })));
        assert!(matches!(Region::open(&name, u64::MAX, 2), Err(RegionError::Short { .. })));
        assert!(matches!(Region::open(&name, 0, 0), Err(RegionError::Empty)));
        rustix::shm::unlink(&name).unwrap();
        assert!(matches!(Region::open(&name, 0, 1), Err(RegionError::Open { .. })));

        let region = region.unwrap();
        assert!(RegionSlice::new(Arc::clone(&region), 3999, 2).is_none());
        assert!(RegionSlice::new(Arc::clone(&region), u64::MAX, 2).is_none());
        let slice = |offset, len| RegionSlice::new(Arc::clone(&region), offset, len).unwrap();
        assert!(slice(0, 10).overlaps(&slice(9, 1)));
        assert!(!slice(0, 10).overlaps(&slice(10, 1)));
    }

    #[test]
    fn keys_that_climb_are_refused() {
        for key in ["", "/", "/..", "..", "/a/b", "/../etc/passwd", "a\0b"] {
            assert!(matches!(Region::open(key, 0, 1), Err(RegionError::Key(_))), "{key:?}");
        }
    }
}
