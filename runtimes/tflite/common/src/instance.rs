//! Running requests on an interpreter, whichever binding it is of.

use std::time::Instant;

use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{Cancel, Outputs, Timing};
use edgemux_runtime_api::tensor::{Signature, TensorView, byte_len};

/// What a call of TensorFlow Lite came to. It says why on standard error, and returns only that it failed.
pub type Called<T> = Result<T, String>;

/// TensorFlow Lite's interpreter of one model.
pub trait Interpreter: Send {
    /// Gives input `index` another shape.
    fn resize(&mut self, index: usize, shape: &[i32]) -> Called<()>;

    /// Makes room for all tensors.
    fn allocate(&mut self) -> Called<()>;

    /// Writes an input.
    fn write(&mut self, index: usize, bytes: &[u8]) -> Called<()>;

    /// Runs the model. Returns the part of the time that reloaded its weights, ns.
    fn invoke(&mut self) -> Called<u64>;

    /// Hands shape and bytes of an output to `take`.
    fn read(&self, index: usize, take: Take<'_>) -> Result<(), RunError>;
}

/// What becomes of an output.
pub type Take<'a> = &'a mut dyn FnMut(&[i64], &[u8]) -> Result<(), RunError>;

/// An interpreter with the shapes that it was last given.
pub struct Shaped<I> {
    interpreter: I,
    shapes: Vec<Vec<i64>>,
}

impl<I: Interpreter> Shaped<I> {
    /// Takes a new interpreter; open dimensions of its inputs become 1.
    pub fn new(mut interpreter: I, signature: &Signature) -> Called<Self> {
        let closed = |shape: &[i64]| shape.iter().map(|&dim| if dim < 0 { 1 } else { dim }).collect();
        let shapes: Vec<Vec<i64>> = signature.inputs.iter().map(|spec| closed(&spec.shape)).collect();
        for (index, (spec, shape)) in signature.inputs.iter().zip(&shapes).enumerate() {
            if spec.shape != *shape {
                interpreter.resize(index, &dimensions(shape)?)?;
            }
        }
        interpreter.allocate()?;
        Ok(Self { interpreter, shapes })
    }

    /// Runs one request. After an error in changing shapes the interpreter is of no more use: the second of the pair.
    pub fn run(
        &mut self,
        signature: &Signature,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        cancel: &Cancel,
    ) -> (Result<Timing, RunError>, bool) {
        if cancel.is_cancelled() {
            return (Err(RunError::Cancelled), true);
        }
        let begun = Instant::now();
        if let Err(error) = check(signature, inputs) {
            return (Err(error), true);
        }
        if let Err(said) = self.reshape(inputs) {
            let shapes: Vec<_> = inputs.iter().map(|input| input.shape).collect();
            let error = format!("it cannot run on inputs of shapes {shapes:?}: {said}");
            return (Err(RunError::Inputs(error)), false);
        }
        (self.run_shaped(begun, signature, inputs, outputs), true)
    }

    fn reshape(&mut self, inputs: &[TensorView<'_>]) -> Called<()> {
        let mut changed = false;
        for (index, (input, shape)) in inputs.iter().zip(&mut self.shapes).enumerate() {
            if input.shape != shape.as_slice() {
                self.interpreter.resize(index, &dimensions(input.shape)?)?;
                *shape = input.shape.to_vec();
                changed = true;
            }
        }
        if changed { self.interpreter.allocate() } else { Ok(()) }
    }

    fn run_shaped(
        &mut self,
        begun: Instant,
        signature: &Signature,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
    ) -> Result<Timing, RunError> {
        for (index, input) in inputs.iter().enumerate() {
            self.interpreter.write(index, input.bytes).map_err(RunError::Failed)?;
        }
        let ready = Instant::now();
        let reload_ns = self.interpreter.invoke().map_err(RunError::Failed)?;
        let done = Instant::now();
        for index in 0..signature.outputs.len() {
            self.interpreter.read(index, &mut |shape, bytes| {
                if let Some(buffer) = outputs.buffer(index, shape, bytes.len())? {
                    buffer.copy_from_slice(bytes);
                }
                Ok(())
            })?;
        }
        let infer_ns = (done - ready).as_nanos() as u64;
        Ok(Timing {
            input_ns: (ready - begun).as_nanos() as u64,
            infer_ns,
            reload_ns: reload_ns.min(infer_ns),
            output_ns: done.elapsed().as_nanos() as u64,
        })
    }
}

fn dimensions(shape: &[i64]) -> Called<Vec<i32>> {
    let dims: Result<_, _> = shape.iter().map(|&dim| i32::try_from(dim)).collect();
    dims.map_err(|_| "a dimension is beyond 32 bits".to_owned())
}

/// TensorFlow Lite would read and write past a tensor that is shorter than its shape says.
fn check(signature: &Signature, inputs: &[TensorView<'_>]) -> Result<(), RunError> {
    if inputs.len() != signature.inputs.len() {
        return Err(RunError::Inputs("another number of inputs than the model's".into()));
    }
    for (spec, input) in signature.inputs.iter().zip(inputs) {
        let refuse = |what: String| Err(RunError::Inputs(format!("input {:?}: {what}", spec.name)));
        if input.datatype != spec.datatype || !spec.accepts(input.shape) {
            return refuse(format!("{} of shape {:?} does not fit", input.datatype, input.shape));
        }
        match byte_len(input.datatype, input.shape) {
            // It gives such a tensor no memory, and some of its operators divide by the number of elements.
            Some(0) => return refuse("TensorFlow Lite runs on no empty tensor".into()),
            Some(bytes) if bytes == input.bytes.len() => {}
            _ => return refuse(format!("{} bytes do not make shape {:?}", input.bytes.len(), input.shape)),
        }
    }
    Ok(())
}
