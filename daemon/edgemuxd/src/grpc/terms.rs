//! Terms as `RepositoryModelLoad` carries them: in its parameters, numbers as strings where the protocol has no number.

use std::collections::BTreeMap;

use edgemux_proto::inference::ModelRepositoryParameter;
use edgemux_proto::inference::model_repository_parameter::ParameterChoice;
use tonic::Status;

use crate::terms::{Excess, Objective, Terms};

/// What a load asks for besides a model.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    pub version: Option<String>,
    /// None given means those of the repository.
    pub terms: Option<Terms>,
    /// Whether the model's other versions go once this one is ready.
    pub alone: bool,
}

/// Reads the parameters of a load.
pub(super) fn from_parameters(
    parameters: &BTreeMap<String, ModelRepositoryParameter>,
) -> Result<Asked, Status> {
    let (mut version, mut alone) = (None, false);
    let mut terms = Terms::default();
    let (mut latency_ms, mut quantile) = (None, None);
    for (key, parameter) in parameters {
        let text = || text(key, parameter);
        match key.as_str() {
            "version" => version = Some(text()?),
            "replace_versions" => alone = boolean(key, parameter)?,
            "rate_hz" => terms.rate_hz = Some(number(key, &text()?)?),
            "burst" => terms.burst = Some(number(key, &text()?)?),
            "latency_ms" => latency_ms = Some(number(key, &text()?)?),
            // The mean is what an objective without a quantile is about.
            "quantile" => {
                quantile =
                    Some(text()?).filter(|text| text != "mean").map(|text| number(key, &text)).transpose()?
            }
            "priority" => terms.priority = whole(key, &text()?)?,
            "excess" => terms.excess = excess(&text()?)?,
            "config" => {
                return Err(Status::unimplemented(
                    "a model configuration cannot be sent with a load: the model file itself says what it takes",
                ));
            }
            file if file.starts_with("file:") => {
                return Err(Status::unimplemented(format!(
                    "model files cannot be sent with a load ('{file}'): put them in the repository"
                )));
            }
            other if other.starts_with("triton_") => {}
            other => {
                return Err(Status::invalid_argument(format!(
                    "unknown parameter '{other}': version, rate_hz, burst, latency_ms, quantile, priority, excess and replace_versions are known"
                )));
            }
        }
    }
    match (latency_ms, quantile) {
        (Some(latency_ms), quantile) => terms.objective = Some(Objective { quantile, latency_ms }),
        (None, Some(_)) => return Err(Status::invalid_argument("quantile needs latency_ms beside it")),
        (None, None) => {}
    }
    terms.check().map_err(|error| Status::invalid_argument(error.to_string()))?;
    let given = terms != Terms::default();
    Ok(Asked { version, terms: given.then_some(terms), alone })
}

fn boolean(key: &str, parameter: &ModelRepositoryParameter) -> Result<bool, Status> {
    match &parameter.parameter_choice {
        Some(ParameterChoice::BoolParam(on)) => Ok(*on),
        Some(ParameterChoice::StringParam(text)) if text == "true" || text == "false" => Ok(text == "true"),
        _ => Err(Status::invalid_argument(format!("parameter '{key}' must be true or false"))),
    }
}

fn excess(text: &str) -> Result<Excess, Status> {
    match text {
        "refuse" => Ok(Excess::Refuse),
        "best-effort" => Ok(Excess::BestEffort),
        _ => Err(Status::invalid_argument(format!(
            "parameter 'excess': {text:?} is neither refuse nor best-effort"
        ))),
    }
}

fn text(key: &str, parameter: &ModelRepositoryParameter) -> Result<String, Status> {
    match &parameter.parameter_choice {
        Some(ParameterChoice::StringParam(text)) => Ok(text.clone()),
        Some(ParameterChoice::Int64Param(number)) => Ok(number.to_string()),
        _ => Err(Status::invalid_argument(format!("parameter '{key}' must be a string or a whole number"))),
    }
}

fn number(key: &str, text: &str) -> Result<f64, Status> {
    text.parse().map_err(|_| Status::invalid_argument(format!("parameter '{key}': {text:?} is no number")))
}

fn whole(key: &str, text: &str) -> Result<u32, Status> {
    text.parse().map_err(|_| {
        Status::invalid_argument(format!("parameter '{key}': {text:?} is no whole number of at least 0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Asked, Status> {
        let parameter = |value: &str| ModelRepositoryParameter {
            parameter_choice: Some(ParameterChoice::StringParam(value.into())),
        };
        from_parameters(&given.iter().map(|&(key, value)| (key.to_owned(), parameter(value))).collect())
    }

    #[test]
    fn terms_are_read_from_strings() {
        assert_eq!(read(&[]).unwrap(), Asked::default());
        assert!(read(&[("replace_versions", "true")]).unwrap().alone);
        let Asked { version, terms, alone } =
            read(&[("version", "3"), ("rate_hz", "12.5"), ("latency_ms", "40"), ("quantile", "0.99")])
                .unwrap();
        let terms = terms.unwrap();
        assert!(!alone);
        assert_eq!((version.as_deref(), terms.rate_hz), (Some("3"), Some(12.5)));
        assert_eq!(terms.objective, Some(Objective { quantile: Some(0.99), latency_ms: 40.0 }));
        let mean =
            read(&[("rate_hz", "1"), ("latency_ms", "40"), ("quantile", "mean")]).unwrap().terms.unwrap();
        assert_eq!(mean.objective, Some(Objective { quantile: None, latency_ms: 40.0 }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (key, value) in [
            ("rate_hz", "0"),
            ("rate_hz", "1e9"),
            ("rate_hz", "NaN"),
            ("rate_hz", "many"),
            ("burst", "0.5"),
            ("latency_ms", "-1"),
            ("quantile", "0.99"),
            ("priority", "-1"),
            ("excess", "drop"),
            ("config", "{}"),
            ("file:1/model.onnx", ""),
            ("replace_versions", "yes"),
            ("colour", "red"),
        ] {
            assert!(read(&[(key, value)]).is_err(), "{key} = {value}");
        }
        assert!(read(&[("rate_hz", "1"), ("latency_ms", "5"), ("quantile", "1")]).is_err());
        assert!(read(&[("latency_ms", "5")]).unwrap_err().message().contains("needs a rate"));
    }
}
