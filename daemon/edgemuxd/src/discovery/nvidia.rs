//! NVIDIA GPUs with memory of their own, by the driver's management library, which is loaded at run time.
//!
//! No driver is the normal case on most nodes. A GPU that falls off the bus says so from then on; one that comes back is
//! seen only by a library that begins anew, which takes its time and so is not done at every look.

use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::permission::denied;
use super::source::{Gpu, Source};
use super::tree::Tree;
use super::{Absent, Found, Memory, Reading};

const LIBRARY: &str = "libnvidia-ml.so.1";
/// What CUDA opens besides the board's own node. They are made when they are first needed.
const NODES: [&str; 2] = ["dev/nvidiactl", "dev/nvidia-uvm"];
/// How often the library is begun anew while it does not show what is looked for.
const ANEW_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Nvidia {
    library: OsString,
    tree: Tree,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nvml: Option<Nvml>,
    begun: Option<Instant>,
    /// Why there is none.
    problem: String,
}

impl Nvidia {
    /// Nothing is loaded before it is asked for.
    pub(super) fn new(tree: &Tree) -> Self {
        let library = match tree.is_real() {
            true => LIBRARY.into(),
            false => tree.path(&format!("usr/lib/{LIBRARY}")).into(),
        };
        Self { library, tree: tree.clone(), state: Mutex::default() }
    }

    pub(super) fn all(&self) -> Result<Vec<Found>, Absent> {
        let mut state = self.lock();
        let nvml = state.begun(&self.library)?;
        let count = nvml.device_count().map_err(|error| Absent::Driver(error.to_string()))?;
        let found = (0..count).map(|index| {
            let lost = |error| Absent::Gpu { gpu: index.to_string(), why: problem(&error) };
            found(&self.tree, nvml, &nvml.device_by_index(index).map_err(lost)?, Some(index)).map_err(lost)
        });
        Ok(found.filter_map(Result::ok).collect())
    }

    pub(super) fn find(&self, gpu: &Gpu) -> Result<Found, Absent> {
        let mut state = self.lock();
        let looked = {
            let nvml = state.begun(&self.library)?;
            let device = match gpu {
                Gpu::Index(index) => nvml.device_by_index(*index),
                Gpu::Uuid(uuid) => nvml.device_by_uuid(uuid.as_str()),
            };
            device.and_then(|device| {
                let index = device.index().ok();
                found(&self.tree, nvml, &device, index)
            })
        };
        looked.map_err(|error| {
            if state.begun.is_none_or(|begun| begun.elapsed() > ANEW_EVERY) {
                state.nvml = None;
            }
            let gpu = match gpu {
                Gpu::Index(index) => index.to_string(),
                Gpu::Uuid(uuid) => uuid.clone(),
            };
            Absent::Gpu { gpu, why: problem(&error) }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begun(&mut self, library: &OsString) -> Result<&Nvml, Absent> {
        if self.nvml.is_none() && self.begun.is_none_or(|begun| begun.elapsed() > ANEW_EVERY) {
            self.begun = Some(Instant::now());
            match Nvml::builder().lib_path(library).init() {
                Ok(nvml) => self.nvml = Some(nvml),
                Err(error) => self.problem = problem(&error),
            }
        }
        self.nvml.as_ref().ok_or_else(|| Absent::Driver(self.problem.clone()))
    }
}

fn problem(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(error) => error.to_string(),
        NvmlError::InvalidArg | NvmlError::NotFound => "the driver knows no such GPU".to_owned(),
        error => error.to_string(),
    }
}

/// An error is a GPU that is gone.
fn found(tree: &Tree, nvml: &Nvml, device: &Device<'_>, index: Option<u32>) -> Result<Found, NvmlError> {
    let own = device.minor_number().map(|number| format!("dev/nvidia{number}")).ok();
    let nodes = NODES.into_iter().chain(own.as_deref()).filter(|node| tree.exists(node));
    let nodes: Vec<_> = nodes.collect();
    let (problem, remedy) = denied(tree, &nodes).map(|found| (found.what, found.remedy)).unzip();
    let temperature_c = shown(device.temperature(TemperatureSensor::Gpu))?.map(f64::from);
    // What has to do with graphics is off on some boards; all have multiprocessors.
    let clock_mhz = shown(device.clock_info(Clock::SM))?.map(f64::from);
    let limit_mw = shown(device.power_management_limit())?;
    let memory = shown(device.memory_info())?;
    Ok(Found {
        source: Source::Nvidia(Gpu::Uuid(device.uuid()?)),
        index: index.map(|index| Source::Nvidia(Gpu::Index(index))),
        name: shown(device.name())?.unwrap_or_else(|| "NVIDIA GPU".to_owned()),
        driver: nvml.sys_driver_version().ok(),
        firmware_loaded: None,
        plugged: None,
        problem,
        remedy,
        reading: Reading {
            temperature_c,
            clock_mhz,
            // The state of performance moves with the load, and the limit that is enforced may move with what else draws
            // power; this one is what an operator sets.
            power_mode: limit_mw.map(|limit| format!("{}W", (f64::from(limit) / 1e3).round())),
            memory: memory.map(|memory| Memory {
                total_bytes: memory.total,
                used_bytes: memory.used,
                for_models_bytes: Some(memory.total.saturating_sub(memory.reserved)),
            }),
        },
    })
}

/// What a board does not show is no error, unless the board is gone.
fn shown<T>(result: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(NvmlError::NotSupported | NvmlError::NoPermission | NvmlError::FailedToLoadSymbol(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
