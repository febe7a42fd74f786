//! Models submitted together: whether a device serves them in order, or shares itself equally among them.

use serde::Serialize;

use super::PublishedError;
use super::data::{self, Together};

/// A device's models.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Discipline {
    pub(crate) device: &'static str,
    /// `in order`, `shared equally`
    pub(crate) discipline: &'static str,
    pub(crate) models: Vec<Response>,
}

/// One model, in ms.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Response {
    pub(crate) model: String,
    pub(crate) alone_ms: f64,
    pub(crate) measured_ms: f64,
    pub(crate) predicted_ms: f64,
}

pub(super) fn both() -> Result<Vec<Discipline>, PublishedError> {
    let (edgetpu, nano) = (data::edgetpu()?, data::nano()?);
    let (in_order, equally) = (in_order(&edgetpu), equally(&nano));
    Ok(vec![
        discipline("Coral USB edgeTPU", "in order", edgetpu, in_order),
        discipline("Jetson Nano", "shared equally", nano, equally),
    ])
}

fn discipline(
    device: &'static str,
    discipline: &'static str,
    measured: Vec<Together>,
    predicted: Vec<f64>,
) -> Discipline {
    let models = measured.into_iter().zip(predicted).map(|(measured, predicted_ms)| Response {
        model: measured.model,
        alone_ms: measured.alone,
        measured_ms: measured.together,
        predicted_ms,
    });
    Discipline { device, discipline, models: models.collect() }
}

/// Each waits for those before it: running sums.
fn in_order(models: &[Together]) -> Vec<f64> {
    let sums = models.iter().scan(0.0, |sum, model| {
        *sum += model.alone;
        Some(*sum)
    });
    sums.collect()
}

/// While n are there each has an n-th of the device, so one has waited, when it ends, for as much of each other as it
/// needed itself, or for all of it where that was less.
fn equally(models: &[Together]) -> Vec<f64> {
    models.iter().map(|model| models.iter().map(|other| other.alone.min(model.alone)).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edgetpu_serves_in_order_and_the_nano_shares_equally() {
        let [edgetpu, nano] = <[Discipline; 2]>::try_from(both().unwrap()).unwrap();
        for (discipline, within) in [(edgetpu, 0.015), (nano, 0.02)] {
            for Response { model, measured_ms, predicted_ms, .. } in discipline.models {
                let error = predicted_ms / measured_ms - 1.0;
                assert!(error.abs() < within, "{model}: {predicted_ms} for {measured_ms}");
            }
        }
    }
}
