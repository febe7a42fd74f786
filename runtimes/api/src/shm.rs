//! Memory shared between processes: the daemon's own buffers (memfd) and clients' regions (POSIX shared memory).
//!
//! This is the one module of the crate with `unsafe`. What it leans on:
//!
//! * a mapping lives as long as its [`Mapping`], and its length never changes;
//! * a memfd made here is sealed against shrinking and growing, so the other process cannot make a mapping fault;
//! * a client's region cannot be sealed. Only a worker maps one; a client that truncates it under a request takes that
//!   worker down with `SIGBUS`, never the daemon;
//! * the other process may write at any time. Contents are plain bytes, valid whatever they are, and every length that
//!   is acted on was read from a message, never from shared memory.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::protocol::{Attach, BufferId, Place};

/// Every tensor in a daemon's buffer starts at a multiple of this, enough for any vector unit.
pub const ALIGNMENT: usize = 64;

/// Why shared memory could not be made or mapped.
#[derive(Debug, thiserror::Error)]
pub enum ShmError {
    /// The system refused.
    #[error("{what}: {errno}")]
    System {
        /// The call that failed.
        what: &'static str,
        /// What the system said.
        errno: Errno,
    },
    /// The file is shorter than what is to be mapped.
    #[error("{wanted} bytes wanted, the shared memory holds {holds}")]
    Short {
        /// Bytes to map.
        wanted: u64,
        /// Bytes there are.
        holds: u64,
    },
    /// A buffer that this lane was never told of.
    #[error("buffer {0} is not attached")]
    Unknown(BufferId),
    /// Nothing to map.
    #[error("shared memory of no bytes")]
    Empty,
}

fn system(what: &'static str) -> impl Fn(Errno) -> ShmError {
    move |errno| ShmError::System { what, errno }
}

/// A shared file mapped for reading and writing, unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; access is governed by `&self` and `&mut self` as for any
// owned memory.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`.
    pub fn new(file: BorrowedFd<'_>, len: usize) -> Result<Self, ShmError> {
        if len == 0 {
            return Err(ShmError::Empty);
        }
        let holds = file_len(file)?;
        if (len as u64) > holds {
            return Err(ShmError::Short { wanted: len as u64, holds });
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that Rust knows of.
        let start = unsafe {
            mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)
        }
        .map_err(system("mmap"))?;
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, len }),
            None => Err(ShmError::System { what: "mmap", errno: Errno::NOMEM }),
        }
    }

    /// The mapped bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `len` bytes until drop; see the module's notes on the other process.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The mapped bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and `&mut self` makes this the only reference of this process.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this start and length, and no reference outlives `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of a mapping of our own");
    }
}

/// The shared buffers that one lane of a worker knows.
#[derive(Debug, Default)]
pub struct Buffers(HashMap<BufferId, Attached>);

#[derive(Debug)]
struct Attached {
    mapping: Mapping,
    /// Kept for a client's memory only, to see whether it is still as long as it was.
    file: Option<OwnedFd>,
}

impl Buffers {
    /// Maps a buffer that came with a message.
    pub fn attach(&mut self, attach: Attach, file: BorrowedFd<'_>) -> Result<(), ShmError> {
        let len = usize::try_from(attach.len).unwrap_or(usize::MAX);
        let mapping = Mapping::new(file, len)?;
        let file = match attach.client {
            true => Some(file.try_clone_to_owned().map_err(|_| system("dup")(Errno::MFILE))?),
            false => None,
        };
        self.0.insert(attach.buffer, Attached { mapping, file });
        Ok(())
    }

    /// Unmaps a buffer; one that is not there is no error.
    pub fn detach(&mut self, buffer: BufferId) {
        self.0.remove(&buffer);
    }

    /// Takes over all of another's.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Length of a buffer in bytes; 0 if it is not there.
    pub fn len_of(&self, buffer: BufferId) -> usize {
        self.0.get(&buffer).map_or(0, |attached| attached.mapping.len)
    }

    /// The bytes at `place`.
    pub fn read(&self, place: Place) -> Result<&[u8], ShmError> {
        let (mapping, offset, len) = self.find(place)?;
        Ok(&mapping.bytes()[offset..offset + len])
    }

    /// The bytes at `place`, to write.
    ///
    /// # Safety
    /// For as long as the answer lives, no other reference to any byte of `place` may be alive in this process.
    #[allow(clippy::mut_from_ref, reason = "disjointness is the caller's promise, not the borrow checker's")]
    pub unsafe fn write(&self, place: Place) -> Result<&mut [u8], ShmError> {
        let (mapping, offset, len) = self.find(place)?;
        // SAFETY: `find` keeps the place inside the mapping, which outlives `&self`; the caller keeps it unshared.
        Ok(unsafe { std::slice::from_raw_parts_mut(mapping.start.as_ptr().add(offset), len) })
    }

    fn find(&self, place: Place) -> Result<(&Mapping, usize, usize), ShmError> {
        let Attached { mapping, file } = self.0.get(&place.buffer).ok_or(ShmError::Unknown(place.buffer))?;
        let end = place.offset.checked_add(place.len);
        if let Some(file) = file {
            // A client that truncated its memory before the request is told so; one that does it while the request
            // runs takes the worker down.
            let holds = file_len(file.as_fd())?;
            if end.is_none_or(|end| end > holds) {
                return Err(ShmError::Short { wanted: end.unwrap_or(u64::MAX), holds });
            }
        }
        match end {
            // Both fit `usize`, since their sum is at most the length of a mapping.
            Some(end) if end <= mapping.len as u64 => {
                Ok((mapping, place.offset as usize, place.len as usize))
            }
            end => Err(ShmError::Short { wanted: end.unwrap_or(u64::MAX), holds: mapping.len as u64 }),
        }
    }
}

/// A sealed memfd of fixed length with its mapping in this process.
#[derive(Debug)]
pub struct Segment {
    file: OwnedFd,
    mapping: Mapping,
}

impl Segment {
    /// A segment of at least `bytes`, rounded up so that few sizes serve many requests.
    pub fn new(bytes: usize) -> Result<Self, ShmError> {
        let len = bytes
            .max(Self::BYTES_MIN)
            .checked_next_power_of_two()
            .ok_or(ShmError::System { what: "memfd size", errno: Errno::NOMEM })?;
        let file = memfd_create("edgemux-tensors", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(system("memfd_create"))?;
        ftruncate(&file, len as u64).map_err(system("ftruncate"))?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(system("F_ADD_SEALS"))?;
        let mapping = Mapping::new(file.as_fd(), len)?;
        Ok(Self { file, mapping })
    }

    /// The smallest segment that is made.
    pub const BYTES_MIN: usize = 16 * 1024;

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.mapping.len
    }

    /// Segments are never empty.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The file, to hand to another process.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }

    /// Its bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.mapping.bytes_mut()
    }
}

/// Length of a shared file.
pub fn file_len(file: BorrowedFd<'_>) -> Result<u64, ShmError> {
    let stat = fstat(file).map_err(system("fstat"))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// The next multiple of [`ALIGNMENT`].
pub const fn align(offset: usize) -> usize {
    offset.saturating_add(ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_another_reads() {
        let mut segment = Segment::new(100_000).unwrap();
        assert_eq!(segment.len(), 131_072);
        segment.bytes_mut()[99_999] = 42;
        let other = Mapping::new(segment.file(), 100_000).unwrap();
        assert_eq!(other.bytes()[99_999], 42);
    }

    #[test]
    fn a_segment_cannot_be_shrunk_under_the_other_side() {
        let segment = Segment::new(1).unwrap();
        assert_eq!(ftruncate(segment.file(), 0), Err(Errno::PERM));
        assert_eq!(ftruncate(segment.file(), 1 << 20), Err(Errno::PERM));
    }

    #[test]
    fn mapping_beyond_the_end_is_refused() {
        let segment = Segment::new(1).unwrap();
        assert!(matches!(Mapping::new(segment.file(), segment.len() + 1), Err(ShmError::Short { .. })));
        assert!(matches!(Mapping::new(segment.file(), 0), Err(ShmError::Empty)));
        assert!(Segment::new(usize::MAX).is_err());
    }

    #[test]
    fn a_place_outside_its_buffer_is_refused() {
        let segment = Segment::new(1).unwrap();
        let mut buffers = Buffers::default();
        buffers.attach(Attach { buffer: 1, len: 4096, client: false }, segment.file()).unwrap();
        let place = |buffer, offset, len| Place { buffer, offset, len };
        assert_eq!(buffers.read(place(1, 96, 4000)).unwrap().len(), 4000);
        assert!(matches!(buffers.read(place(1, 97, 4000)), Err(ShmError::Short { .. })));
        assert!(matches!(buffers.read(place(1, u64::MAX, 2)), Err(ShmError::Short { .. })));
        assert!(matches!(buffers.read(place(2, 0, 1)), Err(ShmError::Unknown(2))));
        buffers.detach(1);
        assert!(buffers.read(place(1, 0, 1)).is_err());
    }

    #[test]
    fn a_clients_memory_is_looked_at_before_each_use() {
        let file = memfd_create("client", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 8192).unwrap();
        let mut buffers = Buffers::default();
        buffers.attach(Attach { buffer: 1, len: 8192, client: true }, file.as_fd()).unwrap();
        let place = Place { buffer: 1, offset: 0, len: 8192 };
        assert!(buffers.read(place).is_ok());
        ftruncate(&file, 100).unwrap();
        assert!(matches!(buffers.read(place), Err(ShmError::Short { wanted: 8192, holds: 100 })));
    }

    #[test]
    fn alignment_rounds_up() {
        assert_eq!([align(0), align(1), align(64), align(65)], [0, 64, 64, 128]);
    }
}
