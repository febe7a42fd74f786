//! The waiting requests of one session and class, and the slots by which they compete with other sessions'.
//!
//! Every arrival makes a slot. Between sessions slots compete by their times; whichever request of the session is best then
//! takes the first of them. So a client that sets priorities and deadlines changes the order of its own requests only.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::{Priority, RequestId};

/// When a slot's turn is: by its time, then by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) at: Duration,
    pub(crate) arrival: u64,
}

/// A request's place among those of its session: by priority, then by deadline, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) priority: Priority,
    /// `Duration::MAX` is none.
    pub(crate) deadline: Duration,
    pub(crate) arrival: u64,
}

/// As many slots as requests, always.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: VecDeque<Slot>,
    waiting: BTreeMap<Place, RequestId>,
    /// By number of arrival: when it was, and which request.
    arrivals: BTreeMap<u64, (Duration, Place)>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The slot whose turn is first.
    pub(crate) fn first_slot(&self) -> Option<Slot> {
        self.slots.front().copied()
    }

    /// The best request.
    pub(crate) fn first(&self) -> Option<(Place, RequestId)> {
        self.waiting.first_key_value().map(|(&place, &request)| (place, request))
    }

    /// When the request that has waited longest arrived.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.arrivals.first_key_value().map(|(_, &(arrived, _))| arrived)
    }

    /// A request arrives; a slot's time is not before that of the slot before it.
    pub(crate) fn push(&mut self, now: Duration, slot: Slot, place: Place, request: RequestId) {
        self.slots.push_back(slot);
        self.waiting.insert(place, request);
        self.arrivals.insert(place.arrival, (now, place));
    }

    /// The best request takes the first slot.
    pub(crate) fn take_first(&mut self) -> Option<RequestId> {
        let (place, request) = self.waiting.pop_first()?;
        self.arrivals.remove(&place.arrival);
        self.slots.pop_front();
        Some(request)
    }

    /// This request is not to run after all: the last slot goes with it, and the others move up.
    pub(crate) fn remove(&mut self, place: Place) -> Option<RequestId> {
        let request = self.waiting.remove(&place)?;
        self.arrivals.remove(&place.arrival);
        self.slots.pop_back();
        Some(request)
    }

    /// The request that arrived last gives way.
    pub(crate) fn remove_newest(&mut self) -> Option<RequestId> {
        let (_, &(_, place)) = self.arrivals.last_key_value()?;
        self.remove(place)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        assert!(self.slots.len() == self.waiting.len() && self.arrivals.len() == self.waiting.len());
        self.slots.capacity() + self.waiting.len()
    }
}
