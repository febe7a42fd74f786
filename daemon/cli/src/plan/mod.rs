//! `edgemux plan`: which applications a node can bear, and what each would see.
//!
//! A file describes a node and lists applications; they are admitted in its order, each against those before it, by the
//! decision that a daemon takes when a model is loaded.

mod admit;
mod example;
#[cfg(feature = "plot")]
mod figure;
mod file;
mod forecast;
mod node;
mod report;
#[cfg(feature = "plot")]
mod sweep;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;

use edgemux_calibration::admission::{AdmissionError, Policy};
use edgemux_calibration::predict::{Effort, Predictor, Simulation};
use thiserror::Error;

pub(crate) use example::Example;
pub(crate) use report::Plan;

/// Why there is no plan.
#[derive(Debug, Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    File(#[from] file::FileError),
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error(transparent)]
    Forecast(#[from] forecast::ForecastError),
    #[cfg(feature = "plot")]
    #[error(transparent)]
    Plot(#[from] crate::plot::PlotError),
}

impl PlanError {
    /// A stable name for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::File(_) => "FILE",
            Self::Admission(_) | Self::Forecast(_) => "PREDICTION",
            #[cfg(feature = "plot")]
            Self::Plot(_) => "WRITE",
        }
    }
}

/// What is asked of a plan besides its file.
#[derive(Debug)]
pub(crate) struct Wishes<'a> {
    /// Simulate beside the prediction.
    pub(crate) simulate: bool,
    /// How long to simulate, there and wherever no formula decides.
    pub(crate) simulation: Simulation,
    /// Where to plot latency against load.
    #[cfg_attr(not(feature = "plot"), expect(dead_code, reason = "plots are switched off"))]
    pub(crate) plot: Option<&'a Path>,
}

/// Reads a file, admits its applications and predicts what they would see.
pub(crate) fn plan(path: &Path, wishes: &Wishes<'_>) -> Result<Plan, PlanError> {
    let node = file::read(path)?;
    let mut predictor = Predictor::new(Effort::Needed(wishes.simulation));
    let policy = Policy { simulation: Some(wishes.simulation), ..Policy::default() };
    let admitted = admit::admit(&node, &mut predictor, &policy)?;
    // Another seed: a prediction that was itself simulated is not judged by the same run.
    let beside = Simulation { seed: wishes.simulation.seed.wrapping_add(1), ..wishes.simulation };
    let beside = wishes.simulate.then_some(beside);
    let forecasts = forecast::forecast(&admitted.systems, &mut predictor, beside)?;
    #[cfg(feature = "plot")]
    if let Some(path) = wishes.plot {
        let curves = forecasts.iter().map(|forecast| {
            sweep::sweep(
                &admitted.systems[forecast.device],
                &forecast.prediction,
                &mut predictor,
                wishes.simulation,
            )
        });
        crate::plot::write(path, &figure::LoadFigure::new(curves.collect()))?;
    }
    Ok(Plan::new(path.display().to_string(), &node.applications, &admitted, &forecasts))
}
