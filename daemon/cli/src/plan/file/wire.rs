//! The file as it is written: keys and types only. What the values mean is checked where they are converted, with the
//! place in the file that each of them remembers.

use serde::Deserialize;
use toml::Spanned;

/// A number with its place. Ranges are checked by the conversion.
pub(super) type Number = Spanned<f64>;
/// A whole number with its place.
pub(super) type Count = Spanned<i64>;
/// A word with its place.
pub(super) type Word = Spanned<String>;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct File {
    pub(super) host: Host,
    #[serde(default)]
    pub(super) device: Vec<Device>,
    #[serde(default)]
    pub(super) model: Vec<Model>,
    #[serde(default)]
    pub(super) application: Vec<Application>,
}

/// The processor.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Host {
    pub(super) cores: Count,
    pub(super) busy_cores: Option<Number>,
}

/// One accelerator.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Device {
    pub(super) name: Word,
    pub(super) kind: Kind,
    pub(super) multiplexing: Spanned<Multiplexing>,
    pub(super) memory_mb: Option<Number>,
    pub(super) on_chip_mb: Option<Number>,
    pub(super) speed_up: Option<Spanned<Vec<f64>>>,
    pub(super) width: Option<Count>,
    pub(super) quantum_ms: Option<Number>,
    pub(super) slicing: Option<Spanned<Slicing>>,
    pub(super) run_max: Option<Count>,
    pub(super) bus_mb_per_s: Option<Number>,
}

/// A model's costs, for each kind of device that can run it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Model {
    pub(super) name: Word,
    pub(super) edgetpu: Option<Cost>,
    pub(super) gpu: Option<Cost>,
    pub(super) cpu: Option<Cost>,
}

/// What a model costs on one kind of device.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Cost {
    pub(super) service_ms: Number,
    pub(super) service_cv: Option<Number>,
    pub(super) reload_ms: Option<Number>,
    pub(super) group: Option<Word>,
    pub(super) memory_mb: Option<Number>,
    pub(super) peak_mb: Option<Number>,
    pub(super) cpu_before_ms: Option<Number>,
    pub(super) cpu_after_ms: Option<Number>,
    pub(super) kb_moved: Option<Number>,
    pub(super) uncertainty: Option<Number>,
}

/// One application: a model and its terms.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Application {
    pub(super) name: Word,
    pub(super) model: Word,
    pub(super) rate_hz: Number,
    pub(super) burst: Option<Count>,
    pub(super) arrivals: Option<Spanned<Arrivals>>,
    pub(super) arrivals_cv2: Option<Number>,
    pub(super) latency_ms: Option<Number>,
    pub(super) quantile: Option<Number>,
    pub(super) priority: Option<Count>,
    pub(super) devices: Option<Vec<Kind>>,
    pub(super) device: Option<Word>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    EdgeTpu,
    Gpu,
    Cpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Multiplexing {
    Exclusive,
    TimeSliced,
    Concurrent,
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Slicing {
    Driver,
    RoundRobin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Arrivals {
    Poisson,
    Periodic,
}
