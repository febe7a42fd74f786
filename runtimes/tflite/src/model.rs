//! A model, and its instances.

use std::sync::{Arc, Mutex, PoisonError};

use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{Cancel, Details, Instance, Memory, Model, Outputs, Timing};
use edgemux_runtime_api::tensor::{Signature, TensorView};
use edgemux_tflite_common::file::{EDGETPU_OPERATOR, File};
use edgemux_tflite_common::instance::Shaped;
use edgemux_tflite_common::signature::{quantization, signature};

use crate::sys::{CpuInterpreter, Graph, Threads, graph};

type Ready = Shaped<CpuInterpreter>;

/// A model that is loaded.
pub(crate) struct TfliteModel {
    graph: Arc<Graph>,
    signature: Signature,
    details: Details,
    memory: Memory,
    threads: Threads,
    /// Made to see that it can be made; the first lane takes it.
    first: Mutex<Option<Ready>>,
}

impl TfliteModel {
    pub(crate) fn load(bytes: Vec<u8>, threads: Threads) -> Result<Self, String> {
        let file = File::parse(&bytes).map_err(|error| error.to_string())?;
        if file.custom_operators.iter().any(|custom| custom.name == EDGETPU_OPERATOR) {
            return Err("it is compiled for an edgeTPU: runtime edgetpu runs it".into());
        }
        // The library brings a few custom operators; of one that it has not, its own word would be a number.
        let custom = file.custom_operators.first().map(|custom| custom.name.clone());
        let refused = |said| refused(said, custom.as_deref());
        let (signature, parameters) = (signature(&file), quantization(&file));
        let details = Details { parameters, on_chip: None };
        let file_bytes = bytes.len() as u64;
        let graph = graph(bytes).map_err(refused)?;
        let (first, threads) = first(&graph, &signature, threads).map_err(refused)?;
        // XNNPACK keeps the weights once more, in the order in which it reads them. What a run needs on top is of the
        // process's heap and not known before, so it is not claimed.
        let copies = if threads.with_xnnpack() { 2 } else { 1 };
        let memory = Memory { at_rest_bytes: file_bytes.saturating_mul(copies), peak_bytes: 0 };
        Ok(Self { graph, signature, details, memory, threads, first: Mutex::new(Some(first)) })
    }
}

fn refused(said: String, custom: Option<&str>) -> String {
    let needs = custom.map(|name| format!("it needs operator {name:?}; ")).unwrap_or_default();
    format!("TensorFlow Lite refuses it: {said}; {needs}what else it said is in the worker's log")
}

/// The first interpreter, and what it and those that follow compute with: without XNNPACK if that refuses the graph.
fn first(graph: &Arc<Graph>, signature: &Signature, threads: Threads) -> Result<(Ready, Threads), String> {
    // Without XNNPACK first: the binding does not give back what it set up for a graph that then fails.
    let plain = ready(graph, signature, threads.plain())?;
    if !threads.with_xnnpack() {
        return Ok((plain, threads));
    }
    match ready(graph, signature, threads) {
        Ok(first) => Ok((first, threads)),
        Err(said) => {
            eprintln!("edgemux-runtime-tflite: XNNPACK refuses a model, it runs without: {said}");
            Ok((plain, threads.plain()))
        }
    }
}

fn ready(graph: &Arc<Graph>, signature: &Signature, threads: Threads) -> Result<Ready, String> {
    Shaped::new(CpuInterpreter::new(graph, threads)?, signature)
}

impl Model for TfliteModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> Memory {
        self.memory
    }

    fn details(&self) -> Details {
        self.details.clone()
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError> {
        let ready = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Box::new(TfliteInstance { ready, model: self }))
    }
}

/// A model as one lane runs it.
struct TfliteInstance {
    /// `None` before the first request and after shapes that could not be had.
    ready: Option<Ready>,
    model: Arc<TfliteModel>,
}

impl Instance for TfliteInstance {
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        cancel: &Cancel,
    ) -> Result<Timing, RunError> {
        let TfliteModel { graph, signature, threads, .. } = &*self.model;
        let mut interpreter = match self.ready.take() {
            Some(ready) => ready,
            None => ready(graph, signature, *threads).map_err(RunError::Failed)?,
        };
        let (ran, good) = interpreter.run(signature, inputs, outputs, cancel);
        self.ready = good.then_some(interpreter);
        ran
    }
}
