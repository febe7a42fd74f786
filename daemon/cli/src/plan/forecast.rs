//! What those who were admitted will see, by prediction and, where asked for, by simulation.

use edgemux_calibration::predict::{Effort, PredictError, Prediction, Predictor, Simulation};
use edgemux_calibration::system::System;
use thiserror::Error;

/// A device's prediction.
#[derive(Debug)]
pub(crate) struct Forecast {
    /// The device's place.
    pub(crate) device: usize,
    pub(crate) prediction: Prediction,
    pub(crate) simulated: Option<Prediction>,
}

/// No prediction of what was admitted.
#[derive(Debug, Error)]
#[error("cannot predict {device}: {cause}")]
pub(crate) struct ForecastError {
    device: String,
    cause: PredictError,
}

/// Predicts every device that has sessions.
pub(crate) fn forecast(
    systems: &[System],
    predictor: &mut Predictor,
    simulation: Option<Simulation>,
) -> Result<Vec<Forecast>, ForecastError> {
    let used = systems.iter().enumerate().filter(|(_, system)| !system.sessions.is_empty());
    used.map(|(device, system)| {
        let failed = |cause| ForecastError { device: system.device.name.clone(), cause };
        let prediction = predictor.predict(system).map_err(failed)?;
        let simulated = simulation
            .map(|run| predictor.with(system, Effort::Simulate(run)))
            .transpose()
            .map_err(failed)?;
        Ok(Forecast { device, prediction, simulated })
    })
    .collect()
}
