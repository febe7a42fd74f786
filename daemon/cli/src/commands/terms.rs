//! The options that declare a session's terms.

use std::collections::BTreeMap;

use clap::ValueEnum;
use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::objective::Statistic;
use edgemux_proto::inference::ModelRepositoryParameter;
use edgemux_proto::inference::model_repository_parameter::ParameterChoice;

use super::values;

const TERMS: &str = "Terms";

/// Terms; none of them given is best effort.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct TermsArgs {
    /// The rate at which requests will come, per second: above 0, at most 1000000
    #[arg(long, visible_alias = "rate", value_name = "HZ", help_heading = TERMS, value_parser = values::rate, allow_negative_numbers = true)]
    rate_hz: Option<f64>,
    /// The latency to keep, queueing included, in milliseconds: above 0
    #[arg(long, visible_alias = "latency", value_name = "MS", help_heading = TERMS, value_parser = values::positive, allow_negative_numbers = true, requires = "rate_hz")]
    latency_ms: Option<f64>,
    /// The part of requests that must keep it, between 0 and 1: 0.99 is the p99
    #[arg(long, value_name = "Q", help_heading = TERMS, value_parser = values::quantile, allow_negative_numbers = true, requires = "latency_ms")]
    quantile: Option<f64>,
    /// The mean must keep it; this is so without --quantile
    #[arg(long, help_heading = TERMS, requires = "latency_ms", conflicts_with = "quantile")]
    mean: bool,
    /// How many requests may come at once without breaking the declared rate: at least 1 [default: the daemon's]
    #[arg(long, value_name = "N", help_heading = TERMS, value_parser = values::burst, allow_negative_numbers = true, requires = "rate_hz")]
    burst: Option<f64>,
    /// 0 is the default; 1 is served first, larger numbers later
    #[arg(long, value_name = "N", help_heading = TERMS)]
    priority: Option<u32>,
    /// What becomes of requests beyond rate and burst [default: refuse]
    #[arg(long, value_enum, value_name = "WHAT", help_heading = TERMS, requires = "rate_hz")]
    excess: Option<Excess>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Excess {
    /// They are refused, with the time after which to try again
    Refuse,
    /// They run when no request within its terms waits
    BestEffort,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DeviceKind {
    Cpu,
    Gpu,
    Edgetpu,
}

// === impl TermsArgs ===

impl TermsArgs {
    /// A quantile of latency at this rate.
    pub(super) fn quantile(rate_hz: f64, burst: f64, latency_ms: f64, quantile: f64) -> Self {
        let (rate_hz, burst, latency_ms) = (Some(rate_hz), Some(burst), Some(latency_ms));
        Self { rate_hz, burst, latency_ms, quantile: Some(quantile), ..Self::default() }
    }

    /// Whether a latency is asked for; anything else runs in what the guaranteed sessions leave.
    pub(super) fn is_guaranteed(&self) -> bool {
        self.latency_ms.is_some()
    }

    /// As `Admission` takes them.
    pub(super) fn wire(&self, model: &str, version: &str, kinds: &[DeviceKind]) -> v1::Terms {
        let objective = self.latency_ms.map(|latency_ms| v1::Objective {
            statistic: Some(self.quantile.map_or(Statistic::Mean(true), Statistic::Quantile)),
            latency_ms,
        });
        v1::Terms {
            model: model.to_owned(),
            version: version.to_owned(),
            rate_hz: self.rate_hz.unwrap_or_default(),
            burst: self.burst.unwrap_or_default(),
            objective,
            priority: self.priority.unwrap_or_default(),
            devices: kinds.iter().map(|kind| kind.wire().into()).collect(),
            excess: match self.excess {
                None => v1::Excess::Unspecified,
                Some(Excess::Refuse) => v1::Excess::Refuse,
                Some(Excess::BestEffort) => v1::Excess::BestEffort,
            }
            .into(),
            batching: None,
        }
    }

    /// As a load takes them. Its parameters know no floating point: such values travel as text.
    pub(super) fn parameters(&self, version: Option<&str>) -> BTreeMap<String, ModelRepositoryParameter> {
        let text = |value: &str| ParameterChoice::StringParam(value.to_owned());
        let number = |value: f64| ParameterChoice::StringParam(value.to_string());
        let excess = |excess: Excess| match excess {
            Excess::Refuse => text("refuse"),
            Excess::BestEffort => text("best-effort"),
        };
        let parameters = [
            ("version", version.map(text)),
            ("rate_hz", self.rate_hz.map(number)),
            ("latency_ms", self.latency_ms.map(number)),
            ("quantile", if self.mean { Some(text("mean")) } else { self.quantile.map(number) }),
            ("burst", self.burst.map(number)),
            ("priority", self.priority.map(|value| ParameterChoice::Int64Param(value.into()))),
            ("excess", self.excess.map(excess)),
        ];
        let given = parameters.into_iter().filter(|(_, choice)| choice.is_some());
        given
            .map(|(name, parameter_choice)| (name.to_owned(), ModelRepositoryParameter { parameter_choice }))
            .collect()
    }
}

// === impl DeviceKind ===

impl DeviceKind {
    fn wire(self) -> v1::DeviceKind {
        match self {
            Self::Cpu => v1::DeviceKind::Cpu,
            Self::Gpu => v1::DeviceKind::Gpu,
            Self::Edgetpu => v1::DeviceKind::Edgetpu,
        }
    }
}
