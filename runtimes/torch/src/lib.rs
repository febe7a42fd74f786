//! TorchScript models by libtorch, on CUDA and on the processor from one binary.
//!
//! A model file is what `torch.jit.save` writes, with one addition: TorchScript says nothing of the datatypes and shapes
//! that a model takes, so the archive must hold them in an extra file (`signature`). README.md shows how.
//!
//! * `cuda`: CUDA is looked for when the worker starts; a binary without it is the same binary;
//! * `model`, `instance`: loading, warming up, running;
//! * `lane`: one stream per lane, that is per request in service at once;
//! * `limits`: a model that allocates without end is to fail, not the machine.
//!
//! libtorch cannot be stopped in mid-run: cancelling has effect only on requests that have not begun.
#![cfg(feature = "libtorch")]

mod cuda;
mod instance;
mod lane;
mod limits;
mod model;
mod options;
mod signature;
mod sys;

use std::path::Path;
use std::sync::{Arc, Once};

use edgemux_runtime_api::error::{LoadError, OpenError};
use edgemux_runtime_api::host;
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec, Model, Probe, Runtime};

use crate::model::TorchModel;
use crate::options::Options;
use crate::sys::Device;

const NAME: &str = "torch";

/// libtorch on one device.
#[derive(Debug)]
pub struct Torch {
    device: Device,
    options: Options,
}

impl Runtime for Torch {
    fn probe() -> Probe {
        let (devices, problem) = match cuda::presence() {
            cuda::Presence::Usable => (vec![DeviceKind::Cpu, DeviceKind::Gpu], None),
            cuda::Presence::None => (vec![DeviceKind::Cpu], None),
            cuda::Presence::Broken(why) => (vec![DeviceKind::Cpu], Some(format!("gpu: {why}"))),
        };
        let version = format!("libtorch {}", sys::version());
        Probe { runtime: NAME.into(), version, formats: vec!["pt".into()], devices, problem }
    }

    fn open(device: &DeviceSpec) -> Result<Self, OpenError> {
        let options = Options::parse(&device.options)?;
        let torch = match device.kind {
            DeviceKind::Cpu => Self { device: Device::Cpu, options },
            // Before any other call of libtorch.
            DeviceKind::Gpu => {
                Self { device: cuda::open(options.index).map_err(OpenError::Device)?, options }
            }
            DeviceKind::Edgetpu => {
                return Err(OpenError::Kind { runtime: NAME.into(), kind: device.kind.to_string() });
            }
        };
        limits::apply(torch.device, options.memory_limit_mb);
        torch.tune(device.threads).map_err(|error| OpenError::Device(error.to_string()))?;
        torch.device.open().map_err(|error| OpenError::Device(error.to_string()))?;
        Ok(torch)
    }

    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError> {
        Ok(TorchModel::load(file, self.device, &self.options)?)
    }
}

impl Torch {
    fn tune(&self, threads: u32) -> Result<(), tch::TchError> {
        // One request uses one set of threads; requests run side by side in lanes, not within libtorch. It can be said
        // once in a process.
        static INTEROP: Once = Once::new();
        INTEROP.call_once(|| tch::set_num_interop_threads(1));
        if let Ok(threads @ 1..) = i32::try_from(threads) {
            tch::set_num_threads(threads);
        }
        tch::jit::f_set_tensor_expr_fuser_enabled(self.options.fuse && self.device.is_cuda())?;
        if self.device.is_cuda() {
            tch::Cuda::cudnn_set_benchmark(self.options.cudnn_benchmark);
        }
        Ok(())
    }
}

/// The whole `main` of the worker; does not return.
pub fn main(arguments: &[String]) -> ! {
    if matches!(arguments, [only] if only == "--probe") {
        // This process is for finding out: whatever CUDA's libraries do when they are opened, they do it here.
        cuda::look();
    }
    let status = match host::main::<Torch>(arguments) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("edgemux-runtime-torch: {error}");
            1
        }
    };
    sys::leave(status)
}
