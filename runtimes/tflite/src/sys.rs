//! TensorFlow Lite by tflitec: a model that owns its bytes, an interpreter that owns its model.

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use edgemux_runtime_api::error::RunError;
use edgemux_tflite_common::instance::{self, Called, Take};
use self_cell::self_cell;
use tflitec::interpreter::{Interpreter, Options};
use tflitec::model::Model;
use tflitec::tensor::Shape;

unsafe extern "C" {
    safe fn TfLiteVersion() -> *const c_char;
}

/// The library's version.
pub(crate) fn version() -> String {
    // SAFETY: the library returns a string of its own that is never freed.
    unsafe { CStr::from_ptr(TfLiteVersion()) }.to_string_lossy().into_owned()
}

/// What requests compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threads {
    count: i32,
    xnnpack: bool,
}

impl Threads {
    /// `count` threads for a request, each lane with its own; 0 is one for each core.
    pub(crate) fn new(count: u32, xnnpack: bool) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let count = if count == 0 { cores() } else { count as usize };
        Self { count: i32::try_from(count).unwrap_or(i32::MAX), xnnpack }
    }

    /// The same threads without XNNPACK.
    pub(crate) fn plain(self) -> Self {
        Self { xnnpack: false, ..self }
    }

    pub(crate) fn with_xnnpack(self) -> bool {
        self.xnnpack
    }
}

self_cell! {
    /// A model and the bytes that it reads its weights from, in place.
    pub(crate) struct Graph {
        owner: Vec<u8>,
        #[covariant]
        dependent: Model,
    }
}

self_cell! {
    struct Running {
        owner: Arc<Graph>,
        #[covariant]
        dependent: Interpreter,
    }
}

/// Takes the bytes of a model file. The library checks that every offset in them leads to where it may.
pub(crate) fn graph(bytes: Vec<u8>) -> Called<Arc<Graph>> {
    Ok(Arc::new(Graph::try_new(bytes, |bytes| Model::from_bytes(bytes)).map_err(said)?))
}

/// One interpreter of a graph.
pub(crate) struct CpuInterpreter(Running);

impl CpuInterpreter {
    pub(crate) fn new(graph: &Arc<Graph>, threads: Threads) -> Called<Self> {
        let options = Options { thread_count: threads.count, is_xnnpack_enabled: threads.xnnpack };
        let running = Running::try_new(Arc::clone(graph), |graph| {
            Interpreter::new(graph.borrow_dependent(), Some(options))
        });
        Ok(Self(running.map_err(said)?))
    }
}

impl instance::Interpreter for CpuInterpreter {
    fn resize(&mut self, index: usize, shape: &[i32]) -> Called<()> {
        let shape = Shape::new(shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect());
        self.0.borrow_dependent().resize_input(index, shape).map_err(said)
    }

    fn allocate(&mut self) -> Called<()> {
        self.0.borrow_dependent().allocate_tensors().map_err(said)
    }

    fn write(&mut self, index: usize, bytes: &[u8]) -> Called<()> {
        self.0.borrow_dependent().copy(bytes, index).map_err(said)
    }

    fn invoke(&mut self) -> Called<u64> {
        // The binding has one error for whatever an operator finds wrong.
        self.0
            .borrow_dependent()
            .invoke()
            .map_err(|_| "an operator failed; what TensorFlow Lite said is in the worker's log".to_owned())?;
        Ok(0)
    }

    fn read(&self, index: usize, take: Take<'_>) -> Result<(), RunError> {
        let tensor = self.0.borrow_dependent().output(index).map_err(|error| {
            RunError::Failed(format!("output {index} cannot be read, or is empty: {}", said(error)))
        })?;
        let shape: Vec<_> = tensor.shape().dimensions().iter().map(|&dim| dim as i64).collect();
        take(&shape, tensor.data())
    }
}

fn said(error: tflitec::Error) -> String {
    error.to_string()
}
