//! What is with the worker.
//!
//! One entry per request; those of a batch name the same leader. Looking through all of them is cheap: they are no more than
//! the device runs at a time, or than are handed over ahead of time.

use crate::RequestId;
use crate::ready::Line;

/// One request with the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) request: RequestId,
    /// The first of its batch; itself where it runs alone.
    pub(crate) leader: RequestId,
    pub(crate) line: Line,
    pub(crate) lane: usize,
    pub(crate) best_effort: bool,
    /// What it, or its batch, was expected to cost when it started, s.
    pub(crate) cost: f64,
    /// Where that was paid; see [`crate::ready::Ready::start`].
    pub(crate) paid: Option<u64>,
}

/// In the order in which they started. Only lane 0 may have several after one another.
#[derive(Debug, Default)]
pub(crate) struct InService {
    running: Vec<Running>,
    /// Requests or batches on each lane.
    lanes: Vec<usize>,
    starts: usize,
}

impl InService {
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How many requests or batches.
    pub(crate) fn starts(&self) -> usize {
        self.starts
    }

    pub(crate) fn has_batches(&self) -> bool {
        self.starts < self.running.len()
    }

    pub(crate) fn lowest_free_lane(&self) -> usize {
        self.lanes.iter().position(|&starts| starts == 0).unwrap_or(self.lanes.len())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Running> {
        self.running.iter()
    }

    /// The requests that started last.
    pub(crate) fn last(&self, count: usize) -> &[Running] {
        &self.running[self.running.len().saturating_sub(count)..]
    }

    pub(crate) fn contains(&self, request: RequestId) -> bool {
        self.running.iter().any(|running| running.request == request)
    }

    pub(crate) fn has_best_effort(&self) -> bool {
        self.running.iter().any(|running| running.best_effort)
    }

    pub(crate) fn push(&mut self, running: Running) {
        if running.leader == running.request {
            if self.lanes.len() <= running.lane {
                self.lanes.resize(running.lane + 1, 0);
            }
            self.lanes[running.lane] += 1;
            self.starts += 1;
        }
        self.running.push(running);
    }

    /// Takes out a request with all of its batch.
    pub(crate) fn take(&mut self, request: RequestId) -> Option<Running> {
        let found = *self.running.iter().find(|running| running.request == request)?;
        self.running.retain(|running| running.leader != found.leader);
        self.lanes[found.lane] -= 1;
        self.starts -= 1;
        Some(found)
    }

    /// What was paid for in the order of turns of another mode is not settled in this one.
    pub(crate) fn forget_payments(&mut self) {
        self.running.iter_mut().for_each(|running| running.paid = None);
    }

    /// The requests that the device works on, those of a batch all together.
    pub(crate) fn on_device(&self) -> impl Iterator<Item = &Running> {
        let first = self.running.iter().find(|running| running.lane == 0).map(|first| first.leader);
        self.running.iter().filter(move |running| running.lane != 0 || Some(running.leader) == first)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.running.capacity() + self.lanes.capacity()
    }
}
