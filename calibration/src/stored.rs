//! Profiles as they are kept in files and sent between machines: forms of their own, with a version, so that the types
//! that calculations use can change without losing what was measured.
//!
//! Times are in seconds, memory in bytes. A form is checked in full when it becomes a [`Profile`]; what it does not name is
//! what a model without it has.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::profile::{Batching, Group, Memory, Profile, Reload, Uncertainty};
use crate::service::{ServiceError, ServiceTime};
use crate::units::{RangeError, Seconds};

/// A profile of some version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "version")]
pub enum Stored {
    /// The first.
    #[serde(rename = "1")]
    V1(ProfileV1),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProfileV1 {
    service: ServiceV1,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reload: Option<ReloadV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_before: Option<ServiceV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_after: Option<ServiceV1>,
    #[serde(default)]
    bytes_moved: u64,
    #[serde(default)]
    memory_at_rest: u64,
    #[serde(default)]
    memory_peak: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batching: Option<BatchingV1>,
    #[serde(default)]
    service_error: f64,
    #[serde(default)]
    reload_error: f64,
}

/// A service time: atoms, or raw moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum ServiceV1 {
    /// (weight, s).
    Atoms(Vec<(f64, f64)>),
    /// s, s², s³.
    Moments([f64; 3]),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ReloadV1 {
    overhead: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct BatchingV1 {
    size_max: NonZeroU32,
    fixed: f64,
    per_item: f64,
    delay_max: f64,
}

/// A stored profile that is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoredError {
    /// A service time that cannot be.
    #[error("{part}: {error}")]
    Service {
        /// Which.
        part: &'static str,
        /// Why not.
        error: ServiceError,
    },
    /// A number out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Less at the peak than at rest.
    #[error(
        "memory of {peak} bytes at the peak, but {at_rest} at rest: the peak includes what is held at rest"
    )]
    Memory {
        /// At rest, bytes.
        at_rest: u64,
        /// At the peak, bytes.
        peak: u64,
    },
}

impl From<&Profile> for Stored {
    fn from(profile: &Profile) -> Self {
        let beside = |service: &ServiceTime| (service.mean() > 0.0).then(|| ServiceV1::from(service));
        Self::V1(ProfileV1 {
            service: ServiceV1::from(&profile.service),
            reload: profile
                .reload
                .map(|r| ReloadV1 { overhead: r.overhead.get(), group: r.group.map(|group| group.0) }),
            cpu_before: beside(&profile.cpu_before),
            cpu_after: beside(&profile.cpu_after),
            bytes_moved: profile.bytes_moved,
            memory_at_rest: profile.memory.at_rest,
            memory_peak: profile.memory.peak,
            batching: profile.batching.map(|b| BatchingV1 {
                size_max: b.size_max,
                fixed: b.fixed.get(),
                per_item: b.per_item.get(),
                delay_max: b.delay_max.get(),
            }),
            service_error: profile.uncertainty.service,
            reload_error: profile.uncertainty.reload,
        })
    }
}

impl TryFrom<Stored> for Profile {
    type Error = StoredError;

    fn try_from(Stored::V1(stored): Stored) -> Result<Self, StoredError> {
        let part = |part, service: ServiceV1| {
            ServiceTime::try_from(service).map_err(|error| StoredError::Service { part, error })
        };
        let beside = |name, service: Option<ServiceV1>| match service {
            Some(service) => part(name, service),
            None => Ok(ServiceTime::constant(Seconds::ZERO)),
        };
        let (at_rest, peak) = (stored.memory_at_rest, stored.memory_peak);
        if peak < at_rest {
            return Err(StoredError::Memory { at_rest, peak });
        }
        let reload = match stored.reload {
            Some(r) => Some(Reload { overhead: Seconds::new(r.overhead)?, group: r.group.map(Group) }),
            None => None,
        };
        let batching = match stored.batching {
            Some(b) => Some(Batching {
                size_max: b.size_max,
                fixed: Seconds::new(b.fixed)?,
                per_item: Seconds::new(b.per_item)?,
                delay_max: Seconds::new(b.delay_max)?,
            }),
            None => None,
        };
        Ok(Self {
            service: part("service", stored.service)?,
            reload,
            cpu_before: beside("cpu-before", stored.cpu_before)?,
            cpu_after: beside("cpu-after", stored.cpu_after)?,
            bytes_moved: stored.bytes_moved,
            memory: Memory { at_rest, peak },
            batching,
            uncertainty: Uncertainty::new(stored.service_error, stored.reload_error)?,
        })
    }
}

impl From<&ServiceTime> for ServiceV1 {
    fn from(service: &ServiceTime) -> Self {
        match service.parts() {
            (atoms, None) => Self::Atoms(atoms.iter().map(|atom| (atom.weight, atom.at)).collect()),
            (_, Some(_)) => Self::Moments(service.moments()),
        }
    }
}

impl TryFrom<ServiceV1> for ServiceTime {
    type Error = ServiceError;

    fn try_from(service: ServiceV1) -> Result<Self, ServiceError> {
        match service {
            ServiceV1::Atoms(atoms) => {
                let atoms: Result<Vec<_>, RangeError> =
                    atoms.into_iter().map(|(weight, at)| Ok((weight, Seconds::new(at)?))).collect();
                Self::atoms(atoms?)
            }
            ServiceV1::Moments([m1, m2, m3]) => Self::from_moments(m1, m2, m3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Scv;

    fn parse(json: &str) -> Result<Profile, String> {
        let stored: Stored = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Profile::try_from(stored).map_err(|error| error.to_string())
    }

    #[test]
    fn a_profile_comes_back_as_it_was() {
        let ms = |ms| Seconds::from_ms(ms).unwrap();
        let mut profile = Profile::new(ServiceTime::atoms([(0.3, ms(5.0)), (0.7, ms(8.0))]).unwrap());
        profile = profile.with_reload(ms(15.0), Some(Group(3)));
        profile.cpu_before = ServiceTime::gamma(ms(2.0), Scv::new(0.1).unwrap());
        profile.memory = Memory { at_rest: 1 << 20, peak: 3 << 20 };
        profile.uncertainty = Uncertainty::new(0.02, 0.1).unwrap();
        profile.batching = Some(Batching {
            size_max: NonZeroU32::new(8).unwrap(),
            fixed: ms(4.0),
            per_item: ms(1.0),
            delay_max: ms(2.0),
        });
        let json = serde_json::to_string(&Stored::from(&profile)).unwrap();
        let back = parse(&json).unwrap();
        // Moments are kept to rounding, all else exactly.
        for (a, b) in back.cpu_before.moments().iter().zip(profile.cpu_before.moments()) {
            assert!((a / b - 1.0).abs() < 1e-9);
        }
        let rest = Profile { cpu_before: profile.cpu_before.clone(), ..back };
        assert_eq!(rest, profile);
    }

    #[test]
    fn what_is_wrong_with_a_stored_profile_is_said() {
        for (json, want) in [
            (r#"{"version":"2"}"#, "unknown variant `2`"),
            (r#"{"version":"1"}"#, "missing field `service`"),
            (r#"{"version":"1","service":{"atoms":[]}}"#, "service: 0 atoms"),
            (r#"{"version":"1","service":{"atoms":[[1,-1]]}}"#, "service: -1 is no length of time"),
            (r#"{"version":"1","service":{"moments":[1,0.5,1]}}"#, "no service time has these"),
            (r#"{"version":"1","service":{"moments":[1,1,1]},"speed":3}"#, "unknown field `speed`"),
            (
                r#"{"version":"1","service":{"moments":[1,1,1]},"service-error":7}"#,
                "no relative standard error",
            ),
            (
                r#"{"version":"1","service":{"moments":[1,1,1]},"memory-at-rest":7}"#,
                "0 bytes at the peak, but 7",
            ),
            (r#"{"version":"1","service":{"moments":[1,1,1]},"reload":{"overhead":-2}}"#, "-2 is no length"),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.contains(want), "{json}: {error}");
        }
    }
}
