//! Loads the demo's models, chooses their rates, and drives them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::MODELS;
use super::report::Demo;
use crate::client::{Client, ServerAddress};
use crate::commands::load::load;
use crate::commands::load_test;
use crate::error::Error;
use crate::format;
use crate::generator::{ArrivalKind, Calibrated, Demand, Limits, Sender, Target, calibrate};
use crate::output::Output;

/// Of the device's time, asked of all models together.
const UTILISATION: f64 = 0.5;
/// A small model could be asked faster than this, but then this command would be what is measured.
const RATE_HZ_MAX: f64 = 400.0;
const WARM_UP_REQUESTS: u64 = 5;
const CALIBRATION_REQUESTS: u64 = 40;
const CALIBRATION_S_MAX: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);
const OUTSTANDING_MAX: usize = 1000;

pub(super) async fn drive(
    seconds: f64,
    seed: u64,
    client: &Client,
    address: &ServerAddress,
    output: &Output,
) -> Result<Demo, Error> {
    let mut targets = Vec::new();
    for (number, (name, _)) in MODELS.into_iter().enumerate() {
        let (info, load_ms) = load(client, name, BTreeMap::new(), "").await?;
        let load_ms = format::ms(Some(load_ms));
        output.note(&format!("loaded {} in {load_ms} ms: {}", info.session(), info.signature()))?;
        // Each application has a connection of its own.
        let own = Client::connect(address).await?;
        let sender = Sender::Unary { client: own.clone(), timeout: TIMEOUT };
        let demand = Demand::Closed { concurrency: 1 };
        let target = Target::new(info, demand, &BTreeMap::new(), seed.wrapping_add(number as u64), sender)?;
        target.warm_up(WARM_UP_REQUESTS).await?;
        targets.push((own, target));
    }

    let mut measured = Vec::new();
    for (own, target) in &targets {
        measured.push(calibrate(own, target, CALIBRATION_REQUESTS, CALIBRATION_S_MAX).await?);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rates = rates(&measured, cores);
    for (((_, target), rate_hz), measured) in targets.iter_mut().zip(rates).zip(&measured) {
        target.demand = Demand::Open { rate_hz, arrivals: ArrivalKind::Poisson };
        output.note(&format!(
            "{}: {} ms of service, {} ms round trip: asked {} times per second",
            target.model.session(),
            format::ms(measured.service_ms),
            format::ms(Some(measured.round_trip_ms)),
            format::rate(rate_hz)
        ))?;
    }
    output.note(&format!("driving them with Poisson clients for {seconds} s (seed {seed})"))?;
    let duration = Some(Duration::from_secs_f64(seconds));
    let limits = Limits { requests: None, duration, outstanding: OUTSTANDING_MAX };
    let (sessions, interrupted) = load_test::drive(targets, limits).await?;
    if interrupted {
        return Err(Error::Interrupted);
    }
    Ok(Demo::new(seconds, seed, sessions))
}

/// Rates that share the utilisation evenly; what a capped model leaves goes to the others. Where the way to the device and
/// back takes the processor longer than the device, they are lowered until half of the processor is left.
fn rates(measured: &[Calibrated], cores: usize) -> Vec<f64> {
    let service_s =
        |model: &Calibrated| model.service_ms.filter(|ms| *ms > 0.0).unwrap_or(model.round_trip_ms) / 1e3;
    let mut rates = vec![0.0; measured.len()];
    // The quickest model first: it is the one that reaches the cap.
    let mut order: Vec<usize> = (0..measured.len()).collect();
    order.sort_by(|&a, &b| service_s(&measured[a]).total_cmp(&service_s(&measured[b])));
    let (mut left, mut models) = (UTILISATION, measured.len());
    for index in order {
        let service_s = service_s(&measured[index]);
        rates[index] = (left / models as f64 / service_s).min(RATE_HZ_MAX);
        left -= rates[index] * service_s;
        models -= 1;
    }
    let cores_asked: f64 =
        rates.iter().zip(measured).map(|(rate, model)| rate * model.round_trip_ms / 1e3).sum();
    let lowered = (cores as f64 * UTILISATION / cores_asked).min(1.0);
    rates.iter().map(|rate| rate * lowered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(service_ms: f64) -> Calibrated {
        Calibrated { round_trip_ms: service_ms * 2.0, service_ms: Some(service_ms) }
    }

    #[test]
    fn rates_add_up_to_the_utilisation() {
        let rates = rates(&[model(10.0), model(5.0)], 2);
        assert!((rates[0] - 25.0).abs() < 1e-9 && (rates[1] - 50.0).abs() < 1e-9, "{rates:?}");
    }

    #[test]
    fn what_a_quick_model_leaves_goes_to_the_other() {
        let rates = rates(&[model(10.0), model(0.1)], 2);
        assert!((rates[1] - RATE_HZ_MAX).abs() < 1e-9);
        assert!((rates[0] * 0.01 + rates[1] * 0.0001 - UTILISATION).abs() < 1e-9, "{rates:?}");
    }

    #[test]
    fn half_of_the_processor_is_left_where_the_way_costs_more_than_the_service() {
        let slow_way = Calibrated { round_trip_ms: 10.0, service_ms: Some(2.0) };
        assert!((rates(&[slow_way], 2)[0] - 100.0).abs() < 1e-9);
        assert!((rates(&[slow_way], 64)[0] - 250.0).abs() < 1e-9);
    }

    #[test]
    fn without_statistics_the_round_trip_stands_for_the_service() {
        let rates = rates(&[Calibrated { round_trip_ms: 10.0, service_ms: None }], 2);
        assert!((rates[0] - 50.0).abs() < 1e-9);
    }
}
