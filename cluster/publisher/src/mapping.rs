//! What the daemon says, as Kubernetes is told it. Nothing here asks, waits or keeps.
//!
//! A number that makes no sense (not a number, negative, beyond what the resource's definition allows) is left out, or held to
//! the nearest that does; what cannot be said at all without it (a device of an unknown kind, a profile without a service time)
//! is left out as a whole, and named in [`Mapped::left_out`]. The API server would refuse the whole status for one such number.

use std::collections::BTreeSet;

use edgemux_cluster_api::node::{
    Accelerator, AcceleratorKind, AcceleratorNodeStatus, ModelProfile, Multiplexing, NodeSession,
};
use edgemux_cluster_api::objective::LatencyObjective;
use edgemux_proto::edgemux::v1 as wire;
use edgemux_proto::edgemux::v1::objective::Statistic;

use crate::daemon::Observation;

/// Most of each list: an object of the cluster's is at most a megabyte or so, and belongs to everybody.
pub const ACCELERATORS_MAX: usize = 64;
/// See [`ACCELERATORS_MAX`].
pub const SESSIONS_MAX: usize = 1024;
/// See [`ACCELERATORS_MAX`].
pub const PROFILES_MAX: usize = 2048;
/// See [`ACCELERATORS_MAX`].
pub const MODELS_MAX: usize = 4096;
/// Most bytes of a text of the daemon's, such as why a device is fenced.
const TEXT_BYTES_MAX: usize = 512;
/// Of the objective's definition.
const LATENCY_MICROS_MAX: i64 = 3_600_000_000;
/// Speeds for so many requests in service at most.
const SPEED_UP_MAX: usize = 64;

/// A status without its conditions, and what is not in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapped {
    /// What is.
    pub status: AcceleratorNodeStatus,
    /// What is not, and why.
    pub left_out: Vec<String>,
}

/// The status that tells this.
#[must_use]
pub fn map(seen: &Observation) -> Mapped {
    let mut left_out = Vec::new();
    let mut accelerators: Vec<_> = seen
        .devices
        .iter()
        .filter_map(|device| kept(accelerator(device, &seen.profiles), &mut left_out))
        .collect();
    let mut sessions: Vec<_> =
        seen.sessions.iter().filter_map(|session| kept(node_session(session), &mut left_out)).collect();
    sessions.sort_by(|a, b| a.name.cmp(&b.name));
    let mut profiles: Vec<_> =
        seen.profiles.iter().filter_map(|learned| kept(profile(learned), &mut left_out)).collect();
    // Those that are known best first: they are kept if there are too many.
    profiles.sort_by_key(|profile| std::cmp::Reverse(profile.samples));
    let models: BTreeSet<_> =
        seen.models.iter().map(|model| format!("{}/{}", model.name, model.version)).collect();
    let mut models: Vec<_> = models.into_iter().collect();

    shorten("devices", &mut accelerators, ACCELERATORS_MAX, &mut left_out);
    shorten("sessions", &mut sessions, SESSIONS_MAX, &mut left_out);
    shorten("profiles", &mut profiles, PROFILES_MAX, &mut left_out);
    shorten("models", &mut models, MODELS_MAX, &mut left_out);
    profiles.sort_by(|a, b| key(a).cmp(&key(b)));
    let status = AcceleratorNodeStatus {
        epoch: seen.epoch.clone(),
        accelerators,
        sessions,
        profiles,
        models,
        conditions: Vec::new(),
    };
    Mapped { status, left_out }
}

fn key(profile: &ModelProfile) -> (&str, &str, &str) {
    (&profile.digest, &profile.accelerator, &profile.power_mode)
}

fn kept<T>(told: Result<T, String>, left_out: &mut Vec<String>) -> Option<T> {
    told.map_err(|why| left_out.push(why)).ok()
}

fn shorten<T>(what: &str, list: &mut Vec<T>, most: usize, left_out: &mut Vec<String>) {
    if list.len() > most {
        left_out.push(format!("{} of {} {what}", list.len() - most, list.len()));
        list.truncate(most);
    }
}

fn accelerator(device: &wire::Device, profiles: &[wire::CalibrationProfile]) -> Result<Accelerator, String> {
    let wire::Device { name, .. } = device;
    let kind = match device.kind() {
        wire::DeviceKind::Cpu => AcceleratorKind::Cpu,
        wire::DeviceKind::Gpu => AcceleratorKind::Gpu,
        wire::DeviceKind::Edgetpu => AcceleratorKind::EdgeTpu,
        wire::DeviceKind::Unspecified => {
            return Err(format!("device {name}, of an unknown kind {}", device.kind));
        }
    };
    let multiplexing = match device.multiplexing() {
        wire::Multiplexing::Exclusive => Multiplexing::Exclusive,
        wire::Multiplexing::TimeSliced => Multiplexing::TimeSliced,
        wire::Multiplexing::Concurrent => Multiplexing::Concurrent,
        wire::Multiplexing::Auto | wire::Multiplexing::Unspecified => {
            return Err(format!("device {name}, shared in an unknown way {}", device.multiplexing));
        }
    };
    Ok(Accelerator {
        name: name.clone(),
        kind,
        hardware: text(&device.hardware_name),
        power_mode: text(&device.power_mode),
        multiplexing,
        multiplexing_auto: device.configured_multiplexing() == wire::Multiplexing::Auto,
        width: device.width.into(),
        quantum_micros: thousandths(device.quantum_ms).unwrap_or_default(),
        memory_bytes: whole(device.memory_capacity_bytes),
        load_permille: thousandths(device.predicted_utilisation).unwrap_or_default(),
        busy_permille: thousandths(device.utilisation).unwrap_or_default(),
        speed_up_permille: speed_up(device, profiles),
        fenced: device.fenced.then(|| match text(&device.fence_reason) {
            reason if reason.is_empty() => "no reason is given".to_owned(),
            reason => reason,
        }),
    })
}

/// As the profile knows it that was learned from most requests in the device's present power mode.
fn speed_up(device: &wire::Device, profiles: &[wire::CalibrationProfile]) -> Vec<i64> {
    let of_device = profiles.iter().filter(|profile| {
        profile.device == device.name
            && profile.power_mode == device.power_mode
            && !profile.speed_up.is_empty()
    });
    let Some(best) = of_device.max_by_key(|profile| profile.samples) else { return Vec::new() };
    best.speed_up.iter().map_while(|&speed| positive(speed)).take(SPEED_UP_MAX).collect()
}

fn node_session(session: &wire::Session) -> Result<NodeSession, String> {
    let state = match session.state() {
        wire::SessionState::Loading => "Loading",
        wire::SessionState::Warming => "Warming",
        wire::SessionState::Ready => "Ready",
        wire::SessionState::Draining => "Draining",
        wire::SessionState::Gone => "Gone",
        wire::SessionState::Failed => "Failed",
        wire::SessionState::Unspecified => {
            return Err(format!("session {}, in an unknown state {}", session.id, session.state));
        }
    };
    let source = if session.source_model.is_empty() { &session.model } else { &session.source_model };
    let terms = session.terms.clone().unwrap_or_default();
    Ok(NodeSession {
        name: session.id.clone(),
        model: format!("{source}/{}", session.version),
        digest: session.model_digest.clone(),
        accelerator: session.device.clone(),
        state: state.to_owned(),
        rate_millihertz: thousandths(terms.rate_hz).unwrap_or_default(),
        objective: terms.objective.as_ref().and_then(objective),
        uid: session.uid.clone(),
        reservation: session.reservation.clone(),
        at_risk: session.slo_at_risk.then(|| match text(&session.at_risk_reason) {
            reason if reason.is_empty() => "no reason is given".to_owned(),
            reason => reason,
        }),
    })
}

fn objective(objective: &wire::Objective) -> Option<LatencyObjective> {
    let quantile_permille = match objective.statistic? {
        Statistic::Quantile(quantile) => Some(positive(quantile)?.min(999)),
        Statistic::Mean(true) => None,
        Statistic::Mean(false) => return None,
    };
    Some(LatencyObjective {
        latency_micros: positive(objective.latency_ms)?.min(LATENCY_MICROS_MAX),
        quantile_permille,
    })
}

fn profile(learned: &wire::CalibrationProfile) -> Result<ModelProfile, String> {
    let without = |what: &str| format!("a profile of device {}, without {what}", learned.device);
    if learned.model_digest.is_empty() {
        return Err(without("its model's digest"));
    }
    Ok(ModelProfile {
        digest: learned.model_digest.clone(),
        accelerator: learned.device.clone(),
        power_mode: text(&learned.power_mode),
        samples: whole(learned.samples),
        service_micros: positive(learned.service_mean_ms).ok_or_else(|| without("a service time"))?,
        service_cv_permille: thousandths(learned.service_cv).unwrap_or_default(),
        reload_micros: thousandths(learned.reload_ms).unwrap_or_default(),
        memory_at_rest_bytes: whole(learned.memory_at_rest_bytes),
        memory_peak_bytes: whole(learned.memory_peak_bytes),
    })
}

/// Thousandths of it, to the nearest: microseconds of milliseconds, millihertz of hertz, permille of a share. None of what is
/// not a number, or negative; the largest there is of what is larger.
fn thousandths(value: f64) -> Option<i64> {
    let value = (value * 1e3).round();
    // Casting holds to the range.
    (value >= 0.0).then_some(value as i64)
}

/// [`thousandths`] of what must be more than nothing: at least one of what is.
fn positive(value: f64) -> Option<i64> {
    (value > 0.0).then(|| thousandths(value)).flatten().map(|value| value.max(1))
}

fn whole(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// At most so much of it, whole characters.
fn text(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> wire::Device {
        wire::Device {
            name: name.into(),
            kind: wire::DeviceKind::Gpu.into(),
            multiplexing: wire::Multiplexing::TimeSliced.into(),
            configured_multiplexing: wire::Multiplexing::Auto.into(),
            width: 4,
            quantum_ms: 10.0,
            memory_capacity_bytes: 8 << 30,
            predicted_utilisation: 0.4216,
            utilisation: 0.25,
            hardware_name: "Emulated".into(),
            power_mode: "15W".into(),
            ..Default::default()
        }
    }

    fn learned(digest: &str, samples: u64) -> wire::CalibrationProfile {
        wire::CalibrationProfile {
            model_digest: digest.into(),
            device: "gpu0".into(),
            power_mode: "15W".into(),
            samples,
            service_mean_ms: 4.5,
            service_cv: 0.1,
            reload_ms: 1.25,
            memory_at_rest_bytes: 10,
            memory_peak_bytes: 20,
            speed_up: vec![1.0, 1.5],
            ..Default::default()
        }
    }

    fn session(id: &str) -> wire::Session {
        let (model, version) = id.split_once('/').unwrap();
        wire::Session {
            id: id.into(),
            model: model.into(),
            version: version.into(),
            device: "gpu0".into(),
            state: wire::SessionState::Ready.into(),
            terms: Some(wire::Terms {
                rate_hz: 12.5,
                objective: Some(wire::Objective {
                    statistic: Some(Statistic::Quantile(0.99)),
                    latency_ms: 50.0,
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn mapped(devices: Vec<wire::Device>, sessions: Vec<wire::Session>) -> Mapped {
        map(&Observation { epoch: "e".into(), devices, sessions, ..Default::default() })
    }

    #[test]
    fn a_device_is_told_with_its_units() {
        let seen = Observation {
            epoch: "e".into(),
            devices: vec![device("gpu0")],
            profiles: vec![
                learned("a", 5),
                wire::CalibrationProfile { speed_up: vec![1.0, 1.75, f64::NAN, 2.0], ..learned("b", 9) },
            ],
            ..Default::default()
        };
        let Mapped { status, left_out } = map(&seen);
        assert_eq!(left_out, [""; 0]);
        let expected = Accelerator {
            name: "gpu0".into(),
            kind: AcceleratorKind::Gpu,
            hardware: "Emulated".into(),
            power_mode: "15W".into(),
            multiplexing: Multiplexing::TimeSliced,
            multiplexing_auto: true,
            width: 4,
            quantum_micros: 10_000,
            memory_bytes: 8 << 30,
            load_permille: 422,
            busy_permille: 250,
            // Of the profile with most samples, as far as it makes sense.
            speed_up_permille: vec![1000, 1750],
            fenced: None,
        };
        assert_eq!(status.accelerators, [expected]);
        assert_eq!(status.epoch, "e");
        let profile = &status.profiles[0];
        assert_eq!(
            (profile.service_micros, profile.service_cv_permille, profile.reload_micros),
            (4500, 100, 1250)
        );
    }

    #[test]
    fn a_speed_up_of_another_power_mode_is_not_the_devices() {
        let seen = Observation {
            devices: vec![wire::Device { power_mode: "30W".into(), ..device("gpu0") }],
            profiles: vec![learned("a", 5)],
            ..Default::default()
        };
        assert_eq!(map(&seen).status.accelerators[0].speed_up_permille, [0; 0]);
    }

    #[test]
    fn a_session_is_told_by_its_own_name_and_its_models() {
        let own = wire::Session {
            source_model: "detector".into(),
            uid: "u".into(),
            reservation: "r".into(),
            model_digest: "d".into(),
            slo_at_risk: true,
            ..session("camera-7/3")
        };
        let status = mapped(vec![], vec![session("b/1"), own]).status;
        assert_eq!(
            status.sessions.iter().map(|session| &session.name[..]).collect::<Vec<_>>(),
            ["b/1", "camera-7/3"]
        );
        let told = &status.sessions[1];
        assert_eq!((&told.model[..], &told.uid[..], &told.reservation[..]), ("detector/3", "u", "r"));
        assert_eq!(told.at_risk.as_deref(), Some("no reason is given"));
        assert_eq!(told.rate_millihertz, 12_500);
        assert_eq!(
            told.objective,
            Some(LatencyObjective { latency_micros: 50_000, quantile_permille: Some(990) })
        );
        assert_eq!(status.sessions[0].model, "b/1");
    }

    #[test]
    fn kinds_modes_and_states_that_nobody_knows_are_left_out_and_named() {
        let Mapped { status, left_out } = mapped(
            vec![
                wire::Device { kind: 77, ..device("new") },
                wire::Device { multiplexing: wire::Multiplexing::Auto.into(), ..device("odd") },
                device("gpu0"),
            ],
            vec![wire::Session { state: 99, ..session("m/1") }],
        );
        assert_eq!(status.accelerators.len(), 1);
        assert!(status.sessions.is_empty());
        assert_eq!(
            left_out,
            [
                "device new, of an unknown kind 77",
                "device odd, shared in an unknown way 4",
                "session m/1, in an unknown state 99"
            ]
        );
    }

    #[test]
    fn numbers_that_make_no_sense_are_nothing() {
        for bad in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            let accelerator = mapped(
                vec![wire::Device {
                    quantum_ms: bad,
                    predicted_utilisation: bad,
                    utilisation: bad,
                    ..device("gpu0")
                }],
                vec![],
            );
            let accelerator = &accelerator.status.accelerators[0];
            assert_eq!(
                (accelerator.quantum_micros, accelerator.load_permille, accelerator.busy_permille),
                (0, 0, 0)
            );
            let mut odd = session("m/1");
            odd.terms = Some(wire::Terms {
                rate_hz: bad,
                objective: Some(wire::Objective { statistic: Some(Statistic::Mean(true)), latency_ms: bad }),
                ..Default::default()
            });
            let told = &mapped(vec![], vec![odd]).status.sessions[0];
            assert_eq!((told.rate_millihertz, told.objective), (0, None));
            let seen = Observation {
                profiles: vec![
                    wire::CalibrationProfile { service_mean_ms: bad, ..learned("a", 1) },
                    wire::CalibrationProfile { service_cv: bad, reload_ms: bad, ..learned("b", 1) },
                ],
                ..Default::default()
            };
            let Mapped { status, left_out } = map(&seen);
            assert_eq!(
                (
                    status.profiles.len(),
                    status.profiles[0].service_cv_permille,
                    status.profiles[0].reload_micros
                ),
                (1, 0, 0)
            );
            assert_eq!(left_out, ["a profile of device gpu0, without a service time"]);
        }
    }

    #[test]
    fn numbers_that_are_too_large_are_the_largest() {
        assert_eq!(thousandths(f64::INFINITY), Some(i64::MAX));
        assert_eq!(thousandths(1e300), Some(i64::MAX));
        assert_eq!(whole(u64::MAX), i64::MAX);
        let endless = wire::Objective { statistic: Some(Statistic::Quantile(0.99999)), latency_ms: 1e12 };
        assert_eq!(
            objective(&endless),
            Some(LatencyObjective { latency_micros: LATENCY_MICROS_MAX, quantile_permille: Some(999) })
        );
    }

    #[test]
    fn what_is_more_than_nothing_is_never_told_as_nothing() {
        assert_eq!(positive(1e-9), Some(1));
        assert_eq!(positive(0.0), None);
        assert_eq!(thousandths(-0.0), Some(0));
    }

    #[test]
    fn an_objective_without_a_statistic_is_none() {
        assert_eq!(objective(&wire::Objective { statistic: None, latency_ms: 5.0 }), None);
        assert_eq!(
            objective(&wire::Objective { statistic: Some(Statistic::Mean(false)), latency_ms: 5.0 }),
            None
        );
    }

    #[test]
    fn lists_are_bounded_and_profiles_that_are_known_best_stay() {
        let seen = Observation {
            sessions: (0..SESSIONS_MAX + 3).map(|number| session(&format!("m{number}/1"))).collect(),
            profiles: (0..PROFILES_MAX + 1)
                .map(|number| learned(&format!("{number:05}"), number as u64 + 1))
                .collect(),
            ..Default::default()
        };
        let Mapped { status, left_out } = map(&seen);
        assert_eq!(left_out, ["3 of 1027 sessions", "1 of 2049 profiles"]);
        assert_eq!(status.sessions.len(), SESSIONS_MAX);
        assert_eq!(status.profiles.len(), PROFILES_MAX);
        assert_eq!(status.profiles[0].digest, "00001");
        let bytes = serde_json::to_vec(&status).unwrap().len();
        assert!(bytes < 1 << 20, "{bytes}");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let fenced = wire::Device { fenced: true, fence_reason: "ä".repeat(1000), ..device("gpu0") };
        let status = mapped(vec![fenced, wire::Device { fenced: true, ..device("gpu1") }], vec![]).status;
        assert_eq!(status.accelerators[0].fenced.as_ref().map(String::len), Some(TEXT_BYTES_MAX));
        assert_eq!(status.accelerators[1].fenced.as_deref(), Some("no reason is given"));
    }

    #[test]
    fn one_model_in_two_formats_is_one_model() {
        let index =
            |name: &str, version: &str| edgemux_proto::inference::repository_index_response::ModelIndex {
                name: name.into(),
                version: version.into(),
                ..Default::default()
            };
        let seen = Observation {
            models: vec![index("b", "1"), index("a", "2"), index("b", "1")],
            ..Default::default()
        };
        assert_eq!(map(&seen).status.models, ["a/2", "b/1"]);
    }
}
