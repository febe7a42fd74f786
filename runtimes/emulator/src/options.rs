//! A device's options: how it is shared and what it holds.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Most entries of a speed-up curve.
const CURVE_MAX: usize = 1024;
/// Largest factor by which time is stretched.
const TIME_SCALE_MAX: f64 = 1000.0;

/// What one device does with several requests at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sharing {
    /// One at a time, first come, first served.
    Exclusive,
    /// All at once at a total speed φ(n) that depends on their number; the last entry holds beyond the curve.
    Together {
        /// φ(1), φ(2), …
        speed_up: Vec<f64>,
    },
}

impl Sharing {
    /// The part of one request's work that is done per unit of time with `n` in service.
    pub(crate) fn rate(&self, n: usize) -> f64 {
        match self {
            Self::Exclusive => 1.0,
            Self::Together { speed_up } => {
                let total = speed_up.get(n.max(1) - 1).or(speed_up.last()).copied().unwrap_or(1.0);
                total / n.max(1) as f64
            }
        }
    }
}

/// The options, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) sharing: Sharing,
    /// `None` holds anything.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) seed: u64,
    pub(crate) time_scale: f64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Json {
    sharing: SharingName,
    speed_up: Option<Vec<f64>>,
    memory_bytes: Option<u64>,
    seed: u64,
    time_scale: Option<f64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SharingName {
    #[default]
    Exclusive,
    ProcessorSharing,
    SpeedUp,
}

impl Options {
    /// Reads the options' JSON; empty means every default.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let json = if json.trim().is_empty() { "{}" } else { json };
        // Through a map: a struct alone would be read from an array too.
        let options = serde_json::from_str::<Map<String, Value>>(json).map(Value::Object);
        let options: Json = options.and_then(serde_json::from_value).map_err(|error| error.to_string())?;
        let sharing = match (options.sharing, options.speed_up) {
            (SharingName::SpeedUp, Some(speed_up)) => {
                check_curve(&speed_up)?;
                Sharing::Together { speed_up }
            }
            (SharingName::SpeedUp, None) => {
                return Err("sharing = \"speed-up\" needs speed-up = [1.0, …]".into());
            }
            (_, Some(_)) => return Err("speed-up: only with sharing = \"speed-up\"".into()),
            (SharingName::ProcessorSharing, None) => Sharing::Together { speed_up: vec![1.0] },
            (SharingName::Exclusive, None) => Sharing::Exclusive,
        };
        let time_scale = options.time_scale.unwrap_or(1.0);
        if !(time_scale > 0.0 && time_scale <= TIME_SCALE_MAX) {
            return Err(format!("time-scale = {time_scale}: above 0, up to {TIME_SCALE_MAX}"));
        }
        Ok(Self { sharing, memory_bytes: options.memory_bytes, seed: options.seed, time_scale })
    }
}

/// One request alone runs at speed 1, and company makes nobody faster: waiting threads count on it when they sleep
/// until their request's end as it looks now, for then a newcomer can only put it off.
fn check_curve(speed_up: &[f64]) -> Result<(), String> {
    if !(1..=CURVE_MAX).contains(&speed_up.len()) {
        return Err(format!("speed-up has {} entries: 1 to {CURVE_MAX}", speed_up.len()));
    }
    if speed_up[0] != 1.0 {
        return Err(format!("speed-up begins with {}: one request alone runs at 1.0", speed_up[0]));
    }
    for (index, pair) in speed_up.windows(2).enumerate() {
        let (n, share) = ((index + 1) as f64, pair[0] / (index + 1) as f64);
        let (least, most) = (f64::MIN_POSITIVE, share * (n + 1.0));
        // One part in a million for curves that were written with few digits.
        if !(pair[1] >= least && pair[1] <= most * (1.0 + 1e-6)) {
            return Err(format!("speed-up entry {} is {}: above 0, up to {most}", index + 2, pair[1]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults() {
        let none = Options::parse("").unwrap();
        assert_eq!(none, Options::parse("{}").unwrap());
        assert_eq!(
            none,
            Options { sharing: Sharing::Exclusive, memory_bytes: None, seed: 0, time_scale: 1.0 }
        );
        let all = r#"{"sharing": "speed-up", "speed-up": [1.0, 1.6, 1.9], "memory-bytes": 9, "seed": 3,
                      "time-scale": 0.1}"#;
        let all = Options::parse(all).unwrap();
        assert_eq!((all.memory_bytes, all.seed, all.time_scale), (Some(9), 3, 0.1));
    }

    #[test]
    fn a_curve_holds_its_last_value_beyond_its_end() {
        let sharing = Sharing::Together { speed_up: vec![1.0, 1.6, 1.9] };
        let totals = [1, 2, 3, 4, 10].map(|n| (sharing.rate(n) * n as f64 * 1e6).round() / 1e6);
        assert_eq!(totals, [1.0, 1.6, 1.9, 1.9, 1.9]);
    }

    #[test]
    fn every_bad_option_is_refused_by_name() {
        for (json, said) in [
            ("[]", "invalid type"),
            (r#"{"sharing": "fair"}"#, "fair"),
            (r#"{"speed": 1}"#, "unknown field `speed`"),
            (r#"{"sharing": "speed-up"}"#, "needs speed-up"),
            (r#"{"speed-up": [1.0]}"#, "speed-up: only with"),
            (r#"{"sharing": "speed-up", "speed-up": []}"#, "0 entries"),
            (r#"{"sharing": "speed-up", "speed-up": [2.0]}"#, "begins with 2"),
            (r#"{"sharing": "speed-up", "speed-up": [1.0, 0.0]}"#, "entry 2 is 0"),
            (r#"{"sharing": "speed-up", "speed-up": [1.0, 2.1]}"#, "entry 2 is 2.1"),
            (r#"{"sharing": "speed-up", "speed-up": [1.0, 1.0, 2.9]}"#, "entry 3 is 2.9"),
            (r#"{"memory-bytes": -1}"#, "invalid value"),
            (r#"{"time-scale": 0}"#, "time-scale = 0"),
            (r#"{"time-scale": 1e9}"#, "time-scale = 1000000000"),
        ] {
            let error = Options::parse(json).unwrap_err();
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
