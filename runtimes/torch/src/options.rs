//! What the configuration may say of a device to this runtime, beyond what it says to every runtime.

use edgemux_runtime_api::error::OpenError;
use serde::Deserialize;

/// Options of a device, a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Which of the node's CUDA devices, from 0.
    pub(crate) index: u8,
    /// Fold constants and fuse what can be when a model is loaded. Answers change in the last digits.
    pub(crate) optimize: bool,
    /// Let libtorch compile kernels of its own for chains of small operations, on CUDA. It does so anew for new shapes.
    pub(crate) fuse: bool,
    /// Let cuDNN try its algorithms on every new shape and keep the fastest. Good for models of fixed shapes.
    pub(crate) cudnn_benchmark: bool,
    /// Host memory that this worker may take, in MB. On the processor it is 9/10 of what is free when the worker
    /// starts, unless said otherwise; on CUDA there is no limit unless there is one here.
    pub(crate) memory_limit_mb: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { index: 0, optimize: true, fuse: true, cudnn_benchmark: false, memory_limit_mb: None }
    }
}

impl Options {
    pub(crate) fn parse(options: &str) -> Result<Self, OpenError> {
        if options.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(options).map_err(|error| OpenError::Options(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_keeps_its_default() {
        assert_eq!(Options::parse("").unwrap(), Options::default());
        assert_eq!(Options::parse("{}").unwrap(), Options::default());
        let options = Options::parse(r#"{"index": 1, "memory-limit-mb": 100}"#).unwrap();
        assert_eq!(options, Options { index: 1, memory_limit_mb: Some(100), ..Options::default() });
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert!(matches!(Options::parse(r#"{"streams": 4}"#), Err(OpenError::Options(_))));
        assert!(matches!(Options::parse("fast"), Err(OpenError::Options(_))));
    }
}
