//! A model on the edgeTPU, its instances, and what they cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use edgefirst_tflite::{Interpreter, Library, Model as Graph};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{Cancel, Details, Instance, Memory, Model, OnChip, Outputs, Timing};
use edgemux_runtime_api::tensor::{Signature, TensorView};
use edgemux_tflite_common::file::{EDGETPU_OPERATOR, File};
use edgemux_tflite_common::instance::{self, Called, Shaped, Take};
use edgemux_tflite_common::signature::{quantization, signature};

use crate::chip::Chip;
use crate::library::{delegate, tensorflow_lite};
use crate::options::Options;
use crate::package::{Weights, on_chip, weights};
use crate::reload::{Cost, reload_ns};

/// An edgeTPU.
pub(crate) struct Device {
    pub(crate) options: Options,
    library: &'static Library,
    /// Of the processor, for operators that the edgeTPU has not.
    threads: i32,
    /// Held for as long as a run takes: an edgeTPU runs one at a time.
    chip: Mutex<Chip>,
    interpreters: AtomicU64,
}

impl Device {
    pub(crate) fn open(options: Options, threads: u32) -> Result<Self, String> {
        let library = tensorflow_lite(&options)?;
        // Opened here and now, so that it is known to be there.
        drop(delegate(&options)?);
        let threads = i32::try_from(threads.max(1)).unwrap_or(i32::MAX);
        Ok(Self { options, library, threads, chip: Mutex::default(), interpreters: AtomicU64::new(0) })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === the model ===

/// A model that is loaded.
pub(crate) struct EdgetpuModel {
    graph: Arc<Graph<'static>>,
    device: Arc<Device>,
    pub(crate) signature: Signature,
    operators: Arc<[Option<Weights>]>,
    cost: Arc<Mutex<Cost>>,
    on_chip: Option<OnChip>,
    parameters: Vec<(String, String)>,
    /// Made to see that it can be made; the first lane takes it.
    first: Mutex<Option<Ready>>,
}

type Ready = Shaped<TpuInterpreter>;

impl EdgetpuModel {
    pub(crate) fn load(bytes: Vec<u8>, device: Arc<Device>) -> Result<Self, String> {
        let file = File::parse(&bytes).map_err(|error| error.to_string())?;
        let operators: Arc<[_]> = weights(&file).into();
        if operators.is_empty() {
            return Err(
                "no part of it is compiled for an edgeTPU: compile it with edgetpu_compiler, or let runtime \
                        tflite run it on the processor"
                    .into(),
            );
        }
        let (signature, on_chip) = (signature(&file), on_chip(&operators));
        let mut parameters = quantization(&file);
        parameters.extend(described(&file, operators.len(), on_chip));
        let graph = Graph::from_bytes(device.library, bytes).map_err(|error| refused(&error.to_string()))?;
        let model = Self {
            graph: Arc::new(graph),
            device,
            signature,
            operators,
            cost: Arc::default(),
            on_chip,
            parameters,
            first: Mutex::default(),
        };
        *locked(&model.first) = Some(model.ready().map_err(|said| refused(&said))?);
        Ok(model)
    }

    fn ready(&self) -> Called<Ready> {
        Shaped::new(TpuInterpreter::new(self)?, &self.signature)
    }

    /// Measures what reloading its weights costs, by running it in turn with the last of `others` that takes the chip away
    /// from it, and what that one's cost.
    pub(crate) fn measure(&mut self, others: &[Arc<Self>]) {
        if !self.device.options.measure_reload {
            return;
        }
        let Some(mut mine) = locked(&self.first).take() else { return };
        let other = others.iter().rev().find(|other| !self.shares_the_chip_with(other));
        let other = other.and_then(|other| Some((other.ready().ok()?, &other.signature)));
        match reload_ns((&mut mine, &self.signature), other) {
            Ok(Some(ns)) => {
                let ms = format!("{:.3}", ns as f64 / 1e6);
                self.parameters.push(("edgetpu.reload_ms".into(), ms));
            }
            Ok(None) => {}
            // It may well run on a client's inputs.
            Err(error) => eprintln!("edgemux-runtime-edgetpu: reloading is not measured: {error}"),
        }
        *locked(&self.first) = Some(mine);
    }

    fn shares_the_chip_with(&self, other: &Self) -> bool {
        let group = |model: &Self| model.on_chip.and_then(|on_chip| on_chip.group);
        group(self).is_some() && group(self) == group(other)
    }
}

fn refused(said: &str) -> String {
    format!(
        "TensorFlow Lite with the edgeTPU's delegate refuses it: {said}. If the delegate took none of its {EDGETPU_OPERATOR}, it was \
         compiled for a newer runtime; what the libraries said is in the worker's log"
    )
}

/// What the compiled file says, as parameters of the model.
fn described(file: &File<'_>, operators: usize, on_chip: Option<OnChip>) -> Vec<(String, String)> {
    let others = file.builtin_operators + file.custom_operators.len() - operators;
    let mut all = vec![
        ("edgetpu.operators".to_owned(), operators.to_string()),
        ("edgetpu.operators_on_processor".to_owned(), others.to_string()),
    ];
    if let Some(OnChip { cached_bytes, streamed_bytes, group }) = on_chip {
        all.push(("edgetpu.cached_bytes".to_owned(), cached_bytes.to_string()));
        all.push(("edgetpu.streamed_bytes".to_owned(), streamed_bytes.to_string()));
        all.extend(group.map(|group| ("edgetpu.group".to_owned(), format!("{group:016x}"))));
    }
    all
}

impl Model for EdgetpuModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Nothing of the chip is held: what is cached there makes way for the next group.
    fn memory(&self) -> Memory {
        Memory::default()
    }

    fn details(&self) -> Details {
        Details { parameters: self.parameters.clone(), on_chip: self.on_chip }
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError> {
        let ready = locked(&self.first).take();
        Ok(Box::new(EdgetpuInstance { ready, model: self }))
    }
}

// === instances ===

/// A model as one lane runs it.
struct EdgetpuInstance {
    /// `None` before the first request of a later lane, and after a failure.
    ready: Option<Ready>,
    model: Arc<EdgetpuModel>,
}

impl Instance for EdgetpuInstance {
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        cancel: &Cancel,
    ) -> Result<Timing, RunError> {
        let mut interpreter = match self.ready.take() {
            Some(ready) => ready,
            None => {
                // After a failure this shows whether the device is still there.
                drop(delegate(&self.model.device.options).map_err(RunError::DeviceLost)?);
                self.model.ready().map_err(RunError::Failed)?
            }
        };
        let (ran, good) = interpreter.run(&self.model.signature, inputs, outputs, cancel);
        let good = good && !matches!(ran, Err(RunError::Failed(_)));
        self.ready = good.then_some(interpreter);
        ran
    }
}

/// An interpreter whose compiled operators run on the edgeTPU.
pub(crate) struct TpuInterpreter {
    interpreter: Interpreter<'static>,
    /// Its weights are read in place; they must be there for as long as the interpreter is.
    _graph: Arc<Graph<'static>>,
    device: Arc<Device>,
    operators: Arc<[Option<Weights>]>,
    cost: Arc<Mutex<Cost>>,
    number: u64,
}

impl TpuInterpreter {
    fn new(model: &EdgetpuModel) -> Called<Self> {
        let Device { options, library, threads, interpreters, .. } = &*model.device;
        let interpreter = Interpreter::builder(library)
            .map_err(|error| error.to_string())?
            .num_threads(*threads)
            .delegate(delegate(options)?)
            .build(&model.graph)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            interpreter,
            _graph: Arc::clone(&model.graph),
            device: Arc::clone(&model.device),
            operators: Arc::clone(&model.operators),
            cost: Arc::clone(&model.cost),
            number: interpreters.fetch_add(1, Ordering::Relaxed),
        })
    }
}

impl instance::Interpreter for TpuInterpreter {
    fn resize(&mut self, index: usize, shape: &[i32]) -> Called<()> {
        self.interpreter.resize_input(index, shape).map_err(|error| error.to_string())
    }

    fn allocate(&mut self) -> Called<()> {
        self.interpreter.allocate_tensors().map_err(|error| error.to_string())
    }

    fn write(&mut self, index: usize, bytes: &[u8]) -> Called<()> {
        let mut inputs = self.interpreter.inputs_mut().map_err(|error| error.to_string())?;
        let input = inputs.get_mut(index).ok_or("the interpreter has fewer inputs than the file")?;
        input.copy_from_bytes(bytes).map_err(|error| error.to_string())
    }

    fn invoke(&mut self) -> Called<u64> {
        let mut chip = locked(&self.device.chip);
        let reloads = chip.run(self.number, &self.operators);
        let begun = Instant::now();
        let ran = self.interpreter.invoke();
        let ns = begun.elapsed().as_nanos() as u64;
        if let Err(error) = ran {
            chip.forget();
            return Err(format!(
                "an operator failed ({error}); what the libraries said is in the worker's log"
            ));
        }
        Ok(locked(&self.cost).ran(ns, reloads))
    }

    fn read(&self, index: usize, take: Take<'_>) -> Result<(), RunError> {
        let failed = |error: edgefirst_tflite::Error| RunError::Failed(format!("output {index}: {error}"));
        let outputs = self.interpreter.outputs().map_err(failed)?;
        let output = outputs
            .get(index)
            .ok_or_else(|| RunError::Failed("the interpreter has fewer outputs than the file".into()))?;
        let shape = output.shape().map_err(failed)?;
        let shape: Vec<_> = shape.into_iter().map(|dim| dim as i64).collect();
        take(&shape, output.as_bytes().map_err(failed)?)
    }
}
