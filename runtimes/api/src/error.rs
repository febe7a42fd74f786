//! What can go wrong behind the seam, one enum per operation. All of them cross the worker protocol.

use serde::{Deserialize, Serialize};

/// Why a runtime could not take charge of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum OpenError {
    /// The runtime cannot drive devices of this kind.
    #[error("runtime {runtime} cannot drive a device of kind {kind}")]
    Kind {
        /// The runtime asked.
        runtime: String,
        /// The kind of the device.
        kind: String,
    },
    /// The device's options are not what this runtime takes.
    #[error("device options: {0}")]
    Options(String),
    /// The device is not there, or does not answer.
    #[error("device not available: {0}")]
    Device(String),
}

/// Why a model could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {file}: {reason}")]
    Read {
        /// The model file.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not a model that this runtime understands.
    #[error("{file} is not a model this runtime can run: {reason}")]
    Invalid {
        /// The model file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not enough memory on the device.
    #[error("the model needs {needed_bytes} bytes of device memory, {available_bytes} are left")]
    Memory {
        /// Bytes the model needs at rest.
        needed_bytes: u64,
        /// Bytes that are left.
        available_bytes: u64,
    },
}

/// Why one request failed on the device. The worker lives on unless the error says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RunError {
    /// The model refused these inputs.
    #[error("the model refused the request: {0}")]
    Inputs(String),
    /// The model failed while it ran.
    #[error("the model failed: {0}")]
    Failed(String),
    /// An output does not fit where the client wants it.
    #[error("output {output} takes {needed_bytes} bytes, its shared memory holds {available_bytes}")]
    OutputSpace {
        /// Name of the output.
        output: String,
        /// Bytes of this response's output.
        needed_bytes: u64,
        /// Bytes the client's region offers.
        available_bytes: u64,
    },
    /// A client's shared memory cannot be used.
    #[error("shared memory: {0}")]
    SharedMemory(String),
    /// The request was cancelled while it ran.
    #[error("cancelled")]
    Cancelled,
    /// The session is not loaded in this worker.
    #[error("session {0} is not loaded in this worker")]
    NotLoaded(u32),
    /// The device is gone. The worker is of no more use.
    #[error("device lost: {0}")]
    DeviceLost(String),
}

/// Longest text that an error carries over the worker protocol; a library's essay would not fit a message.
const TEXT_BYTES_MAX: usize = 2048;

fn shorten(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

impl LoadError {
    /// The same error with its texts cut to what a message carries.
    pub(crate) fn shortened(mut self) -> Self {
        match &mut self {
            Self::Read { reason, .. } | Self::Invalid { reason, .. } => shorten(reason),
            Self::Memory { .. } => {}
        }
        self
    }
}

impl RunError {
    /// The same error with its texts cut to what a message carries.
    pub(crate) fn shortened(mut self) -> Self {
        match &mut self {
            Self::Inputs(text) | Self::Failed(text) | Self::SharedMemory(text) | Self::DeviceLost(text) => {
                shorten(text);
            }
            Self::OutputSpace { output, .. } => shorten(output),
            Self::Cancelled | Self::NotLoaded(_) => {}
        }
        self
    }
}
