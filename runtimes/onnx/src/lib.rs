//! ONNX models on the processor by rten, in pure Rust: the runtime that is there on every machine.
//!
//! Datatypes are those that the file declares. rten computes INT64 and BOOL as 32-bit integers, so such tensors are
//! converted on the way; an INT64 element that does not fit 32 bits is refused, never cut. INT64 constants *within* a
//! model are cut by rten to the nearest 32-bit integer.
//!
//! rten cannot be stopped in mid-run: cancelling has effect only on requests that have not begun.

#![forbid(unsafe_code)]

mod convert;
mod header;
mod signature;

use std::cell::RefCell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::runtime::{
    Cancel, DeviceKind, DeviceSpec, Instance, Memory, Model, Outputs, Probe, Runtime, Timing,
};
use edgemux_runtime_api::tensor::{Signature, TensorView};
use rten::{ModelOptions, RunErrorKind, RunOptions, ThreadPool};
use rten_tensor::Layout;

use crate::header::Header;

const NAME: &str = "onnx";
/// Of the library; it offers no way to ask.
const RTEN_VERSION: &str = "rten 0.27";

/// rten on the processor's cores.
#[derive(Debug)]
pub struct Onnx {
    threads: u32,
}

impl Runtime for Onnx {
    fn probe() -> Probe {
        Probe {
            runtime: NAME.into(),
            version: RTEN_VERSION.into(),
            formats: vec!["onnx".into()],
            devices: vec![DeviceKind::Cpu],
            problem: None,
        }
    }

    fn open(device: &DeviceSpec) -> Result<Self, OpenError> {
        if device.kind != DeviceKind::Cpu {
            return Err(OpenError::Kind { runtime: NAME.into(), kind: device.kind.to_string() });
        }
        if !matches!(device.options.trim(), "" | "{}") {
            return Err(OpenError::Options(format!("runtime {NAME} has no options")));
        }
        Ok(Self { threads: device.threads })
    }

    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError> {
        let name = file.display().to_string();
        let (opened, file_bytes) =
            open(file).map_err(|reason| LoadError::Read { file: name.clone(), reason })?;
        let load = || OnnxModel::load(file, opened, file_bytes, self.threads);
        // rten means not to panic over a broken file; a model must not be the first to show otherwise.
        let loaded =
            catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| Err("rten panicked over it".into()));
        match loaded {
            Ok(model) => Ok(Arc::new(model)),
            Err(reason) => Err(LoadError::Invalid { file: name, reason }),
        }
    }
}

/// Opens a model file; opening a pipe or a device instead could wait for ever.
fn open(file: &Path) -> Result<(File, u64), String> {
    let metadata = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    Ok((File::open(file).map_err(|error| error.to_string())?, metadata.len()))
}

// === the model ===

struct OnnxModel {
    model: rten::Model,
    signature: Signature,
    memory: Memory,
    threads: u32,
}

impl OnnxModel {
    fn load(path: &Path, opened: File, file_bytes: u64, threads: u32) -> Result<Self, String> {
        let header = Header::read(opened, file_bytes)?;
        let model = ModelOptions::with_all_ops().load_file(path).map_err(|error| error.to_string())?;
        let signature = signature::signature(&header, &model)?;
        // A bound: weights are kept as they lie in the file, except half-precision ones, which become FP32. What a run
        // needs on top depends on its shapes and comes from the process's heap, so it is not claimed.
        let in_files = file_bytes.saturating_add(header.external_bytes);
        let as_fp32 = (model.total_params() as u64).saturating_mul(4);
        let memory = Memory { at_rest_bytes: in_files.max(as_fp32), peak_bytes: 0 };
        Ok(Self { model, signature, memory, threads })
    }
}

impl Model for OnnxModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> Memory {
        self.memory
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError> {
        let pool = lane_pool(self.threads);
        Ok(Box::new(OnnxInstance { model: self, pool }))
    }
}

/// The threads that requests on this lane compute with; its models share them, since a lane runs one request at a time.
/// `None` is rten's own pool, one thread for each core, shared by all lanes.
fn lane_pool(threads: u32) -> Option<Arc<ThreadPool>> {
    thread_local! {
        static POOL: RefCell<Option<(u32, Arc<ThreadPool>)>> = const { RefCell::new(None) };
    }
    if threads == 0 {
        return None;
    }
    POOL.with_borrow_mut(|pool| match pool {
        Some((there, pool)) if *there == threads => Some(Arc::clone(pool)),
        _ => {
            let new = Arc::new(ThreadPool::with_num_threads(threads as usize));
            *pool = Some((threads, Arc::clone(&new)));
            Some(new)
        }
    })
}

struct OnnxInstance {
    model: Arc<OnnxModel>,
    pool: Option<Arc<ThreadPool>>,
}

impl Instance for OnnxInstance {
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        cancel: &Cancel,
    ) -> Result<Timing, RunError> {
        if cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let OnnxModel { model, signature, .. } = &*self.model;
        if inputs.len() != signature.inputs.len() {
            return Err(RunError::Inputs("another number of inputs than the model's".into()));
        }
        let begun = Instant::now();
        let values = signature
            .inputs
            .iter()
            .zip(inputs)
            .zip(model.input_ids())
            .map(|((spec, view), &id)| Ok((id, convert::input(spec, view)?)))
            .collect::<Result<Vec<_>, RunError>>()?;

        let ready = Instant::now();
        let options = RunOptions::default().with_thread_pool(self.pool.clone());
        let values =
            model.run(values, model.output_ids(), Some(options)).map_err(|error| match error.kind() {
                RunErrorKind::InvalidInput => RunError::Inputs(error.to_string()),
                _ => RunError::Failed(error.to_string()),
            })?;

        let done = Instant::now();
        let mut shape = Vec::new();
        for (index, (spec, value)) in signature.outputs.iter().zip(&values).enumerate() {
            shape.clear();
            shape.extend(value.shape().iter().map(|&dim| dim as i64));
            if let Some(buffer) = outputs.buffer(index, &shape, convert::output_bytes(spec, value))? {
                convert::output(spec, value, buffer)?;
            }
        }
        Ok(Timing {
            input_ns: (ready - begun).as_nanos() as u64,
            infer_ns: (done - ready).as_nanos() as u64,
            reload_ns: 0,
            output_ns: done.elapsed().as_nanos() as u64,
        })
    }
}
