//! Each published setting, by the paper's formula and by ours.

use std::num::NonZeroU32;

use edgemux_calibration::predict::{Effort, PredictError, Predictor};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::queueing::fcfs::Class;
use edgemux_calibration::queueing::paper;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::{Device, DeviceKind, Host, Session, System, SystemError};
use edgemux_calibration::terms::Terms;
use edgemux_calibration::units::{Hertz, Quantile, RangeError, Scv, Seconds};
use serde::Serialize;

use super::PublishedError;
use super::data::{Cost, Measured, ProfileName, shared};

/// The board's processor: a Raspberry Pi or a Coral board, both of four cores.
const CORES: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// One model in one setting. Latencies in ms.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Point {
    pub(crate) pair: String,
    pub(crate) setting: String,
    pub(crate) model: String,
    pub(crate) rate_hz: f64,
    /// Of the device, by ours.
    pub(crate) utilisation: f64,
    pub(crate) measured: Statistics,
    /// The paper has a formula for the mean alone.
    pub(crate) paper_mean_ms: f64,
    pub(crate) ours: Statistics,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Statistics {
    pub(crate) mean_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Statistics {
    pub(super) const NAMES: [&'static str; 3] = ["mean", "p95", "p99"];

    pub(super) fn all(self) -> [f64; 3] {
        [self.mean_ms, self.p95_ms, self.p99_ms]
    }

    fn of([mean_ms, p95_ms, p99_ms]: [f64; 3]) -> Self {
        Self { mean_ms, p95_ms, p99_ms }
    }
}

/// All settings under one profile.
pub(super) fn points(profile: ProfileName) -> Result<Vec<Point>, PublishedError> {
    let mut predictor = Predictor::new(Effort::Formula);
    let mut points = Vec::new();
    // Two models share the device in each.
    for setting in shared()?.chunks(2) {
        let costs: Vec<Cost> =
            setting.iter().map(|measured| profile.cost(&measured.model)).collect::<Result<_, _>>()?;
        let system =
            system(setting, &costs).map_err(|error| PredictError::System(SystemError::Range(error)))?;
        let prediction = predictor.predict(&system)?;
        let paper = by_the_paper(&system);
        for ((measured, latency), paper) in setting.iter().zip(&prediction.sessions).zip(paper) {
            let ours = [latency.mean(), latency.quantile(Quantile::P95), latency.quantile(Quantile::P99)];
            points.push(Point {
                pair: measured.pair.clone(),
                setting: measured.setting.clone(),
                model: measured.model.clone(),
                rate_hz: measured.rate,
                utilisation: prediction.utilisation.device,
                measured: Statistics::of(measured.latency),
                paper_mean_ms: paper * 1e3,
                ours: Statistics::of(ours.map(|s| s * 1e3)),
            });
        }
    }
    Ok(points)
}

/// Poisson arrivals at an edgeTPU that serves in their order.
fn system(setting: &[Measured], costs: &[Cost]) -> Result<System, RangeError> {
    let session = |measured: &Measured, cost: &Cost| -> Result<Session, RangeError> {
        let profile = Profile::of(Seconds::from_ms(cost.resident)?, Scv::new(cost.cv * cost.cv)?);
        let cpu_after = ServiceTime::constant(Seconds::from_ms(cost.after)?);
        let profile = Profile { cpu_after, ..profile.with_reload(Seconds::from_ms(cost.reload)?, None) };
        let terms = Terms::poisson(Hertz::new(measured.rate)?, None);
        Ok(Session { name: measured.model.clone(), profile, terms })
    };
    let sessions = setting.iter().zip(costs).map(|(measured, cost)| session(measured, cost));
    Ok(System {
        device: Device { on_chip: 8 << 20, ..Device::new("edgetpu", DeviceKind::EdgeTpu) },
        host: Host::idle(CORES),
        sessions: sessions.collect::<Result<_, _>>()?,
    })
}

/// The paper's mean latency of each session, s: the device, and the processor as one fast server.
fn by_the_paper(system: &System) -> Vec<f64> {
    let classes: Vec<Class<'_>> = system
        .sessions
        .iter()
        .enumerate()
        .map(|(group, session)| Class {
            rate: session.terms.rate.get(),
            service: &session.profile.service,
            overhead: system.overhead(session),
            group,
        })
        .collect();
    let sessions = system.sessions.iter().enumerate();
    sessions
        .map(|(at, session)| {
            let processor = session.profile.cpu_after.mean();
            let cores = system.host.cores.get();
            paper::edgetpu_sojourn(&classes, at) + paper::cpu_sojourn(cores, classes[at].rate, processor)
        })
        .collect()
}
