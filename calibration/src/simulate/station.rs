//! A place where those in service share its speed equally: the device, and the pool of processor cores.
//!
//! All in service progress at the same pace, so one number says how much each has attained since some moment, and a
//! request is done when that number has grown by its work (Kleinrock's virtual time). Only the least of these marks is
//! ever looked at. With one in service at speed 1 it is an ordinary server.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::requests::RequestId;
use crate::system::SpeedUp;

/// Total speed by the number in service.
#[derive(Clone, Debug)]
pub(super) enum Speed {
    /// As measured.
    Curve(SpeedUp),
    /// So many cores, a fraction among them, of which one request uses at most one.
    Cores(f64),
}

/// Who is in service and who will be done first.
#[derive(Debug)]
pub(super) struct Station {
    speed: Speed,
    /// What each in service has attained, up to `since`.
    attained: f64,
    since: f64,
    jobs: BinaryHeap<Reverse<Job>>,
    /// When the first will be done if nobody comes; infinite when nobody is in service.
    next: f64,
}

/// One in service.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// Done when so much is attained.
    mark: f64,
    id: RequestId,
}

impl Speed {
    /// Of each of n in service.
    fn each(&self, n: usize) -> f64 {
        let jobs = n as f64;
        match self {
            Self::Curve(curve) => curve.at(n) / jobs,
            Self::Cores(cores) => (cores / jobs).min(1.0),
        }
    }
}

impl Station {
    pub(super) fn new(speed: Speed) -> Self {
        Self { speed, attained: 0.0, since: 0.0, jobs: BinaryHeap::new(), next: f64::INFINITY }
    }

    /// How many are in service.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// When [`Station::finish`] is due.
    pub(super) fn next(&self) -> f64 {
        self.next
    }

    pub(super) fn start(&mut self, now: f64, work: f64, id: RequestId) {
        match self.jobs.len() {
            // Counted from 0 again, so that the sum stays small and fine.
            0 => self.attained = 0.0,
            n => self.attained += (now - self.since) * self.speed.each(n),
        }
        self.since = now;
        self.jobs.push(Reverse(Job { mark: self.attained + work, id }));
        self.plan();
    }

    /// Takes out the one that is done at [`Station::next`], which is now.
    pub(super) fn finish(&mut self) -> Option<RequestId> {
        let Reverse(job) = self.jobs.pop()?;
        self.attained = job.mark;
        self.since = self.next;
        self.plan();
        Some(job.id)
    }

    /// Counts time from `by` later, and what is attained from now.
    pub(super) fn shift(&mut self, by: f64) {
        self.since -= by;
        self.next -= by;
        let attained = std::mem::take(&mut self.attained);
        let mut jobs = std::mem::take(&mut self.jobs).into_vec();
        for Reverse(job) in &mut jobs {
            job.mark -= attained;
        }
        self.jobs = jobs.into();
    }

    fn plan(&mut self) {
        self.next = match self.jobs.peek() {
            // Rounding may leave a mark a hair behind.
            Some(Reverse(job)) => {
                self.since + (job.mark - self.attained).max(0.0) / self.speed.each(self.jobs.len())
            }
            None => f64::INFINITY,
        };
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        self.mark.total_cmp(&other.mark).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Job {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sharing_ends_as_computed_by_hand() {
        // Work 1, 2, 3 begun together: they end at 3, 5, 6.
        let mut station = Station::new(Speed::Curve(SpeedUp::none()));
        for (id, work) in [(0, 3.0), (1, 1.0), (2, 2.0)] {
            station.start(10.0, work, id);
        }
        let mut ends = Vec::new();
        while station.next() < f64::INFINITY {
            ends.push((station.next(), station.finish().unwrap()));
        }
        assert_eq!(ends, [(13.0, 1), (15.0, 2), (16.0, 0)]);
    }

    #[test]
    fn nobody_uses_more_than_one_core() {
        let mut station = Station::new(Speed::Cores(1.5));
        station.start(0.0, 1.0, 0);
        assert_eq!(station.next(), 1.0);
        // From 0.5 on two share 1.5 cores: the first half second left takes 2/3.
        station.start(0.5, 1.0, 1);
        assert!((station.next() - (0.5 + 0.5 / 0.75)).abs() < 1e-12);
    }

    #[test]
    fn counting_from_later_changes_nothing_but_the_numbers() {
        let mut station = Station::new(Speed::Curve(SpeedUp::none()));
        station.start(1000.0, 40.0, 0);
        station.start(1020.0, 30.0, 1);
        station.shift(1024.0);
        assert_eq!(station.next(), 1060.0 - 1024.0);
        assert_eq!(station.finish(), Some(0));
        assert_eq!(station.next(), 1070.0 - 1024.0);
    }
}
