//! What the two runtimes for TensorFlow Lite share: one runs models on the processor, one on an edgeTPU, each by a
//! binding of its own.
//!
//! * [`mod@file`]: what a `.tflite` file says of itself. TensorFlow Lite's C interface tells neither which dimensions are open
//!   nor which operators are custom, and it forgets where quantisation differs along an axis;
//! * [`flatbuffer`]: the format under it, read with every offset checked;
//! * [`signature`]: the file's declarations in the words of the seam;
//! * [`instance`]: running requests on an [`instance::Interpreter`], whichever binding it is.

#![forbid(unsafe_code)]

pub mod file;
pub mod flatbuffer;
pub mod instance;
pub mod signature;
