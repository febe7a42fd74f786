//! A TorchScript model on a device, loaded and warmed up.

use std::ffi::CString;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edgemux_runtime_api::error::{LoadError, RunError};
use edgemux_runtime_api::runtime::{Instance, Memory, Model};
use edgemux_runtime_api::tensor::{Signature, TensorSpec, TensorView, byte_len};

use crate::instance::TorchInstance;
use crate::limits;
use crate::options::Options;
use crate::signature::Header;
use crate::sys::{self, Device, Failure, Module, TorchError};

/// Runs before a model is ready: libtorch watches the first, compiles in the second, and settles in the third.
const WARM_UP_RUNS: usize = 3;
/// A slow model is not run again after this; it has no small operations that fusing would make much faster.
const WARM_UP_TIME: Duration = Duration::from_secs(2);
/// Inputs longer than this in all are not made up.
const WARM_UP_BYTES_MAX: usize = 256 << 20;

pub(crate) struct TorchModel {
    // Dropped in this order: what the module held is free before it is given back.
    pub(crate) module: Module,
    trim: Trim,
    pub(crate) signature: Signature,
    /// Of the outputs.
    pub(crate) names: Vec<CString>,
    /// Held while a model runs that changes itself.
    pub(crate) alone: Option<Mutex<()>>,
    memory: Memory,
}

/// Gives a device's free memory back when it is dropped.
struct Trim(Device);

impl Drop for Trim {
    fn drop(&mut self) {
        self.0.trim();
    }
}

impl TorchModel {
    pub(crate) fn load(path: &Path, device: Device, options: &Options) -> Result<Arc<Self>, LoadError> {
        let file = path.display().to_string();
        let opened = open(path).map_err(|reason| LoadError::Read { file: file.clone(), reason })?;
        let invalid = |reason: String| LoadError::Invalid { file: file.clone(), reason };
        let header = Header::read(opened).map_err(invalid)?;
        let memory =
            |needed_bytes: u64, available_bytes: u64| LoadError::Memory { needed_bytes, available_bytes };
        let available = available_bytes(device);
        if header.weight_bytes > available {
            return Err(memory(header.weight_bytes, available));
        }

        let trim = Trim(device);
        let load = || {
            let module = Module::load(path, device, options.optimize)?;
            // Other lanes' streams must not read weights that are still on their way.
            device.check()?;
            Ok::<_, TorchError>(module)
        };
        let loaded = sys::metered(device, load).and_then(|(module, held, _)| Ok((module?, held)));
        let (module, held) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                leave_if_lost(device);
                return Err(match is_out_of_memory(&error) {
                    true => memory(header.weight_bytes, available_bytes(device)),
                    false => invalid(error.0),
                });
            }
        };
        let inputs = header.signature.inputs.len();
        let (least, most) = module.arguments();
        if !(least..=most).contains(&inputs) {
            return Err(invalid(format!(
                "its signature has {inputs} inputs, its forward takes {least} to {most}"
            )));
        }
        let names = header.signature.outputs.iter().map(|output| CString::new(output.name.as_str()));
        let names = names.collect::<Result<_, _>>().map_err(|error| invalid(error.to_string()))?;
        let alone = module.keeps_state().then(Mutex::default);
        let at_rest_bytes = held.max(header.weight_bytes);
        let mut model = Self {
            module,
            trim,
            signature: header.signature,
            names,
            alone,
            memory: Memory { at_rest_bytes, peak_bytes: 0 },
        };
        model.memory.peak_bytes = model.warm_up().map_err(invalid)?;
        // The threads that serve have streams of their own, and memory of their own on those.
        device.trim();
        Ok(Arc::new(model))
    }

    pub(crate) fn device(&self) -> Device {
        self.trim.0
    }

    /// Runs the model on zeros until libtorch has compiled what it will, and returns the most memory a run took. A model
    /// that fails on zeros may well take a client's inputs; one that answers with something else than its signature says
    /// is refused.
    fn warm_up(&self) -> Result<u64, String> {
        let Some(zeros) = Zeros::of(&self.signature) else { return Ok(0) };
        let views = zeros.views(&self.signature);
        let begun = Instant::now();
        let mut peak = 0;
        let mut staging = None;
        for _ in 0..WARM_UP_RUNS {
            let run = || self.infer(&mut staging, &views);
            let (ran, _, run_peak) = sys::metered(self.device(), run).map_err(|error| error.to_string())?;
            match ran {
                Ok(_) => peak = peak.max(run_peak),
                Err(Failure::Signature(what)) => return Err(what),
                Err(Failure::Torch(error)) => {
                    leave_if_lost(self.device());
                    eprintln!("edgemux-runtime-torch: a run on zeros failed, not warmed up: {error}");
                    return Ok(peak);
                }
            }
            if begun.elapsed() > WARM_UP_TIME {
                break;
            }
        }
        Ok(peak)
    }
}

impl Model for TorchModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> Memory {
        self.memory
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError> {
        TorchInstance::new(self).map(|instance| Box::new(instance) as Box<dyn Instance>)
    }
}

/// Opens a model file; opening a pipe or a device instead could wait for ever.
fn open(file: &Path) -> Result<File, String> {
    let metadata = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    File::open(file).map_err(|error| error.to_string())
}

/// Memory that a model can have on the device. Unknown is as much as can be: loading will tell.
fn available_bytes(device: Device) -> u64 {
    let known = match device {
        Device::Cpu => limits::available_bytes(),
        // What libtorch has taken and does not use is as good as free.
        Device::Cuda(_) => device
            .memory()
            .ok()
            .filter(|memory| memory.total > 0)
            .map(|memory| memory.free.saturating_add(memory.reserved.saturating_sub(memory.allocated))),
    };
    known.unwrap_or(u64::MAX)
}

/// libtorch tells this by words alone once TorchScript's interpreter has passed it on.
pub(crate) fn is_out_of_memory(error: &TorchError) -> bool {
    ["out of memory", "can't allocate memory", "bad_alloc"].iter().any(|words| error.0.contains(words))
}

/// A load has no way to say that the device is lost; without the worker, the daemon starts another.
fn leave_if_lost(device: Device) {
    if let Err(error) = device.check() {
        eprintln!("edgemux-runtime-torch: device lost: {error}");
        sys::leave(1);
    }
}

// === zeros ===

/// Inputs to warm up with: zeros, open dimensions being 1.
pub(crate) struct Zeros(Vec<(Vec<i64>, Vec<u8>)>);

impl Zeros {
    pub(crate) fn of(signature: &Signature) -> Option<Self> {
        let mut left = WARM_UP_BYTES_MAX;
        let zero = |spec: &TensorSpec| {
            let shape: Vec<_> = spec.shape.iter().map(|&dim| if dim < 0 { 1 } else { dim }).collect();
            let bytes = byte_len(spec.datatype, &shape)?;
            left = left.checked_sub(bytes)?;
            Some((shape, vec![0; bytes]))
        };
        signature.inputs.iter().map(zero).collect::<Option<_>>().map(Self)
    }

    pub(crate) fn views(&self, signature: &Signature) -> Vec<TensorView<'_>> {
        signature
            .inputs
            .iter()
            .zip(&self.0)
            .map(|(spec, (shape, bytes))| TensorView { datatype: spec.datatype, shape, bytes })
            .collect()
    }
}
