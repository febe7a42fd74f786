//! What a session declared and is held to.

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::objective::Statistic;
use serde::Serialize;

use super::device::kind;
use crate::format;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Terms {
    pub(crate) rate_hz: f64,
    pub(crate) burst: f64,
    pub(crate) priority: u32,
    /// Absent where the session has no objective.
    pub(crate) latency_ms: Option<f64>,
    /// The quantile that must keep `latency_ms`; absent where the mean must, or nothing.
    pub(crate) quantile: Option<f64>,
    /// `refuse`, `best-effort`
    pub(crate) excess: &'static str,
    /// Kinds of device that it may run on; empty: any.
    pub(crate) devices: Vec<&'static str>,
    /// Absent where each request runs alone.
    pub(crate) batching: Option<Batching>,
}

/// Requests run together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Batching {
    pub(crate) size_max: u32,
    /// 0 takes what is there; absent: half of what the objective leaves room for.
    pub(crate) delay_max_ms: Option<f64>,
}

// === impl Terms ===

impl Terms {
    /// Terms that declare nothing are those of best effort.
    pub(crate) fn from_wire(wire: v1::Terms) -> Option<Self> {
        let objective = wire.objective.filter(|objective| objective.latency_ms > 0.0);
        if wire.rate_hz == 0.0 && objective.is_none() && wire.priority == 0 {
            return None;
        }
        let quantile = objective.as_ref().and_then(|objective| match objective.statistic {
            Some(Statistic::Quantile(quantile)) => Some(quantile),
            _ => None,
        });
        Some(Self {
            excess: match wire.excess() {
                v1::Excess::BestEffort => "best-effort",
                v1::Excess::Refuse | v1::Excess::Unspecified => "refuse",
            },
            devices: wire.devices().map(kind).collect(),
            rate_hz: wire.rate_hz,
            burst: wire.burst,
            priority: wire.priority,
            latency_ms: objective.map(|objective| objective.latency_ms),
            quantile,
            batching: wire.batching.map(|batching| Batching {
                size_max: batching.size_max,
                delay_max_ms: batching.delay_max_ms,
            }),
        })
    }

    /// Whether a latency is guaranteed.
    pub(crate) fn is_guaranteed(&self) -> bool {
        self.rate_hz > 0.0 && self.latency_ms.is_some()
    }

    /// `p99 ≤ 50 ms`
    pub(crate) fn objective(&self) -> Option<String> {
        let latency_ms = format::short(self.latency_ms?);
        let statistic =
            self.quantile.map_or_else(|| "mean".to_owned(), |q| format!("p{}", (q * 1e6).round() / 1e4));
        Some(format!("{statistic} ≤ {latency_ms} ms"))
    }

    /// `20.0/s, p99 ≤ 50 ms, priority 2`
    pub(crate) fn text(&self) -> String {
        let rate = (self.rate_hz > 0.0).then(|| format!("{}/s", format::rate(self.rate_hz)));
        let priority = (self.priority > 0).then(|| format!("priority {}", self.priority));
        let parts: Vec<String> = [rate, self.objective(), priority].into_iter().flatten().collect();
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_read_as_what_was_promised() {
        let objective = v1::Objective { statistic: Some(Statistic::Quantile(0.99)), latency_ms: 50.0 };
        let terms = v1::Terms { rate_hz: 20.0, objective: Some(objective), ..Default::default() };
        let terms = Terms::from_wire(terms).unwrap();
        assert_eq!(terms.text(), "20.0/s, p99 ≤ 50 ms");
        assert!(terms.is_guaranteed());
        let objective = v1::Objective { statistic: Some(Statistic::Mean(true)), latency_ms: 5.0 };
        let terms = v1::Terms { rate_hz: 1.0, objective: Some(objective), priority: 2, ..Default::default() };
        assert_eq!(Terms::from_wire(terms).unwrap().text(), "1.0/s, mean ≤ 5 ms, priority 2");
        assert!(Terms::from_wire(v1::Terms { model: "m".into(), ..Default::default() }).is_none());
        let rate_alone = v1::Terms { rate_hz: 3.0, ..Default::default() };
        assert!(!Terms::from_wire(rate_alone).unwrap().is_guaranteed());
    }
}
