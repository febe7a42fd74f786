//! The same system by discrete events: judge of the formulas, and the answer where none holds.
//!
//! A request arrives by its session's [`Arrivals`], may be policed, and then goes through the stages that its profile
//! names: a processor core before the device, the bus, the device, a core after it. What is measured is the time from
//! arrival to the very end.
//!
//! - **Order.** A session's requests are served in the order in which they reach the device's queue. Between sessions it
//!   is rank first, then [`Order`], or turns where the device is time-sliced.
//! - **Randomness.** Every session has a stream for its arrivals and one for its service times, and a request draws all
//!   its times when it arrives, turned away or not. So neither another mode, nor policing, nor one more session at the
//!   end of the list changes what the others bring: two runs differ by what was changed alone. The same scenario gives
//!   the same bits.
//! - **Limits.** A session keeps at most [`Scenario::queue_max`] requests that have not reached the device; all together
//!   hold at most [`BACKLOG_MAX`], and a run that reaches it ends there as unstable. Nothing is allocated per request.
//! - **Precision.** Times are `f64`, counted from the last multiple of some seconds, so that the millionth second is as
//!   fine as the first.
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵³")]

mod arrivals;
mod device;
mod engine;
mod outcome;
mod policing;
mod requests;
mod round_robin;
mod scenario;
mod service_order;
mod sketch;
mod station;
mod tree;
mod watch;

#[cfg(test)]
mod tests;

pub use self::arrivals::{Arrivals, ArrivalsError};
pub use self::engine::CORES_MIN;
pub use self::outcome::{Observed, Outcome, StandardErrors};
pub use self::scenario::{BACKLOG_MAX, Excess, Order, REQUESTS_MAX, Scenario, SimulateError};
pub use self::sketch::Sketch;

/// Runs a scenario.
///
/// # Errors
/// A scenario that cannot be run; see [`SimulateError`].
pub fn simulate(scenario: &Scenario<'_>) -> Result<Outcome, SimulateError> {
    scenario.check()?;
    Ok(engine::Engine::new(scenario).run())
}
