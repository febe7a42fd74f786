//! All that was learned on a box, as one document: for its own next start, and for other boxes.
//!
//! The first line is `edgemux-calibration VERSION LENGTH CHECKSUM`, the rest JSON of that length in bytes with that CRC-32. So
//! every truncation and every flipped bit is found. A document is checked in full before any of it is used.

use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};

use crate::profile::Profile;
use crate::stored::{Stored, StoredError};
use crate::system::{Bus, SpeedUp, SystemError};
use crate::units::RangeError;

const NAME: &str = "edgemux-calibration";
const VERSION: u32 = 1;
/// Longest document, bytes.
const BYTES_MAX: usize = 64 << 20;
/// Longest first line, bytes.
const HEADER_BYTES_MAX: usize = 128;
/// Most profiles, and most devices.
const ENTRIES_MAX: usize = 100_000;
/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 256;

/// Everything that was learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Archive {
    /// What models cost.
    pub entries: Vec<Entry>,
    /// What devices are.
    pub devices: Vec<DeviceEntry>,
}

/// What a profile is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Key {
    /// SHA-256 of the model file, 64 hexadecimal digits.
    pub model_digest: String,
    /// Name of the device.
    pub device: String,
    /// Its power mode.
    pub power_mode: String,
}

/// What one model costs on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Of what.
    pub key: Key,
    /// What was learned.
    pub profile: Profile,
    /// From how many samples.
    pub samples: u64,
    /// When, seconds since the Unix epoch.
    pub updated_unix_s: u64,
}

/// What is known of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceEntry {
    /// Its name.
    pub device: String,
    /// Its power mode.
    pub power_mode: String,
    /// φ(n).
    pub speed_up: SpeedUp,
    /// Transfers as a stage of their own.
    pub bus: Option<Bus>,
    /// From how many samples.
    pub samples: u64,
}

/// Which of two profiles of the same is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The one from more samples; of as many the one that is here.
    MoreSamples,
    /// The one that was learned later; of the same time the one that is here.
    Newer,
}

/// A document that is no archive.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArchiveError {
    /// Not a document of this kind.
    #[error("it is no saved calibration: that begins with '{NAME}'")]
    NotOne,
    /// Of a release that writes another form.
    #[error("it is of version {0}; this release reads version {VERSION}")]
    Version(u32),
    /// Too long.
    #[error("{0} bytes: at most {BYTES_MAX}")]
    TooLong(usize),
    /// Another length than it says.
    #[error("{got} bytes instead of {want}: a part is missing, or too much")]
    Length {
        /// What it says.
        want: usize,
        /// What is there.
        got: usize,
    },
    /// Its checksum is another.
    #[error("its checksum is wrong: it was damaged")]
    Damaged,
    /// Its contents make no sense.
    #[error("{0}")]
    Body(String),
    /// Too many.
    #[error("{0} entries: at most {ENTRIES_MAX}")]
    TooMany(usize),
    /// A name that is none.
    #[error("{0:?} is no name of a model, device or power mode")]
    Name(String),
    /// A profile that cannot be.
    #[error("the profile of {model}: {error}")]
    Profile {
        /// The model's digest.
        model: String,
        /// Why not.
        error: StoredError,
    },
    /// A speed-up curve that cannot be.
    #[error("device {device}: {error}")]
    SpeedUp {
        /// Which.
        device: String,
        /// Why not.
        error: SystemError,
    },
    /// Errors for another curve.
    #[error("device {device}: {errors} errors for the {points} points of its speed-up curve")]
    Errors {
        /// Which.
        device: String,
        /// Of the curve.
        points: usize,
        /// How many errors.
        errors: usize,
    },
    /// A bandwidth that cannot be.
    #[error("device {device}: {error}")]
    Bus {
        /// Which.
        device: String,
        /// Why not.
        error: RangeError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct BodyV1 {
    profiles: Vec<EntryV1>,
    devices: Vec<DeviceV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct EntryV1 {
    key: Key,
    samples: u64,
    updated_unix_s: u64,
    profile: Stored,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct DeviceV1 {
    device: String,
    power_mode: String,
    samples: u64,
    /// φ(1), φ(2), …
    speed_up: Vec<f64>,
    /// Relative standard errors, as many; none where the curve is known exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    speed_up_error: Vec<f64>,
    /// Bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bus: Option<f64>,
}

impl Archive {
    /// The document.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let profiles = self.entries.iter().map(|entry| EntryV1 {
            key: entry.key.clone(),
            samples: entry.samples,
            updated_unix_s: entry.updated_unix_s,
            profile: Stored::from(&entry.profile),
        });
        let devices = self.devices.iter().map(|entry| DeviceV1 {
            device: entry.device.clone(),
            power_mode: entry.power_mode.clone(),
            samples: entry.samples,
            speed_up: (1..=entry.speed_up.len()).map(|n| entry.speed_up.at(n)).collect(),
            speed_up_error: (1..=entry.speed_up.len()).filter_map(|n| entry.speed_up.error(n)).collect(),
            bus: entry.bus.map(|bus| bus.bytes_per_s()),
        });
        let body = BodyV1 { profiles: profiles.collect(), devices: devices.collect() };
        // Numbers, strings and lists: nothing of it can fail to be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut bytes =
            format!("{NAME} {VERSION} {} {:08x}\n", body.len(), crc32fast::hash(&body)).into_bytes();
        bytes.extend(body);
        bytes
    }

    /// Reads a document.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ArchiveError> {
        if bytes.len() > BYTES_MAX {
            return Err(ArchiveError::TooLong(bytes.len()));
        }
        let end = bytes.iter().take(HEADER_BYTES_MAX).position(|&byte| byte == b'\n');
        let header =
            end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok()).ok_or(ArchiveError::NotOne)?;
        let body = &bytes[header.len() + 1..];
        let Some((NAME, rest)) = header.split_once(' ') else { return Err(ArchiveError::NotOne) };
        let mut rest = rest.split(' ');
        let mut number = || rest.next().ok_or(ArchiveError::NotOne);
        let version: u32 = number()?.parse().map_err(|_| ArchiveError::NotOne)?;
        if version != VERSION {
            return Err(ArchiveError::Version(version));
        }
        let want: usize = number()?.parse().map_err(|_| ArchiveError::NotOne)?;
        let checksum = number()?;
        // As it is written, so that no digit has two spellings.
        if *header != format!("{NAME} {VERSION} {want} {checksum}") {
            return Err(ArchiveError::NotOne);
        }
        if want != body.len() {
            return Err(ArchiveError::Length { want, got: body.len() });
        }
        if checksum != format!("{:08x}", crc32fast::hash(body)) {
            return Err(ArchiveError::Damaged);
        }
        let body: BodyV1 =
            serde_json::from_slice(body).map_err(|error| ArchiveError::Body(error.to_string()))?;
        body.check()
    }

    /// Takes over from another what is not here, or where `keep` prefers it. Returns how many profiles were taken. Of
    /// profiles and of devices at most 100,000 are kept each: what would be more is left where it was.
    pub fn merge(&mut self, other: Self, keep: Keep) -> usize {
        let mut places: BTreeMap<Key, usize> = BTreeMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            places.entry(entry.key.clone()).or_insert(at);
        }
        let mut taken = 0;
        for entry in other.entries {
            let place = places.entry(entry.key.clone());
            let better = match &place {
                btree_map::Entry::Occupied(at) => {
                    let present = &self.entries[*at.get()];
                    match keep {
                        Keep::MoreSamples => entry.samples > present.samples,
                        Keep::Newer => entry.updated_unix_s > present.updated_unix_s,
                    }
                }
                btree_map::Entry::Vacant(_) => self.entries.len() < ENTRIES_MAX,
            };
            if better {
                put(&mut self.entries, place, entry);
                taken += 1;
            }
        }
        let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (at, entry) in self.devices.iter().enumerate() {
            places.entry((entry.device.clone(), entry.power_mode.clone())).or_insert(at);
        }
        for entry in other.devices {
            let place = places.entry((entry.device.clone(), entry.power_mode.clone()));
            let better = match &place {
                btree_map::Entry::Occupied(at) => entry.samples > self.devices[*at.get()].samples,
                btree_map::Entry::Vacant(_) => self.devices.len() < ENTRIES_MAX,
            };
            if better {
                put(&mut self.devices, place, entry);
            }
        }
        taken
    }
}

/// In its place, or as the last.
fn put<K: Ord, T>(entries: &mut Vec<T>, place: btree_map::Entry<'_, K, usize>, entry: T) {
    match place {
        btree_map::Entry::Occupied(at) => entries[*at.get()] = entry,
        btree_map::Entry::Vacant(place) => {
            place.insert(entries.len());
            entries.push(entry);
        }
    }
}

impl BodyV1 {
    fn check(self) -> Result<Archive, ArchiveError> {
        let most = self.profiles.len().max(self.devices.len());
        if most > ENTRIES_MAX {
            return Err(ArchiveError::TooMany(most));
        }
        let entries = self.profiles.into_iter().map(EntryV1::check).collect::<Result<_, _>>()?;
        let devices = self.devices.into_iter().map(DeviceV1::check).collect::<Result<_, _>>()?;
        Ok(Archive { entries, devices })
    }
}

impl EntryV1 {
    fn check(self) -> Result<Entry, ArchiveError> {
        let digest = &self.key.model_digest;
        if digest.len() != 64 || !digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ArchiveError::Name(digest.chars().take(NAME_BYTES_MAX).collect()));
        }
        name(&self.key.device)?;
        name(&self.key.power_mode)?;
        let profile = Profile::try_from(self.profile)
            .map_err(|error| ArchiveError::Profile { model: digest.clone(), error })?;
        Ok(Entry { key: self.key, profile, samples: self.samples, updated_unix_s: self.updated_unix_s })
    }
}

impl DeviceV1 {
    fn check(self) -> Result<DeviceEntry, ArchiveError> {
        let Self { device, power_mode, samples, speed_up, speed_up_error: errors, bus } = self;
        name(&device)?;
        name(&power_mode)?;
        let (points, known) = (speed_up.len(), errors.len());
        let speed_up = match known {
            0 => SpeedUp::new(speed_up),
            _ if known == points => SpeedUp::measured(speed_up.into_iter().zip(errors)),
            _ => return Err(ArchiveError::Errors { device, points, errors: known }),
        };
        let speed_up = speed_up.map_err(|error| ArchiveError::SpeedUp { device: device.clone(), error })?;
        let bus = bus.map(Bus::new).transpose();
        let bus = bus.map_err(|error| ArchiveError::Bus { device: device.clone(), error })?;
        Ok(DeviceEntry { device, power_mode, speed_up, bus, samples })
    }
}

fn name(name: &str) -> Result<(), ArchiveError> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(ArchiveError::Name(name.chars().take(NAME_BYTES_MAX).collect()))
}
