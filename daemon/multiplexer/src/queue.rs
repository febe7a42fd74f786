//! The bounded queue of one session, in the order in which its requests are to run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Priority, RequestId};

/// A waiting request's place: by priority, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: Priority,
    pub(crate) arrival: u64,
}

/// A waiting request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) request: RequestId,
    pub(crate) deadline: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    limit: usize,
    waiting: BTreeMap<Rank, Waiting>,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, waiting: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    pub(crate) fn first(&self) -> Option<Rank> {
        self.waiting.first_key_value().map(|(rank, _)| *rank)
    }

    pub(crate) fn push(&mut self, rank: Rank, request: RequestId, deadline: Option<Duration>) {
        self.waiting.insert(rank, Waiting { request, deadline });
    }

    pub(crate) fn take(&mut self, rank: Rank) -> Option<Waiting> {
        self.waiting.remove(&rank)
    }

    pub(crate) fn take_first(&mut self) -> Option<Waiting> {
        self.waiting.pop_first().map(|(_, waiting)| waiting)
    }
}
