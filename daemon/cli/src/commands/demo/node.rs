//! The demo's node: its devices, its models, and who asks for a place.

use std::fs;
use std::io;
use std::path::Path;

use crate::commands::terms::TermsArgs;

/// An accelerator that keeps its models' time, and the processor. Decisions are to take seconds also on a small board, and
/// times that hardly vary need no long trial.
const CONFIGURATION: &str = "\
[admission]
simulated-requests = 200000

[calibration]
trial-requests = 8

[[device]]
name = 'gpu0'
kind = 'gpu'
runtimes = ['emulator']

[[device]]
name = 'cpu0'
kind = 'cpu'
runtimes = ['onnx']
threads = 1
";

/// One model of the demo and what it asks for.
#[derive(Debug)]
pub(super) struct Applicant {
    pub(super) name: &'static str,
    content: Content,
    pub(super) rate_hz: f64,
    pub(super) latency_ms: f64,
    pub(super) quantile: f64,
}

#[derive(Debug)]
enum Content {
    /// An architecture with random weights; see the folder's README.
    Onnx(&'static [u8]),
    /// Takes a time with this mean and this coefficient of variation.
    Emulated { mean_ms: f64, cv: f64 },
}

/// In the order in which they ask. The accelerator has room for two of three; the processor is hardly used, since it also
/// has to carry the daemon and the clients.
pub(super) const APPLICANTS: [Applicant; 5] = [
    Applicant {
        name: "detector",
        content: Content::Emulated { mean_ms: 5.0, cv: 0.05 },
        rate_hz: 50.0,
        // Many times what it takes: a busy machine holds up some of the few requests by which models are tried.
        latency_ms: 80.0,
        quantile: 0.99,
    },
    Applicant {
        name: "classifier",
        content: Content::Emulated { mean_ms: 10.0, cv: 0.05 },
        rate_hz: 15.0,
        latency_ms: 120.0,
        quantile: 0.99,
    },
    Applicant {
        name: "keywords",
        content: Content::Onnx(include_bytes!("../../../../../examples/models/keywords.onnx")),
        rate_hz: 20.0,
        latency_ms: 50.0,
        quantile: 0.95,
    },
    Applicant {
        name: "mobilenet_tiny",
        content: Content::Onnx(include_bytes!("../../../../../examples/models/mobilenet_tiny.onnx")),
        rate_hz: 10.0,
        latency_ms: 100.0,
        quantile: 0.95,
    },
    Applicant {
        name: LAST,
        content: Content::Emulated { mean_ms: 20.0, cv: 0.05 },
        rate_hz: 25.0,
        latency_ms: 200.0,
        quantile: 0.99,
    },
];

/// Requests that each may send at once: what a busy machine's hiccup holds up and then lets through is not to be policed.
const BURST: f64 = 200.0;

/// The emulated device.
pub(super) const GPU: &str = "gpu0";
/// The one for whom there is no room.
pub(super) const LAST: &str = "segmenter";

/// Writes the configuration and the model repository.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("edgemuxd.toml"), CONFIGURATION)?;
    for applicant in &APPLICANTS {
        let model = folder.join("models").join(applicant.name).join("1");
        fs::create_dir_all(&model)?;
        match applicant.content {
            Content::Onnx(content) => fs::write(model.join("model.onnx"), content)?,
            Content::Emulated { mean_ms, cv } => {
                fs::write(model.join("model.emu.toml"), emulated(mean_ms, cv))?;
            }
        }
    }
    Ok(())
}

fn emulated(mean_ms: f64, cv: f64) -> String {
    format!(
        "[[input]]\nname = 'INPUT0'\ndatatype = 'FP32'\nshape = [4]\n\
         [[output]]\nname = 'OUTPUT0'\ndatatype = 'FP32'\nshape = [4]\n\
         [service]\nmean-ms = {mean_ms:.1}\ncv = {cv}\n\
         [memory]\nat-rest-bytes = 8000000\n"
    )
}

// === impl Applicant ===

impl Applicant {
    pub(super) fn terms(&self) -> TermsArgs {
        TermsArgs::quantile(self.rate_hz, BURST, self.latency_ms, self.quantile)
    }

    /// As one would ask by hand.
    pub(super) fn command(&self) -> String {
        let Self { name, rate_hz, latency_ms, quantile, .. } = self;
        format!(
            "edgemux admit {name} --rate {rate_hz} --burst {BURST} --latency {latency_ms} --quantile {quantile}"
        )
    }
}
