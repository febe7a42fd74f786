//! One session that batches.

use std::num::NonZeroU32;

use super::Device;
use crate::predict::known::KnownError;
use crate::predict::{Formula, PredictError, Stage};
use crate::queueing::batching::Batches;
use crate::queueing::law::Law;
use crate::system::{Mode, Slicing, System};

pub(super) fn predict(system: &System) -> Result<Device, PredictError> {
    let full = system.sessions.iter().map(|session| {
        let time = session.profile.batching.map_or(session.profile.service.mean(), |b| {
            b.per_item.get() + b.fixed.get() / f64::from(b.size_max.get())
        });
        session.terms.rate.get() * time
    });
    let speed = match system.device.mode {
        Mode::Concurrent { width } => system.device.speed_up.most(width),
        Mode::TimeSliced(Slicing::Driver) => system.device.speed_up.most(NonZeroU32::MAX),
        Mode::Exclusive { .. } | Mode::TimeSliced(Slicing::RoundRobin { .. }) => 1.0,
    };
    let utilisation = full.sum::<f64>() / speed;
    if utilisation >= 1.0 {
        return Err(PredictError::Unstable { stage: Stage::Device, utilisation });
    }
    let [session] = system.sessions.as_slice() else {
        return Err(PredictError::NoFormula("several sessions of which some batch"));
    };
    let Some(batching) = session.profile.batching else {
        return Err(PredictError::NoFormula("batching"));
    };
    let batches = Batches {
        rate: session.terms.rate.get(),
        per_item: batching.per_item.get(),
        fixed: batching.fixed.get(),
    };
    let (mean, least) = (batches.mean_sojourn(), batches.fixed + batches.per_item);
    let mut law = Law::new(mean);
    let excess = (mean - least).max(0.0);
    law.add_gamma(1.0, least, excess, excess * excess);
    let error = KnownError::GUESS;
    Ok(Device { laws: vec![law], utilisation, formula: Formula::Batching, error })
}
