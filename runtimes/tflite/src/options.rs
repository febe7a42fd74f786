//! What the configuration may say of a device to this runtime, beyond what it says to every runtime.

use edgemux_runtime_api::error::OpenError;
use serde::Deserialize;

/// Options of a device, a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Run by XNNPACK what it can run, which is several times faster. Answers in floating point change in the last
    /// digits.
    pub(crate) xnnpack: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { xnnpack: true }
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
    fn what_is_not_said_keeps_its_default_and_an_unknown_option_is_refused() {
        assert_eq!(Options::parse(" ").unwrap(), Options { xnnpack: true });
        assert_eq!(Options::parse("{}").unwrap(), Options { xnnpack: true });
        assert_eq!(Options::parse(r#"{"xnnpack": false}"#).unwrap(), Options { xnnpack: false });
        for wrong in [r#"{"xnpack": true}"#, r#"{"xnnpack": 1}"#, "fast"] {
            assert!(matches!(Options::parse(wrong), Err(OpenError::Options(_))), "{wrong}");
        }
    }
}
