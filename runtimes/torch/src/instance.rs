//! Running requests.
//!
//! On the processor a model reads its inputs where the daemon put them, unless it would change them. On CUDA they go
//! through pinned memory; each step follows the one before on the lane's stream, and the host waits once, at the end.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{Cancel, Instance, Outputs, Timing};
use edgemux_runtime_api::tensor::{DataType, TensorSpec, TensorView};
use tch::Tensor;

use crate::lane;
use crate::model::{TorchModel, Zeros, is_out_of_memory};
use crate::signature::kind;
use crate::sys::{self, Device, Failure, Mark, Pinned, TorchError};

/// Inputs are read in place where they begin at such an address: some of libtorch's kernels ask for it.
const ALIGNMENT: usize = 64;
/// Runs on each lane before its first request, where libraries set themselves up per thread.
const LANE_WARM_UP_RUNS: usize = 2;

/// A model as one lane runs it.
pub(crate) struct TorchInstance {
    model: Arc<TorchModel>,
    staging: Option<Pinned>,
}

impl TorchInstance {
    /// On the lane's thread.
    pub(crate) fn new(model: Arc<TorchModel>) -> Result<Self, RunError> {
        let mut instance = Self { model, staging: None };
        if instance.model.device().is_cuda()
            && let Some(zeros) = Zeros::of(&instance.model.signature)
        {
            let views = zeros.views(&instance.model.signature);
            for _ in 0..LANE_WARM_UP_RUNS {
                match instance.model.infer(&mut instance.staging, &views) {
                    Ok(_) => {}
                    Err(failure) => match instance.model.blame(failure) {
                        lost @ RunError::DeviceLost(_) => {
                            // Pinned memory cannot be given back on a broken device: trying ends the process.
                            std::mem::forget(instance);
                            return Err(lost);
                        }
                        // A client's inputs may do better than zeros.
                        _ => break,
                    },
                }
            }
        }
        Ok(instance)
    }
}

impl Instance for TorchInstance {
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        cancel: &Cancel,
    ) -> Result<Timing, RunError> {
        if cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let model = &self.model;
        if inputs.len() != model.signature.inputs.len() {
            return Err(RunError::Inputs("another number of inputs than the model's".into()));
        }
        for (spec, view) in model.signature.inputs.iter().zip(inputs) {
            if view.datatype == DataType::Bool && view.bytes.iter().any(|&byte| byte > 1) {
                return Err(RunError::Inputs(format!("input {:?} is BOOL, but not all 0 and 1", spec.name)));
            }
        }
        let (tensors, mut timing) =
            model.infer(&mut self.staging, inputs).map_err(|failure| model.blame(failure))?;
        let copying = Instant::now();
        for (index, tensor) in tensors.iter().enumerate() {
            let bytes = tensor.numel() * model.signature.outputs[index].datatype.size().unwrap_or(0);
            if let Some(buffer) = outputs.buffer(index, &tensor.size(), bytes)? {
                sys::copy_out(tensor, buffer).map_err(|error| RunError::Failed(error.to_string()))?;
            }
        }
        timing.output_ns += copying.elapsed().as_nanos() as u64;
        Ok(timing)
    }
}

impl TorchModel {
    /// Runs the model; its outputs are on the host and fit the signature.
    pub(crate) fn infer(
        &self,
        staging: &mut Option<Pinned>,
        inputs: &[TensorView<'_>],
    ) -> Result<(Vec<Tensor>, Timing), Failure> {
        let _no_grad = tch::no_grad_guard();
        let _alone = self.alone.as_ref().map(|alone| alone.lock().unwrap_or_else(PoisonError::into_inner));
        let (tensors, timing) = match self.device() {
            Device::Cpu => self.infer_on_cpu(inputs)?,
            device @ Device::Cuda(_) => self.infer_on_cuda(device, staging, inputs)?,
        };
        for (spec, tensor) in self.signature.outputs.iter().zip(&tensors) {
            check(spec, tensor)?;
        }
        Ok((tensors, timing))
    }

    fn infer_on_cpu(&self, inputs: &[TensorView<'_>]) -> Result<(Vec<Tensor>, Timing), Failure> {
        lane::stream(Device::Cpu)?;
        let begun = Instant::now();
        let mut tensors = Vec::with_capacity(inputs.len());
        for (index, view) in inputs.iter().enumerate() {
            let kind = element_kind(view)?;
            let in_place = self.module.reads_only(index) && view.bytes.as_ptr().addr() % ALIGNMENT == 0;
            tensors.push(if in_place {
                // SAFETY: the model neither writes to this input nor keeps hold of it (`reads_only`); an output that shares
                // its memory is copied out before the request, and with it the view, is over.
                unsafe { sys::over(view.bytes, view.shape, kind) }?
            } else {
                Tensor::f_from_data_size(view.bytes, view.shape, kind)?
            });
        }
        let ready = Instant::now();
        let outputs = self.module.forward(&tensors, &self.names)?;
        let timing = Timing {
            input_ns: (ready - begun).as_nanos() as u64,
            infer_ns: ready.elapsed().as_nanos() as u64,
            reload_ns: 0,
            output_ns: 0,
        };
        Ok((outputs, timing))
    }

    fn infer_on_cuda(
        &self,
        device: Device,
        staging: &mut Option<Pinned>,
        inputs: &[TensorView<'_>],
    ) -> Result<(Vec<Tensor>, Timing), Failure> {
        let stream = lane::stream(device)?;
        let pinned = pinned(staging, inputs)?;
        let on_device = device.for_tch();
        stream.mark(Mark::Begun)?;
        let mut tensors = Vec::with_capacity(inputs.len());
        let mut offset = 0;
        for view in inputs {
            let kind = element_kind(view)?;
            let staged = pinned.put(offset, view.bytes, view.shape, kind)?;
            tensors.push(staged.f_to_device_(on_device, kind, true, true)?);
            offset += view.bytes.len().next_multiple_of(ALIGNMENT);
        }
        stream.mark(Mark::InputsThere)?;
        let outputs = self.module.forward(&tensors, &self.names)?;
        stream.mark(Mark::Run)?;
        // Into pinned memory of libtorch's own, without waiting.
        let outputs = outputs
            .iter()
            .map(|output| output.f_to_device_(tch::Device::Cpu, output.f_kind()?, true, false))
            .collect::<Result<Vec<_>, _>>()?;
        stream.mark(Mark::OutputsBack)?;
        if let Err(broken) = stream.wait(Mark::OutputsBack) {
            // Pinned memory cannot be given back on a broken device: trying ends the process, which has yet to answer.
            std::mem::forget(outputs);
            return Err(broken.into());
        }
        let timing = Timing {
            input_ns: stream.elapsed_ns(Mark::Begun, Mark::InputsThere)?,
            infer_ns: stream.elapsed_ns(Mark::InputsThere, Mark::Run)?,
            reload_ns: 0,
            output_ns: stream.elapsed_ns(Mark::Run, Mark::OutputsBack)?,
        };
        Ok((outputs, timing))
    }

    /// What a failure means for the worker. An error on CUDA is either the model's, or the end of this process's use of
    /// the device: then every call fails from now on, and asking again tells.
    pub(crate) fn blame(&self, failure: Failure) -> RunError {
        let device = self.device();
        if let Err(error) = device.check() {
            return RunError::DeviceLost(error.to_string());
        }
        if matches!(&failure, Failure::Torch(error) if is_out_of_memory(error)) {
            // What this model took and no longer uses is for the others.
            device.trim();
        }
        RunError::Failed(failure.to_string())
    }
}

fn element_kind(view: &TensorView<'_>) -> Result<tch::Kind, TorchError> {
    kind(view.datatype).ok_or_else(|| TorchError(format!("{} is no datatype of libtorch's", view.datatype)))
}

/// Pinned memory for all inputs, kept from one request to the next.
fn pinned<'a>(
    staging: &'a mut Option<Pinned>,
    inputs: &[TensorView<'_>],
) -> Result<&'a mut Pinned, TorchError> {
    let needed: usize = inputs.iter().map(|view| view.bytes.len().next_multiple_of(ALIGNMENT)).sum();
    match staging {
        Some(pinned) if pinned.len() >= needed => {}
        _ => {
            // First give the old one back.
            *staging = None;
            *staging = Some(Pinned::new(needed.next_power_of_two())?);
        }
    }
    staging.as_mut().ok_or_else(|| TorchError("no staging memory".into()))
}

fn check(spec: &TensorSpec, tensor: &Tensor) -> Result<(), Failure> {
    let (is, shape) = (tensor.f_kind()?, tensor.size());
    if Some(is) == kind(spec.datatype) && spec.accepts(&shape) {
        return Ok(());
    }
    Err(Failure::Signature(format!(
        "output {:?} is {is:?} of shape {shape:?}, its signature says {} of shape {:?}",
        spec.name, spec.datatype, spec.shape
    )))
}
