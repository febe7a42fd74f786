//! What a session declares and is promised.

use crate::units::{Hertz, Quantile, Scv, Seconds};

/// Terms of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Mean rate of requests.
    pub rate: Hertz,
    /// Requests that may come at once within the terms, at least 1.
    pub burst: u32,
    /// Squared coefficient of variation of the time between arrivals: 1 is Poisson, 0 strictly periodic.
    pub arrivals: Scv,
    /// The latency to be kept. Without one the session is best effort: it runs after all that have one.
    pub objective: Option<Objective>,
    /// Among those with an objective and among those without.
    pub priority: Priority,
}

/// A latency objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Of what.
    pub statistic: Statistic,
    /// The most that it may be, from arrival to response.
    pub latency: Seconds,
}

/// What an objective is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// Mean latency.
    Mean,
    /// This quantile of the latency.
    Quantile(Quantile),
}

/// 1 is served first, larger numbers later, 0 (nothing declared) last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Priority(pub u32);

/// Place in the order of service: smaller is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    best_effort: bool,
    // 0 wraps around to the last place.
    priority: u32,
}

impl Terms {
    /// Poisson arrivals at this rate under an objective, without a priority.
    #[must_use]
    pub fn poisson(rate: Hertz, objective: Option<Objective>) -> Self {
        Self { rate, burst: 1, arrivals: Scv::ONE, objective, priority: Priority::default() }
    }

    /// Place in the order of service.
    #[must_use]
    pub fn rank(&self) -> Rank {
        Rank { best_effort: self.objective.is_none(), priority: self.priority.0.wrapping_sub(1) }
    }
}
