//! The simulator against exact results, against computation by hand, and against nonsense.

mod exact;
mod modes;
mod nonsense;
mod random;
mod reloads;
mod runs;
mod stages;

use std::num::NonZeroU32;

use super::{Arrivals, Observed, Outcome, Scenario, simulate};
use crate::profile::{Batching, Profile};
use crate::service::ServiceTime;
use crate::system::{Device, DeviceKind, Host, Mode, Session, System};
use crate::terms::{Objective, Statistic, Terms};
use crate::units::{Hertz, Scv, Seconds};

/// Everyone shares, however many there are.
pub(super) const SHARED: Mode = Mode::Concurrent { width: NonZeroU32::MAX };

pub(super) fn seconds(value: f64) -> Seconds {
    Seconds::new(value).unwrap()
}

/// A session of Poisson arrivals and constant service.
pub(super) fn poisson(rate: f64, service: f64) -> Session {
    Session {
        name: "test".into(),
        profile: Profile::new(ServiceTime::constant(seconds(service))),
        terms: Terms::poisson(Hertz::new(rate).unwrap(), None),
    }
}

/// The same with gamma distributed service.
pub(super) fn varied(rate: f64, mean: f64, scv: f64) -> Session {
    let service = ServiceTime::gamma(seconds(mean), Scv::new(scv).unwrap());
    Session { profile: Profile::new(service), ..poisson(rate, mean) }
}

pub(super) fn with_objective(session: Session, latency: f64) -> Session {
    let objective = Objective { statistic: Statistic::Mean, latency: seconds(latency) };
    Session { terms: Terms { objective: Some(objective), ..session.terms }, ..session }
}

pub(super) fn batched(session: Session, size_max: u32, fixed: f64, per_item: f64, delay_max: f64) -> Session {
    let batching = Batching {
        size_max: NonZeroU32::new(size_max).unwrap(),
        fixed: seconds(fixed),
        per_item: seconds(per_item),
        delay_max: seconds(delay_max),
    };
    Session { profile: Profile { batching: Some(batching), ..session.profile }, ..session }
}

pub(super) fn system(mode: Mode, sessions: impl IntoIterator<Item = Session>) -> System {
    System {
        device: Device { mode, ..Device::new("test", DeviceKind::Gpu) },
        host: Host::idle(NonZeroU32::new(4).unwrap()),
        sessions: sessions.into_iter().collect(),
    }
}

pub(super) fn trace<const N: usize>(times: [f64; N]) -> Arrivals {
    Arrivals::Trace(times.into())
}

/// A long run.
pub(super) fn run(system: &System) -> Outcome {
    simulate(&Scenario::new(system, 1_000_000)).unwrap()
}

/// All of these arrivals from the first on.
pub(super) fn replay(system: &System, arrivals: &[Arrivals]) -> Outcome {
    simulate(&Scenario { arrivals, warm_up: 0, ..Scenario::new(system, 1000) }).unwrap()
}

/// Within four standard errors, and those within 2 % of the value.
#[track_caller]
pub(super) fn agrees(what: &str, seen: f64, error: f64, want: f64) {
    assert!(error < 0.02 * want, "{what}: {seen} ± {error} is too vague, expected {want}");
    assert!((seen - want).abs() <= 4.0 * error + 1e-9 * want, "{what}: {seen} ± {error}, expected {want}");
}

#[track_caller]
pub(super) fn mean_is(observed: &Observed, want: f64) {
    agrees("mean", observed.sojourn.mean(), observed.errors.mean, want);
}

/// To rounding.
#[track_caller]
pub(super) fn exactly(seen: f64, want: f64) {
    assert!((seen - want).abs() <= 1e-9 * want.abs(), "{seen}, expected {want}");
}
