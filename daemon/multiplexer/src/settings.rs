//! How a device is shared, and what a session is entitled to.

use std::num::NonZeroU32;
use std::time::Duration;

/// Smaller is served first: 1, then larger numbers, then 0 (nothing declared).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u32);

impl Priority {
    /// Nothing declared.
    pub const DEFAULT: Self = Self(u32::MAX);

    /// From the number that clients and configuration use.
    pub fn new(declared: u32) -> Self {
        Self(declared.wrapping_sub(1))
    }
}

/// How the device is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One request at a time, run to completion.
    Exclusive {
        /// Most requests of one reload group in a row while one of another group and the same class waits. 1 keeps the
        /// order of arrival.
        run_max: NonZeroU32,
    },
    /// One request at a time, run to completion, sessions in turn.
    TimeSliced {
        /// Device time that a session with something to run earns per round; counts as a microsecond if it is less.
        quantum: Duration,
    },
    /// Several requests at a time.
    Concurrent {
        /// Most requests, or batches, in service.
        width: NonZeroU32,
    },
}

impl Default for Mode {
    fn default() -> Self {
        Self::Exclusive { run_max: NonZeroU32::MIN }
    }
}

/// What a session is entitled to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The most requests that may wait.
    pub queue_limit: usize,
    /// Whether it comes before best effort.
    pub guaranteed: bool,
    /// Among its kind.
    pub priority: Priority,
    /// What it may send; none: anything.
    pub policing: Option<Policing>,
    /// Models that keep one another's parameters on the chip; none: a group of its own.
    pub group: Option<u32>,
    /// Which requests run together; none: each runs alone.
    pub batching: Option<Batching>,
    /// Expected service time, until some was observed; of a whole batch where requests run together.
    pub expected: Option<Duration>,
}

/// What a session may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policing {
    /// Requests per second, above 0; what is no rate polices nothing.
    pub rate_hz: f64,
    /// Requests at once; counts as 1 if it is less.
    pub burst: f64,
    /// What becomes of the rest.
    pub excess: Excess,
}

/// What becomes of requests beyond the terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// They run as best effort.
    BestEffort,
    /// They are refused.
    Refuse,
}

/// Requests of one session run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Most requests in one batch.
    pub size_max: NonZeroU32,
    /// The longest that a request waits for others to run with while the device has nothing else to do.
    pub delay_max: Duration,
}
