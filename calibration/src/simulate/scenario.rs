//! What is to be simulated.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use super::arrivals::{Arrivals, ArrivalsError};
use crate::system::{Mode, Slicing, System, SystemError};

/// The most requests of a run, warm-up included.
pub const REQUESTS_MAX: u64 = 10_000_000_000;

/// The most requests inside the system at one time.
pub const BACKLOG_MAX: usize = 1 << 20;

/// A system, what arrives at it, and how long to watch.
#[derive(Clone, Debug)]
pub struct Scenario<'a> {
    /// What is simulated.
    pub system: &'a System,
    /// How the requests of each session arrive; an empty slice takes each session's from its terms.
    pub arrivals: &'a [Arrivals],
    /// What happens to requests beyond a session's terms; with none there are no token buckets.
    pub policing: Option<Excess>,
    /// Who is first within a rank.
    pub order: Order,
    /// Most requests of one session that are inside and have not started on the device; an arrival that finds so many is
    /// dropped.
    pub queue_max: NonZeroUsize,
    /// Of all randomness.
    pub seed: u64,
    /// Requests, over all sessions, that arrive before measuring begins.
    pub warm_up: u64,
    /// Requests, over all sessions, that are measured. Arrivals go on after the last of them, so that it sees the load
    /// that the others saw, until all have been served, but by no more than a quarter and a thousand.
    pub requests: u64,
}

/// What happens to a request that finds its session's token bucket empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It runs when nothing that is within its terms waits.
    BestEffort,
    /// It is turned away.
    Refuse,
}

/// Order of service within a rank, where sessions do not take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they reached the device's queue.
    #[default]
    Arrival,
    /// By arrival plus the latency of the session's objective, those without one last; then as in `Arrival`.
    Deadline,
}

/// A scenario that cannot be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulateError {
    /// The system itself cannot be.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Not one description of arrivals for each session.
    #[error("{given} descriptions of arrivals for {sessions} sessions: give one for each, or none at all")]
    Arrivals {
        /// How many there are.
        given: usize,
        /// How many there should be.
        sessions: usize,
    },
    /// Arrivals that cannot be.
    #[error("arrivals of session {session}: {error}")]
    Arrival {
        /// Whose.
        session: String,
        /// Why not.
        error: ArrivalsError,
    },
    /// Nothing to measure, or too much.
    #[error(
        "{warm_up} requests of warm-up and {requests} to measure: measure at least 1, both at most {REQUESTS_MAX}"
    )]
    Requests {
        /// To warm up.
        warm_up: u64,
        /// To measure.
        requests: u64,
    },
    /// Round robin by a quantum of 0, in which nobody earns a turn.
    #[error("a quantum of 0: nobody would ever earn a turn")]
    Quantum,
}

impl<'a> Scenario<'a> {
    /// Arrivals by the terms, nobody policed, queues as long as they may be, and a tenth more requests to warm up.
    #[must_use]
    pub fn new(system: &'a System, requests: u64) -> Self {
        Self {
            system,
            arrivals: &[],
            policing: None,
            order: Order::Arrival,
            queue_max: NonZeroUsize::MAX,
            seed: 0,
            warm_up: requests / 10,
            requests,
        }
    }

    /// How requests of this session arrive.
    pub(super) fn arrivals_of(&self, session: usize) -> Cow<'a, Arrivals> {
        match self.arrivals.get(session) {
            Some(given) => Cow::Borrowed(given),
            None => Cow::Owned(Arrivals::of(&self.system.sessions[session].terms)),
        }
    }

    pub(super) fn check(&self) -> Result<(), SimulateError> {
        self.system.check()?;
        let (given, sessions) = (self.arrivals.len(), self.system.sessions.len());
        if given != 0 && given != sessions {
            return Err(SimulateError::Arrivals { given, sessions });
        }
        for (arrivals, session) in self.arrivals.iter().zip(&self.system.sessions) {
            arrivals
                .check()
                .map_err(|error| SimulateError::Arrival { session: session.name.clone(), error })?;
        }
        let (warm_up, requests) = (self.warm_up, self.requests);
        if requests == 0 || warm_up.checked_add(requests).is_none_or(|all| all > REQUESTS_MAX) {
            return Err(SimulateError::Requests { warm_up, requests });
        }
        if let Mode::TimeSliced(Slicing::RoundRobin { quantum }) = self.system.device.mode
            && quantum.get() == 0.0
        {
            return Err(SimulateError::Quantum);
        }
        Ok(())
    }
}
