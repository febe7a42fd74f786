//! An emulated accelerator: a stand-in for hardware that is not there, in tests and trials.
//!
//! It computes nothing. It answers with its inputs, after the time and with the faults that a model file
//! (`model.emu.toml`) asks for, on a device that is shared as its options say: one request at a time, all at once at
//! equal shares of a processor, or at a total speed that grows with their number. Time goes by on the device's own clock
//! (its schedule), so that neither a late thread nor a busy machine changes what the device does.
//!
//! A model file, every table but `[[input]]`, `[[output]]` and `[service]` optional:
//!
//! ```toml
//! responses = 1               # 1 to 10000; above 1 a decoupled model: a part of the service time before each response
//! seed = 1                    # of its random numbers; from the file's text if absent
//! [[input]]
//! name = "INPUT0"
//! datatype = "FP32"
//! shape = [1024]              # -1 where each request chooses
//! [[output]]
//! name = "OUTPUT0"
//! datatype = "FP32"
//! shape = [1024]
//! [service]
//! mean-ms = 5.0               # 0 to 3600000
//! cv = 0.03                   # coefficient of variation, 0 to 10; 0 if absent
//! distribution = "lognormal"  # or "exponential", "deterministic"
//! [reload]                    # parameter caching, as an edgeTPU has it
//! overhead-ms = 15.0          # paid when another group's parameters are on the chip, or none; 0 to 3600000
//! on-chip-bytes = 4000000     # 0: pays nothing, still drops the parameters of others
//! group = "name"              # models compiled together
//! [memory]
//! at-rest-bytes = 1000000
//! peak-bytes = 200000
//! [[fault]]
//! kind = "slow-down"          # or "crash", "hang", "vanish", "fail", "load-crash"
//! after-requests = 100        # at the request with this number, the first after a load being 1; or
//! # probability = 0.01        # at any request
//! factor = 2.0                # slow-down only: above 0, up to 1000
//! requests = 50               # slow-down only: for so many requests; for good if absent
//! ```
//!
//! Device options (a JSON object, every key optional):
//!
//! | key | meaning |
//! |---|---|
//! | `sharing` | `exclusive` (first come, first served), `processor-sharing` or `speed-up` |
//! | `speed-up` | φ(1), φ(2), …: total speed with n in service; φ(1) = 1 and φ(n)/n never grows |
//! | `memory-bytes` | device memory for models at rest; no limit if absent |
//! | `seed` | changes every random number on this device; 0 if absent |
//! | `time-scale` | every time is multiplied by this: above 0, up to 1000 |

#![forbid(unsafe_code)]

mod device;
mod echo;
mod faults;
mod model_file;
mod options;
mod schedule;
mod service;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::runtime::{
    Cancel, Details, DeviceKind, DeviceSpec, Instance, Memory, Model, OnChip, Outputs, Probe, Runtime, Timing,
};
use edgemux_runtime_api::tensor::{Signature, TensorView};

use crate::device::Device;
use crate::faults::{FaultKind, Faults};
use crate::model_file::{ModelFile, Reload};
use crate::options::Options;
use crate::schedule::{Group, Work};
use crate::service::Draws;

const NAME: &str = "emulator";
const NS_PER_MS: f64 = 1e6;
/// A model file is a page of text; anything longer is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The emulated accelerator: a stand-in, no hardware.
#[derive(Debug)]
pub struct Emulator {
    device: Arc<Device>,
}

impl Runtime for Emulator {
    fn probe() -> Probe {
        Probe {
            runtime: NAME.into(),
            version: concat!(env!("CARGO_PKG_VERSION"), " (a stand-in, no hardware)").into(),
            formats: vec!["emu.toml".into()],
            devices: vec![DeviceKind::Gpu, DeviceKind::Edgetpu],
            problem: None,
        }
    }

    fn open(device: &DeviceSpec) -> Result<Self, OpenError> {
        if device.kind == DeviceKind::Cpu {
            // The processor is there: nothing needs to stand in for it.
            return Err(OpenError::Kind { runtime: NAME.into(), kind: device.kind.to_string() });
        }
        let options = Options::parse(&device.options).map_err(OpenError::Options)?;
        Ok(Self { device: Arc::new(Device::new(options)) })
    }

    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError> {
        let text = read(file)?;
        let invalid = |reason| LoadError::Invalid { file: file.display().to_string(), reason };
        let model_file = ModelFile::parse(&text).map_err(invalid)?;
        let seed = model_file.seed ^ self.device.options.seed.rotate_left(32);
        let faults = Faults::new(model_file.faults);
        if faults.strike_load(&mut Draws::new(seed, 0)) {
            crash("while it loads");
        }
        let memory = Memory {
            at_rest_bytes: model_file.memory.at_rest_bytes,
            peak_bytes: model_file.memory.peak_bytes,
        };
        self.device.allocate(memory.at_rest_bytes)?;
        // One file has one set of parameters, however often it is loaded.
        let own = format!("{}:{:x}", file.display(), number(&text));
        let group = |reload: &Reload| reload.group.clone().unwrap_or_else(|| own.clone());
        let (group, reload_ms) = match &model_file.reload {
            None => (None, 0.0),
            Some(reload) if reload.on_chip_bytes == 0 => (Some(group(reload)), 0.0),
            Some(reload) => (Some(group(reload)), reload.overhead_ms),
        };
        let on_chip = model_file.reload.as_ref().map(|reload| OnChip {
            cached_bytes: reload.on_chip_bytes,
            streamed_bytes: 0,
            group: group.as_deref().map(number),
        });
        Ok(Arc::new(EmulatedModel {
            on_chip,
            group: self.device.group(group.as_deref()),
            device: Arc::clone(&self.device),
            signature: model_file.signature,
            memory,
            responses: model_file.responses,
            service: model_file.service,
            reload_ns: reload_ms * NS_PER_MS,
            seed,
            faults,
            requests: AtomicU64::new(0),
        }))
    }
}

/// A group's number, which is the same in every worker.
fn number(group: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    group.hash(&mut hasher);
    hasher.finish()
}

fn read(file: &Path) -> Result<String, LoadError> {
    let name = file.display().to_string();
    let cannot_read = |reason: String| LoadError::Read { file: name.clone(), reason };
    let length = match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(cannot_read("it is not a regular file".into())),
        Err(error) => return Err(cannot_read(error.to_string())),
    };
    let invalid = |reason: String| LoadError::Invalid { file: name.clone(), reason };
    if length > FILE_BYTES_MAX {
        return Err(invalid(format!("{length} bytes are more than any model file has")));
    }
    let bytes = std::fs::read(file).map_err(|error| cannot_read(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))
}

/// Ends the process as a segmentation fault in a vendor's library would: at once, with no unwinding.
fn crash(when: &str) -> ! {
    eprintln!("emulator: crashing {when}, as the model file asks");
    std::process::abort()
}

// === the model ===

#[derive(Debug)]
struct EmulatedModel {
    device: Arc<Device>,
    signature: Signature,
    memory: Memory,
    on_chip: Option<OnChip>,
    responses: u32,
    service: service::Service,
    group: Group,
    reload_ns: f64,
    seed: u64,
    faults: Faults,
    requests: AtomicU64,
}

impl Model for EmulatedModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> Memory {
        self.memory
    }

    fn details(&self) -> Details {
        Details { on_chip: self.on_chip, ..Details::default() }
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError> {
        device::sleep_precisely();
        Ok(Box::new(EmulatedInstance { model: self, shape: Vec::new() }))
    }
}

impl Drop for EmulatedModel {
    fn drop(&mut self) {
        self.device.free(self.memory.at_rest_bytes);
    }
}

#[derive(Debug)]
struct EmulatedInstance {
    model: Arc<EmulatedModel>,
    shape: Vec<i64>,
}

impl Instance for EmulatedInstance {
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        cancel: &Cancel,
    ) -> Result<Timing, RunError> {
        let Self { model, shape } = self;
        let number = model.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let draws = &mut Draws::new(model.seed, number);
        let service_ns = model.service.draw_ns(draws);
        let fate = model.faults.strike(number, draws);
        let mut service_ns = service_ns * fate.slow_down;
        let (mut responses, mut cancel) = (model.responses, Some(cancel));
        match fate.struck_by {
            None | Some(FaultKind::SlowDown | FaultKind::LoadCrash) => {}
            Some(FaultKind::Crash) => crash(&format!("at request {number}")),
            Some(FaultKind::Vanish) => model.device.vanish(),
            Some(FaultKind::Fail) => {
                return Err(RunError::Failed(format!("request {number} fails, as the model file asks")));
            }
            Some(FaultKind::Hang) => (service_ns, responses, cancel) = (f64::INFINITY, 1, None),
        }

        let scale = model.device.options.time_scale;
        let service_ns = service_ns * scale;
        let visit = model.device.enter(Work {
            service_ns,
            group: model.group,
            reload_ns: model.reload_ns * scale,
        })?;
        let mut output_ns = 0;
        for response in 1..responses {
            let part_left = 1.0 - f64::from(response) / f64::from(responses);
            visit.until(service_ns * part_left, cancel)?;
            let begun = Instant::now();
            echo::echo(&model.signature, inputs, outputs, shape)?;
            outputs.next_response()?;
            output_ns += begun.elapsed().as_nanos() as u64;
        }
        let spent = visit.finish(cancel)?;
        let begun = Instant::now();
        echo::echo(&model.signature, inputs, outputs, shape)?;
        output_ns += begun.elapsed().as_nanos() as u64;
        // The device's time, not this thread's: waiting for others on the device is in neither figure.
        Ok(Timing {
            input_ns: 0,
            infer_ns: spent.service_ns as u64,
            reload_ns: spent.reload_ns as u64,
            output_ns,
        })
    }
}
