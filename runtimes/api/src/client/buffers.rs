//! A lane's buffers: taken for a request, lent to its response, put back for the next.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::protocol::{BufferId, Place};
use crate::shm::{Segment, ShmError};

/// Buffers that wait for the next request, per lane.
const FREE_BUFFERS_MAX: usize = 32;
/// Their bytes together, unless a single one is larger.
const FREE_BYTES_MAX: usize = 16 << 20;

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) id: BufferId,
    pub(super) segment: Segment,
    /// Has the worker's lane been given its descriptor?
    pub(super) known: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    last_id: BufferId,
    /// Least recently used first.
    free: Vec<Buffer>,
    /// Buffers that the worker's lane still knows but that are gone here.
    pub(super) dropped: Vec<BufferId>,
}

impl Pool {
    pub(super) fn new_id(&mut self) -> BufferId {
        self.last_id += 1;
        self.last_id
    }

    /// The smallest free buffer that holds `bytes`, or a new one.
    pub(super) fn take(&mut self, bytes: usize) -> Result<Buffer, ShmError> {
        let fits = self.free.iter().enumerate().filter(|(_, buffer)| buffer.segment.len() >= bytes);
        match fits.min_by_key(|(_, buffer)| buffer.segment.len()).map(|(at, _)| at) {
            Some(at) => Ok(self.free.remove(at)),
            None => Ok(Buffer { segment: Segment::new(bytes)?, id: self.new_id(), known: false }),
        }
    }

    pub(super) fn put(&mut self, buffer: Buffer) {
        self.free.push(buffer);
        let over = |free: &[Buffer]| {
            free.len() > FREE_BUFFERS_MAX
                || (free.len() > 1
                    && free.iter().map(|buffer| buffer.segment.len()).sum::<usize>() > FREE_BYTES_MAX)
        };
        while over(&self.free) {
            let oldest = self.free.remove(0);
            if oldest.known {
                self.dropped.push(oldest.id);
            }
        }
    }
}

/// A buffer on loan to a response; returns to its lane's pool when the last output over it is dropped.
pub(super) struct Lease {
    buffer: Option<Buffer>,
    pool: Arc<Mutex<Pool>>,
}

impl Lease {
    pub(super) fn new(buffer: Buffer, pool: Arc<Mutex<Pool>>) -> Self {
        Self { buffer: Some(buffer), pool }
    }

    pub(super) fn id(&self) -> Option<BufferId> {
        self.buffer.as_ref().map(|buffer| buffer.id)
    }

    pub(super) fn bytes(lease: &Arc<Self>, place: Place) -> Option<Bytes> {
        let start = usize::try_from(place.offset).ok()?;
        let end = start.checked_add(usize::try_from(place.len).ok()?)?;
        if end > lease.buffer.as_ref()?.segment.len() {
            return None;
        }
        Some(Bytes::from_owner(Slice { lease: Arc::clone(lease), range: start..end }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            locked(&self.pool).put(buffer);
        }
    }
}

struct Slice {
    lease: Arc<Lease>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.lease.buffer.as_ref().map_or(&[], |buffer| &buffer.segment.bytes()[self.range.clone()])
    }
}
