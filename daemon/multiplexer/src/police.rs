//! Holds a session to the rate that it declared.
//!
//! A token bucket says which requests are within the terms. A virtual clock (Zhang, *VirtualClock: A New Traffic Control
//! Algorithm for Packet Switching Networks*, 1990) says which place among other sessions' requests one has: what comes at
//! once beyond a few takes the place that it would have had, had it come at little more than the declared rate. Clock and burst
//! are so wide that Poisson arrivals at the declared rate are put back less than twice in a hundred: predictions are for those.

use std::time::Duration;

use crate::Policing;

/// More than the declared rate by this factor is still within the terms: Poisson arrivals at exactly the declared rate
/// would sooner or later exceed any bucket of that rate.
pub const RATE_TOLERANCE: f64 = 1.05;
/// So many requests at once keep the places of their arrival.
pub const SMOOTH_BURST: f64 = 8.0;
/// The virtual clock goes at the declared rate times this.
const SMOOTH_RATE: f64 = 1.25;

/// A session's account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    rate_hz: f64,
    burst: f64,
    tokens: f64,
    /// Up to when tokens were credited, s.
    credited: f64,
    /// When the next request is due by the virtual clock, s.
    due: f64,
}

impl Account {
    /// A full bucket; none if the rate is no rate.
    pub(crate) fn new(now: Duration, policing: Policing) -> Option<Self> {
        let Policing { rate_hz, burst, .. } = policing;
        let burst = if burst >= 1.0 { burst } else { 1.0 };
        let now = now.as_secs_f64();
        (rate_hz > 0.0 && rate_hz.is_finite() && burst.is_finite()).then_some(Self {
            rate_hz,
            burst,
            tokens: burst,
            credited: now,
            due: now,
        })
    }

    /// Takes a token, or says how long until there is one.
    pub(crate) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        let (now, rate) = (now.as_secs_f64(), self.rate_hz * RATE_TOLERANCE);
        self.tokens = (self.tokens + (now - self.credited).max(0.0) * rate).min(self.burst);
        self.credited = self.credited.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / rate;
        Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }

    /// Gives back the token of a request that was refused for another reason.
    pub(crate) fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.burst);
    }

    /// The time of the slot of a request that arrives now.
    pub(crate) fn slot(&mut self, now: Duration) -> Duration {
        let (seconds, each) = (now.as_secs_f64(), 1.0 / (SMOOTH_RATE * self.rate_hz));
        let slot = self.due - SMOOTH_BURST * each;
        self.due = self.due.max(seconds) + each;
        if slot <= seconds { now } else { Duration::try_from_secs_f64(slot).unwrap_or(Duration::MAX) }
    }
}
