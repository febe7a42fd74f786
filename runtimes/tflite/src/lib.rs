//! TensorFlow Lite models on the processor by tflitec, with XNNPACK.
//!
//! Floating point and integers alike: tensors are what the file declares, and what an integer is worth is shown among the
//! model's parameters, for clients to convert by. Models with open dimensions run on any size of them; where a request
//! changes the shape, tensors are allocated anew, so clients do well to keep to few shapes.
//!
//! TensorFlow Lite cannot be stopped in mid-run through this binding: cancelling has effect only on requests that have not
//! begun. A model that keeps state in variables keeps it per lane.
#![cfg(feature = "libtensorflowlite")]

mod model;
mod options;
mod sys;

use std::path::Path;
use std::sync::Arc;

use edgemux_runtime_api::error::{LoadError, OpenError};
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec, Model, Probe, Runtime};

use crate::model::TfliteModel;
use crate::options::Options;
use crate::sys::Threads;

const NAME: &str = "tflite";

/// TensorFlow Lite on the processor's cores.
#[derive(Debug)]
pub struct Tflite {
    threads: Threads,
}

impl Runtime for Tflite {
    fn probe() -> Probe {
        Probe {
            runtime: NAME.into(),
            version: format!("TensorFlow Lite {}", sys::version()),
            formats: vec!["tflite".into()],
            devices: vec![DeviceKind::Cpu],
            problem: None,
        }
    }

    fn open(device: &DeviceSpec) -> Result<Self, OpenError> {
        if device.kind != DeviceKind::Cpu {
            return Err(OpenError::Kind { runtime: NAME.into(), kind: device.kind.to_string() });
        }
        let options = Options::parse(&device.options)?;
        Ok(Self { threads: Threads::new(device.threads, options.xnnpack) })
    }

    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError> {
        let name = file.display().to_string();
        let bytes = edgemux_tflite_common::file::read(file)
            .map_err(|reason| LoadError::Read { file: name.clone(), reason })?;
        match TfliteModel::load(bytes, self.threads) {
            Ok(model) => Ok(Arc::new(model)),
            Err(reason) => Err(LoadError::Invalid { file: name, reason }),
        }
    }
}
