//! From decisions and predictions to what is said of them.

use edgemux_calibration::admission::{Alternative, MemoryUse};
use edgemux_calibration::predict::{KnownError, Latency, Prediction};
use edgemux_calibration::system::{Session, System};
use edgemux_calibration::terms::{Statistic, Terms};
use edgemux_calibration::units::Quantile;

use super::{ApplicationRow, Asked, DeviceRow, Differences, Errors, Figures, OfferRow, Plan, SessionRow};
use crate::plan::admit::{Admitted, Answer, Decision, Offer};
use crate::plan::forecast::Forecast;
use crate::plan::node::{Application, kind};
use crate::plan::words;

impl Plan {
    pub(crate) fn new(
        file: String,
        applications: &[Application],
        admitted: &Admitted,
        forecasts: &[Forecast],
    ) -> Self {
        let names: Vec<String> = admitted.systems.iter().map(|system| system.device.name.clone()).collect();
        let rows: Vec<ApplicationRow> = applications
            .iter()
            .zip(&admitted.decisions)
            .map(|(application, decision)| ApplicationRow {
                application: decision.application.clone(),
                model: decision.model.clone(),
                asked: Asked::of(&application.terms),
                admitted: decision.device.is_some(),
                device: decision.device.map(|device| names[device].clone()),
                multiplexing: decision.verdict().map(|verdict| words::multiplexing(verdict.mode)),
                offers: decision.offers.iter().map(|offer| OfferRow::of(offer, &names)).collect(),
            })
            .collect();
        let devices = forecasts.iter().map(|forecast| {
            let decisions = admitted.decisions.iter().rev();
            // Whoever came last knows the memory of all.
            let mut last = decisions.filter(|decision| decision.device == Some(forecast.device));
            let memory = last.find_map(Decision::verdict).map(|verdict| verdict.memory);
            DeviceRow::of(&admitted.systems[forecast.device], forecast, memory)
        });
        let count = rows.iter().filter(|row| row.admitted).count();
        let refused = rows.len() - count;
        Self { file, admitted: count, refused, devices: devices.collect(), applications: rows }
    }
}

impl Asked {
    fn of(terms: &Terms) -> Self {
        let quantile = terms.objective.and_then(|objective| match objective.statistic {
            Statistic::Mean => None,
            Statistic::Quantile(q) => Some(q.get()),
        });
        let latency_ms = terms.objective.map(|objective| objective.latency.ms());
        Self { rate_hz: terms.rate.get(), latency_ms, quantile, words: words::objective(terms.objective) }
    }
}

impl OfferRow {
    fn of(offer: &Offer, names: &[String]) -> Self {
        let decided = match &offer.answer {
            Answer::Decided(verdict) => Some(verdict),
            Answer::Elsewhere { .. } | Answer::NoProfile(_) => None,
        };
        let alternatives = decided.map_or(&[][..], |verdict| &verdict.alternatives);
        Self {
            device: names[offer.device].clone(),
            admitted: offer.admission().is_some(),
            reasons: words::refusal(offer, names),
            largest_rate_hz: decided.and_then(|verdict| verdict.largest_rate).map(|rate| rate.get()),
            smallest_latency_ms: alternatives.iter().find_map(|alternative| match alternative {
                Alternative::Latency(latency) => Some(latency.ms()),
                Alternative::Rate(_) => None,
            }),
            alternatives: decided.map(|_| alternatives.iter().map(words::alternative).collect()),
        }
    }
}

impl DeviceRow {
    fn of(system: &System, forecast: &Forecast, memory: Option<MemoryUse>) -> Self {
        let Forecast { prediction, simulated, .. } = forecast;
        let memory = memory.unwrap_or(MemoryUse { at_rest: 0, peak: 0, capacity: system.device.memory });
        let sessions = system.sessions.iter().enumerate().map(|(at, session)| {
            SessionRow::of(session, prediction, at, simulated.as_ref().and_then(|s| s.sessions.get(at)))
        });
        Self {
            device: system.device.name.clone(),
            kind: kind(system.device.kind),
            multiplexing: words::multiplexing(system.device.mode),
            mode: words::mode(system.device.mode),
            utilisation: prediction.utilisation.device,
            processor_utilisation: prediction.utilisation.cpu,
            bus_utilisation: prediction.utilisation.bus,
            memory_bytes: memory.at_rest,
            memory_peak_bytes: memory.peak,
            memory_capacity_bytes: (memory.capacity < u64::MAX).then_some(memory.capacity),
            method: words::method_name(prediction.method),
            method_words: words::method(prediction.method),
            known_error: Errors::of(prediction.error),
            simulated_error: simulated.as_ref().map(|simulated| Errors::of(simulated.error)),
            sessions: sessions.collect(),
        }
    }
}

impl Errors {
    fn of(error: KnownError) -> Self {
        Self { mean: error.mean, p95: error.p95, p99: error.p99, words: words::known_error(error) }
    }
}

impl SessionRow {
    fn of(session: &Session, prediction: &Prediction, at: usize, simulated: Option<&Latency>) -> Self {
        let latency = &prediction.sessions[at];
        let predicted = Figures::of(latency);
        let simulated = simulated.map(Figures::of);
        let objective = session.terms.objective.map(|objective| {
            let of = latency.of(objective.statistic);
            let with_error = of * (1.0 + prediction.error.of(objective.statistic));
            let wanted = objective.latency.get();
            (1.0 - of / wanted, with_error <= wanted)
        });
        Self {
            session: session.name.clone(),
            asked: Asked::of(&session.terms),
            predicted,
            slack: objective.map(|(slack, _)| slack),
            holds: objective.map(|(_, holds)| holds),
            simulated,
            difference: simulated.map(|simulated| predicted.against(simulated)),
        }
    }
}

impl Figures {
    fn of(latency: &Latency) -> Self {
        Self {
            mean_ms: latency.mean() * 1e3,
            p50_ms: latency.quantile(Quantile::P50) * 1e3,
            p95_ms: latency.quantile(Quantile::P95) * 1e3,
            p99_ms: latency.quantile(Quantile::P99) * 1e3,
        }
    }

    fn against(self, other: Self) -> Differences {
        Differences {
            mean: self.mean_ms / other.mean_ms - 1.0,
            p50: self.p50_ms / other.p50_ms - 1.0,
            p95: self.p95_ms / other.p95_ms - 1.0,
            p99: self.p99_ms / other.p99_ms - 1.0,
        }
    }
}
