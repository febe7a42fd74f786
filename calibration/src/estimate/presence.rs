//! How long a request was in service with how many.

use super::is_time;

/// Most requests in service together that are told apart; more count as that many.
pub const TOGETHER_MAX: usize = 32;

/// Time that the device has spent with 1, 2, … requests in service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presence {
    in_service: usize,
    since: f64,
    times: [f64; TOGETHER_MAX],
}

/// The start of a request, to be kept until its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    beside: usize,
    times: [f64; TOGETHER_MAX],
}

/// A request's time in service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stay {
    /// Requests in service when it started, itself among them.
    pub beside: usize,
    /// Time in s with 1, 2, … in service, itself among them.
    pub occupied: [f64; TOGETHER_MAX],
}

impl Presence {
    /// A request starts, at `now` in s.
    pub fn started(&mut self, now: f64) -> Start {
        self.advance(now);
        self.in_service += 1;
        Start { beside: self.in_service, times: self.times }
    }

    /// A request ends, at `now` in s.
    pub fn finished(&mut self, now: f64, start: &Start) -> Stay {
        self.advance(now);
        self.in_service = self.in_service.saturating_sub(1);
        let mut occupied = self.times;
        occupied.iter_mut().zip(&start.times).for_each(|(time, before)| *time -= before);
        Stay { beside: start.beside, occupied }
    }

    /// Requests in service.
    #[must_use]
    pub fn in_service(&self) -> usize {
        self.in_service
    }

    fn advance(&mut self, now: f64) {
        if !now.is_finite() {
            return;
        }
        let passed = now - self.since;
        self.since = now;
        if self.in_service > 0 && is_time(passed) {
            self.times[self.in_service.min(TOGETHER_MAX) - 1] += passed;
        }
    }
}
