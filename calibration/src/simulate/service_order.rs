//! Rank first, then arrival or deadline; and runs of one reload group.
//!
//! Where every change of model reloads parameters, taking a few requests of the group that is resident before going on
//! in order saves reloads; how many is bounded, so that nobody waits for long.

use std::ops::Range;

use super::tree::MinTree;

/// Where the first request of a lane stands; the least is next.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) class: u32,
    /// The same for all where deadlines do not matter.
    pub(super) deadline: f64,
    pub(super) queued: f64,
}

const NOWHERE: Place = Place { class: u32::MAX, deadline: f64::INFINITY, queued: f64::INFINITY };

/// Lanes that have something to run, by place.
#[derive(Debug)]
pub(super) struct ServiceOrder {
    places: MinTree<Place>,
    run_max: u32,
    /// Requests of one group in a row, counted while one of another group waits.
    run: u32,
}

impl ServiceOrder {
    pub(super) fn new(lanes: usize, run_max: u32) -> Self {
        Self { places: MinTree::new(lanes, NOWHERE), run_max, run: 1 }
    }

    pub(super) fn offer(&mut self, lane: usize, place: Place) {
        self.places.set(lane, place);
    }

    pub(super) fn withdraw(&mut self, lane: usize) {
        self.places.clear(lane);
    }

    /// Chooses the next lane, given the lanes of the group that was served last.
    pub(super) fn choose(&mut self, resident: Option<&Range<usize>>) -> Option<usize> {
        let (first, lane) = self.places.first()?;
        let Some(resident) = resident.filter(|_| self.run_max > 1) else { return Some(lane) };
        let same_rank = |found: Option<(Place, usize)>| found.filter(|(place, _)| place.class == first.class);
        if same_rank(self.places.first_outside(resident.clone())).is_none() {
            self.run = 1;
            return Some(lane);
        }
        if self.run < self.run_max
            && let Some((_, again)) = same_rank(self.places.first_within(resident.clone()))
        {
            self.run += 1;
            return Some(again);
        }
        if !resident.contains(&lane) {
            self.run = 1;
        }
        Some(lane)
    }

    /// Counts time from `by` later.
    pub(super) fn shift(&mut self, by: f64) {
        self.places.map(|place| Place { deadline: place.deadline - by, queued: place.queued - by, ..place });
    }
}
