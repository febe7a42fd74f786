//! Models compiled for a Coral edgeTPU, by TensorFlow Lite and libedgetpu's delegate.
//!
//! Neither library is linked: libedgetpu comes with the board, and the TensorFlow Lite that it was built for must be opened
//! with it. If the two do not fit, the process crashes, so
//!
//! * `--probe` only opens both libraries and asks for their versions;
//! * before a worker takes charge of a device, it lets a process of its own try (`trial`): a crash becomes a message.
//!
//! What the compiled model says of its weights is read from the file (`package`). Which weights are on the chip is
//! followed from run to run (`chip`), so that the time a reload took is told with the request that waited for it, and the
//! overhead is measured when a model is loaded, by running it in turn with another.
//!
//! An edgeTPU runs one request at a time and cannot be stopped in mid-run: cancelling has effect only on requests that have
//! not begun.

mod chip;
mod library;
mod model;
mod options;
mod package;
mod reload;
mod sys;
mod trial;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use edgemux_runtime_api::error::{LoadError, OpenError};
use edgemux_runtime_api::host;
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec, Model, Probe, Runtime};

use crate::model::{Device, EdgetpuModel};
use crate::options::Options;

const NAME: &str = "edgetpu";
/// The options under which this process opened a device.
static OPENED: OnceLock<Options> = OnceLock::new();

/// TensorFlow Lite with one edgeTPU.
pub struct Edgetpu {
    device: Arc<Device>,
    /// In the order in which they came; those that are gone are forgotten at the next load.
    models: Mutex<Vec<Weak<EdgetpuModel>>>,
}

impl Runtime for Edgetpu {
    fn probe() -> Probe {
        // Once a device is open, its options say where the libraries are.
        let options = OPENED.get().cloned().unwrap_or_default();
        let (version, problem) = match library::versions(&options) {
            Ok(version) => (version, None),
            Err(problem) => ("libedgetpu not opened".into(), Some(problem)),
        };
        let devices = if problem.is_none() { vec![DeviceKind::Edgetpu] } else { Vec::new() };
        Probe { runtime: NAME.into(), version, formats: vec!["tflite".into()], devices, problem }
    }

    fn open(device: &DeviceSpec) -> Result<Self, OpenError> {
        if device.kind != DeviceKind::Edgetpu {
            return Err(OpenError::Kind { runtime: NAME.into(), kind: device.kind.to_string() });
        }
        let options = Options::parse(&device.options)?;
        trial::pass(&device.options, options.trial_seconds).map_err(OpenError::Device)?;
        let device = Device::open(options, device.threads).map_err(OpenError::Device)?;
        OPENED.get_or_init(|| device.options.clone());
        Ok(Self { device: Arc::new(device), models: Mutex::default() })
    }

    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError> {
        let name = file.display().to_string();
        let bytes = edgemux_tflite_common::file::read(file)
            .map_err(|reason| LoadError::Read { file: name.clone(), reason })?;
        let model = EdgetpuModel::load(bytes, Arc::clone(&self.device))
            .map_err(|reason| LoadError::Invalid { file: name, reason })?;
        let mut model = Arc::new(model);
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|other| other.strong_count() > 0);
        if let Some(model) = Arc::get_mut(&mut model) {
            let others: Vec<_> = models.iter().filter_map(Weak::upgrade).collect();
            model.measure(&others);
        }
        models.push(Arc::downgrade(&model));
        Ok(model)
    }
}

/// The whole `main` of the worker.
///
/// # Errors
/// What ended it.
pub fn main(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    match arguments {
        [only, options] if only == trial::ARGUMENT => std::process::exit(trial::run(options)),
        _ => {
            trial::this_is_the_worker();
            host::main::<Edgetpu>(arguments)
        }
    }
}
