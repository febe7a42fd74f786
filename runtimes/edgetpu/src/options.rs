//! What the configuration may say of a device to this runtime, beyond what it says to every runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;

use edgemux_runtime_api::error::OpenError;
use serde::Deserialize;

/// Options of a device, a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Options {
    /// How the edgeTPU is attached; by default either way.
    pub(crate) bus: Option<Bus>,
    /// Which of those so attached, from 0 in libedgetpu's order.
    pub(crate) index: u8,
    /// Its clock; by default as libedgetpu has it, which is `max`. A lower one is cooler.
    pub(crate) performance: Option<Performance>,
    /// libedgetpu; by default what `EDGETPU_LIBRARY_PATH` names, else `libedgetpu.so.1` where the system has it.
    pub(crate) delegate: Option<PathBuf>,
    /// The TensorFlow Lite that libedgetpu was built for; by default what `TFLITE_LIBRARY_PATH` names, else the one beside
    /// the worker (`edgetpu/lib/libtensorflowlite_c.so`), else where the system has one.
    pub(crate) tensorflow_lite: Option<PathBuf>,
    /// More options, handed to the delegate as they are.
    pub(crate) delegate_options: BTreeMap<String, String>,
    /// Longest that opening the device may take. The first time after power-up an edgeTPU on USB loads its firmware.
    pub(crate) trial_seconds: u32,
    /// Measure when a model is loaded what it costs to bring its weights to the chip, by running it a few times in turn
    /// with another one.
    pub(crate) measure_reload: bool,
}

/// How an edgeTPU is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bus {
    Usb,
    Pci,
}

/// An edgeTPU's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Performance {
    Low,
    Medium,
    High,
    Max,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bus: None,
            index: 0,
            performance: None,
            delegate: None,
            tensorflow_lite: None,
            delegate_options: BTreeMap::new(),
            trial_seconds: 15,
            measure_reload: true,
        }
    }
}

impl Options {
    pub(crate) fn parse(options: &str) -> Result<Self, OpenError> {
        if options.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(options).map_err(|error| OpenError::Options(error.to_string()))
    }

    /// The device as libedgetpu's options name it. Always with a number: without one, libedgetpu ignores all other options.
    pub(crate) fn device(&self) -> String {
        let bus = match self.bus {
            None => "",
            Some(Bus::Usb) => "usb",
            Some(Bus::Pci) => "pci",
        };
        format!("{bus}:{}", self.index)
    }

    /// All that the delegate is told.
    pub(crate) fn for_delegate(&self) -> Vec<(String, String)> {
        let mut all = vec![("device".to_owned(), self.device())];
        if let Some(performance) = self.performance {
            let value = match performance {
                Performance::Low => "Low",
                Performance::Medium => "Medium",
                Performance::High => "High",
                Performance::Max => "Max",
            };
            all.push(("Performance".to_owned(), value.to_owned()));
        }
        all.extend(self.delegate_options.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &str) -> Options {
        Options::parse(options).unwrap()
    }

    #[test]
    fn a_device_is_named_as_libedgetpu_names_it() {
        for (options, device) in [
            ("", ":0"),
            (r#"{"index": 2}"#, ":2"),
            (r#"{"bus": "usb"}"#, "usb:0"),
            (r#"{"bus": "pci", "index": 1}"#, "pci:1"),
        ] {
            assert_eq!(parsed(options).device(), device, "{options}");
        }
    }

    #[test]
    fn what_the_delegate_is_told_is_complete() {
        let options =
            parsed(r#"{"bus": "usb", "performance": "low", "delegate-options": {"Usb.AlwaysDfu": "True"}}"#);
        let told = options.for_delegate();
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, [("device", "usb:0"), ("Performance", "Low"), ("Usb.AlwaysDfu", "True")]);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        for wrong in [r#"{"bus": "isa"}"#, r#"{"index": -1}"#, r#"{"speed": "max"}"#, "usb:0"] {
            assert!(matches!(Options::parse(wrong), Err(OpenError::Options(_))), "{wrong}");
        }
    }
}
