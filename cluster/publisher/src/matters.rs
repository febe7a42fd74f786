//! What of a change the cluster has to hear, and how soon.
//!
//! A busy node's figures change with every request. Each write of them is one more in the cluster's store, a megabyte of history
//! there, and an event to everybody who watches: so figures are told when they have moved far, and the rest at once.

use edgemux_cluster_api::node::{Accelerator, AcceleratorNodeStatus, ModelProfile, NodeSession};

/// The declared load has moved so far, permille.
const LOAD_PERMILLE: i64 = 20;
/// A device was so much more or less busy, permille.
const BUSY_PERMILLE: i64 = 100;
/// A cost has changed by one part in so many.
const COST_PARTS: i64 = 25;
/// A coefficient of variation has changed so far, permille.
const CV_PERMILLE: i64 = 50;
/// A profile has seen so many times the requests that it had.
const SAMPLES_FACTOR: i64 = 2;

/// How soon a change is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// When something else is.
    Never,
    /// Once the period is over.
    Period,
    /// At once.
    Now,
}

/// How soon `now` is told to whom knows `told`.
#[must_use]
pub fn urgency(told: &AcceleratorNodeStatus, now: &AcceleratorNodeStatus) -> Urgency {
    let condition = |status: &AcceleratorNodeStatus| {
        status
            .conditions
            .iter()
            .map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()))
            .collect::<Vec<_>>()
    };
    if told.epoch != now.epoch || condition(told) != condition(now) {
        return Urgency::Now;
    }
    let mut most = Urgency::Never;
    most = most.max(of_list(&told.accelerators, &now.accelerators, |a, b| a.name == b.name, of_accelerator));
    most = most.max(of_list(&told.sessions, &now.sessions, |a, b| a.name == b.name, of_session));
    if told.models != now.models {
        most = most.max(Urgency::Period);
    }
    let same = |a: &ModelProfile, b: &ModelProfile| {
        (&a.digest, &a.accelerator, &a.power_mode) == (&b.digest, &b.accelerator, &b.power_mode)
    };
    most.max(of_list(&told.profiles, &now.profiles, same, of_profile).min(Urgency::Period))
}

/// Something that came or went is told at once.
fn of_list<T>(
    told: &[T],
    now: &[T],
    same: impl Fn(&T, &T) -> bool,
    changed: impl Fn(&T, &T) -> Urgency,
) -> Urgency {
    if told.len() != now.len() || told.iter().zip(now).any(|(told, now)| !same(told, now)) {
        return Urgency::Now;
    }
    told.iter().zip(now).map(|(told, now)| changed(told, now)).max().unwrap_or(Urgency::Never)
}

fn of_accelerator(told: &Accelerator, now: &Accelerator) -> Urgency {
    // All that is left when figures and texts are put aside.
    let bare = |accelerator: &Accelerator| Accelerator {
        load_permille: 0,
        busy_permille: 0,
        speed_up_permille: Vec::new(),
        fenced: accelerator.fenced.as_ref().map(|_| String::new()),
        ..accelerator.clone()
    };
    if bare(told) != bare(now) {
        return Urgency::Now;
    }
    let speed_up = told.speed_up_permille.len() != now.speed_up_permille.len()
        || told.speed_up_permille.iter().zip(&now.speed_up_permille).any(|(&told, &now)| far(told, now));
    let moved = told.load_permille.abs_diff(now.load_permille) >= LOAD_PERMILLE.unsigned_abs()
        || told.busy_permille.abs_diff(now.busy_permille) >= BUSY_PERMILLE.unsigned_abs()
        || told.fenced != now.fenced
        || speed_up;
    if moved { Urgency::Period } else { Urgency::Never }
}

fn of_session(told: &NodeSession, now: &NodeSession) -> Urgency {
    // Why it is at risk holds figures that move.
    let bare = |session: &NodeSession| NodeSession {
        at_risk: session.at_risk.as_ref().map(|_| String::new()),
        ..session.clone()
    };
    if bare(told) == bare(now) { Urgency::Never } else { Urgency::Now }
}

fn of_profile(told: &ModelProfile, now: &ModelProfile) -> Urgency {
    let moved = far(told.service_micros, now.service_micros)
        || far(told.reload_micros, now.reload_micros)
        || far(told.memory_at_rest_bytes, now.memory_at_rest_bytes)
        || far(told.memory_peak_bytes, now.memory_peak_bytes)
        || told.service_cv_permille.abs_diff(now.service_cv_permille) >= CV_PERMILLE.unsigned_abs()
        || now.samples < told.samples
        || now.samples >= told.samples.saturating_mul(SAMPLES_FACTOR).max(told.samples.saturating_add(1));
    if moved { Urgency::Period } else { Urgency::Never }
}

fn far(told: i64, now: i64) -> bool {
    told.abs_diff(now) > told.unsigned_abs() / COST_PARTS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use edgemux_cluster_api::node::{AcceleratorKind, Multiplexing};

    use super::*;

    fn status() -> AcceleratorNodeStatus {
        AcceleratorNodeStatus {
            epoch: "e".into(),
            accelerators: vec![Accelerator {
                name: "gpu0".into(),
                kind: AcceleratorKind::Gpu,
                hardware: String::new(),
                power_mode: "default".into(),
                multiplexing: Multiplexing::Exclusive,
                multiplexing_auto: true,
                width: 1,
                quantum_micros: 10_000,
                memory_bytes: 0,
                load_permille: 400,
                busy_permille: 300,
                speed_up_permille: vec![1000],
                fenced: None,
            }],
            sessions: vec![NodeSession {
                name: "m/1".into(),
                model: "m/1".into(),
                digest: "d".into(),
                accelerator: "gpu0".into(),
                state: "Ready".into(),
                rate_millihertz: 1,
                objective: None,
                uid: String::new(),
                reservation: String::new(),
                at_risk: None,
            }],
            profiles: vec![ModelProfile {
                digest: "d".into(),
                accelerator: "gpu0".into(),
                power_mode: "default".into(),
                samples: 100,
                service_micros: 5000,
                service_cv_permille: 100,
                reload_micros: 0,
                memory_at_rest_bytes: 0,
                memory_peak_bytes: 0,
            }],
            models: vec!["m/1".into()],
            conditions: Vec::new(),
        }
    }

    fn check(urgency: Urgency, change: impl FnOnce(&mut AcceleratorNodeStatus)) {
        let mut changed = status();
        change(&mut changed);
        assert_eq!(super::urgency(&status(), &changed), urgency, "{changed:#?}");
    }

    #[test]
    fn what_places_depend_on_is_told_at_once() {
        check(Urgency::Now, |status| status.epoch = "f".into());
        check(Urgency::Now, |status| status.accelerators[0].fenced = Some("hot".into()));
        check(Urgency::Now, |status| status.accelerators[0].power_mode = "15W".into());
        check(Urgency::Now, |status| status.accelerators[0].multiplexing = Multiplexing::Concurrent);
        check(Urgency::Now, |status| status.accelerators.clear());
        check(Urgency::Now, |status| status.sessions[0].state = "Failed".into());
        check(Urgency::Now, |status| status.sessions[0].at_risk = Some("p99".into()));
        check(Urgency::Now, |status| status.sessions.clear());
    }

    #[test]
    fn figures_are_told_when_they_have_moved_far() {
        check(Urgency::Never, |status| status.accelerators[0].load_permille += 19);
        check(Urgency::Period, |status| status.accelerators[0].load_permille += 20);
        check(Urgency::Never, |status| status.accelerators[0].busy_permille -= 99);
        check(Urgency::Period, |status| status.accelerators[0].busy_permille -= 100);
        check(Urgency::Never, |status| status.profiles[0].samples = 199);
        check(Urgency::Period, |status| status.profiles[0].samples = 200);
        check(Urgency::Period, |status| status.profiles[0].samples = 0);
        check(Urgency::Never, |status| status.profiles[0].service_micros = 5200);
        check(Urgency::Period, |status| status.profiles[0].service_micros = 5201);
        check(Urgency::Period, |status| status.profiles[0].reload_micros = 1);
        check(Urgency::Period, |status| status.profiles.clear());
        check(Urgency::Period, |status| status.models.push("n/1".into()));
        check(Urgency::Never, |_| ());
    }

    #[test]
    fn figures_in_a_reason_are_not_news() {
        let mut told = status();
        told.sessions[0].at_risk = Some("p99 51 ms".into());
        let mut now = told.clone();
        now.sessions[0].at_risk = Some("p99 52 ms".into());
        assert_eq!(urgency(&told, &now), Urgency::Never);
    }
}
