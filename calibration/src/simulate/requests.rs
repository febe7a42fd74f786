//! Requests inside the system, and queues of them.
//!
//! All live in one pool that is as large as the largest backlog was; queues are chains through it. So a request is moved
//! between stages without a copy, and none is allocated for.

/// A place in the pool.
pub(super) type RequestId = u32;

const NONE: RequestId = RequestId::MAX;

/// A request inside the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// How many arrived before it, over all sessions.
    pub(super) number: u64,
    pub(super) session: u32,
    /// Beyond its session's terms.
    pub(super) excess: bool,
    /// The device has served it.
    pub(super) served: bool,
    /// When it arrived.
    pub(super) arrived: f64,
    /// When it reaches the device's queue, known from when it takes the bus.
    pub(super) queued: f64,
    /// Time on the device, reload not included.
    pub(super) service: f64,
    /// Time on a core after the device.
    pub(super) cpu_after: f64,
}

#[derive(Debug)]
struct Slot {
    request: Request,
    /// The next in the same queue or batch, or the next free place.
    next: RequestId,
}

/// The pool.
#[derive(Debug)]
pub(super) struct Requests {
    slots: Vec<Slot>,
    free: RequestId,
    len: usize,
}

/// A queue, first in, first out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: RequestId,
    tail: RequestId,
    pub(super) len: usize,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, len: 0 }
    }

    /// How many are inside.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, request: Request) -> RequestId {
        self.len += 1;
        let id = self.free;
        if let Some(slot) = self.slots.get_mut(id as usize) {
            self.free = slot.next;
            *slot = Slot { request, next: NONE };
            return id;
        }
        self.slots.push(Slot { request, next: NONE });
        #[expect(clippy::cast_possible_truncation, reason = "a run ends before its backlog has 2³² requests")]
        let id = (self.slots.len() - 1) as RequestId;
        id
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Request {
        self.len -= 1;
        let slot = &mut self.slots[id as usize];
        slot.next = std::mem::replace(&mut self.free, id);
        slot.request
    }

    pub(super) fn get(&self, id: RequestId) -> &Request {
        &self.slots[id as usize].request
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> &mut Request {
        &mut self.slots[id as usize].request
    }

    /// The one behind it in its batch.
    pub(super) fn next(&self, id: RequestId) -> Option<RequestId> {
        let next = self.slots[id as usize].next;
        (next != NONE).then_some(next)
    }

    /// Counts time from `by` later.
    pub(super) fn shift(&mut self, by: f64) {
        for slot in &mut self.slots {
            slot.request.arrived -= by;
            slot.request.queued -= by;
        }
    }
}

impl Queue {
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };

    pub(super) fn push(&mut self, requests: &mut Requests, id: RequestId) {
        requests.slots[id as usize].next = NONE;
        match self.len {
            0 => self.head = id,
            _ => requests.slots[self.tail as usize].next = id,
        }
        self.tail = id;
        self.len += 1;
    }

    pub(super) fn first<'a>(&self, requests: &'a Requests) -> Option<&'a Request> {
        (self.len > 0).then(|| requests.get(self.head))
    }

    /// Takes up to `most` off the front; they stay chained, and the first of them stands for all.
    pub(super) fn pop(&mut self, requests: &mut Requests, most: usize) -> Option<(RequestId, usize)> {
        let size = self.len.min(most);
        if size == 0 {
            return None;
        }
        let first = self.head;
        let mut last = first;
        for _ in 1..size {
            last = requests.slots[last as usize].next;
        }
        self.head = std::mem::replace(&mut requests.slots[last as usize].next, NONE);
        self.len -= size;
        Some((first, size))
    }
}
