//! What models cost on devices, as far as was ever measured here: kept in one file of the state directory.
//!
//! The file is written beside itself, synchronised, and renamed, so that it is always one that was saved as a whole. A
//! file that is damaged all the same is put aside under another name; the daemon begins without it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use edgemux_calibration::archive::{Archive, ArchiveError, DeviceEntry, Entry, Keep, Key};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::system::SpeedUp;
use sha2::{Digest, Sha256};

/// The file in the state directory.
const FILE: &str = "calibration";

/// Profiles by model digest, device and power mode.
#[derive(Debug)]
pub(crate) struct Profiles {
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    archive: Archive,
    changed: bool,
    /// Digests of files that did not change since.
    digests: HashMap<PathBuf, (u64, SystemTime, String)>,
}

impl Profiles {
    /// Those saved in `state_dir`.
    pub(crate) fn open(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        let archive = match std::fs::read(&file) {
            Ok(bytes) => Archive::from_bytes(&bytes).unwrap_or_else(|error| {
                put_aside(&file, &error);
                Archive::default()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::error!(file = %file.display(), %error, "saved calibration cannot be read; begun without");
                }
                Archive::default()
            }
        };
        tracing::info!(profiles = archive.entries.len(), "calibration");
        Self { file, state: Mutex::new(State { archive, ..State::default() }) }
    }

    /// The SHA-256 of a model file in hexadecimal. Reads the file; one that did not change is read once.
    pub(crate) fn digest(&self, path: &Path) -> io::Result<String> {
        let about = std::fs::metadata(path)?;
        let (bytes, modified) = (about.len(), about.modified()?);
        if let Some((known_bytes, known_modified, digest)) = self.lock().digests.get(path)
            && (*known_bytes, *known_modified) == (bytes, modified)
        {
            return Ok(digest.clone());
        }
        let (mut file, mut hasher) = (std::fs::File::open(path)?, Sha256::new());
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.lock().digests.insert(path.to_owned(), (bytes, modified, digest.clone()));
        Ok(digest)
    }

    /// The digest of a file that was read before.
    pub(crate) fn known_digest(&self, path: &Path) -> Option<String> {
        self.lock().digests.get(path).map(|(_, _, digest)| digest.clone())
    }

    /// What is known of a model on a device in a power mode, and from how many samples.
    pub(crate) fn get(&self, digest: &str, device: &str, mode: &str) -> Option<(Profile, u64)> {
        let state = self.lock();
        let is_it = |entry: &&Entry| is_of(&entry.key, digest, device) && entry.key.power_mode == mode;
        let entry = state.archive.entries.iter().find(is_it)?;
        Some((entry.profile.clone(), entry.samples))
    }

    /// All that is known.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().archive.entries.clone()
    }

    /// Keeps what was learned of a model on a device in a power mode.
    pub(crate) fn put(&self, digest: &str, device: &str, mode: &str, profile: &Profile, samples: u64) {
        let key =
            Key { model_digest: digest.to_owned(), device: device.to_owned(), power_mode: mode.to_owned() };
        let entry = Entry { key: key.clone(), profile: profile.clone(), samples, updated_unix_s: unix_s() };
        let mut state = self.lock();
        state.changed = true;
        match state.archive.entries.iter_mut().find(|entry| entry.key == key) {
            Some(present) => *present = entry,
            None => state.archive.entries.push(entry),
        }
    }

    /// Forgets a model on a device, in every power mode.
    pub(crate) fn forget(&self, digest: &str, device: &str) {
        let mut state = self.lock();
        state.archive.entries.retain(|entry| !is_of(&entry.key, digest, device));
        state.changed = true;
    }

    /// The speed-up curve last seen of a device in a power mode.
    pub(crate) fn speed_up(&self, device: &str, mode: &str) -> Option<SpeedUp> {
        let state = self.lock();
        let is_it = |entry: &&DeviceEntry| entry.device == device && entry.power_mode == mode;
        state.archive.devices.iter().find(is_it).map(|entry| entry.speed_up.clone())
    }

    /// Keeps a device's speed-up curve in a power mode.
    pub(crate) fn put_speed_up(&self, device: &str, mode: &str, speed_up: &SpeedUp, samples: u64) {
        let entry = DeviceEntry {
            device: device.to_owned(),
            power_mode: mode.to_owned(),
            speed_up: speed_up.clone(),
            bus: None,
            samples,
        };
        let mut state = self.lock();
        state.changed = true;
        let is_it = |present: &&mut DeviceEntry| present.device == device && present.power_mode == mode;
        match state.archive.devices.iter_mut().find(is_it) {
            Some(present) => *present = entry,
            None => state.archive.devices.push(entry),
        }
    }

    /// All of it, as one document.
    pub(crate) fn export(&self) -> Vec<u8> {
        self.lock().archive.to_bytes()
    }

    /// Takes over what another box learned, where less is known here. Returns how many profiles were taken.
    pub(crate) fn import(&self, document: &[u8]) -> Result<usize, ArchiveError> {
        let other = Archive::from_bytes(document)?;
        let mut state = self.lock();
        let taken = state.archive.merge(other, Keep::MoreSamples);
        state.changed |= taken > 0;
        Ok(taken)
    }

    /// Saves what changed since the last time. Blocks on the disk.
    pub(crate) fn save(&self) -> io::Result<()> {
        let bytes = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.changed) {
                return Ok(());
            }
            state.archive.to_bytes()
        };
        let saved = replace(&self.file, &bytes);
        if saved.is_err() {
            self.lock().changed = true;
        }
        saved
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(key: &Key, digest: &str, device: &str) -> bool {
    key.model_digest == digest && key.device == device
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes a file so that there is the old one or the new one, whatever happens in between.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut new = std::fs::File::create(&beside)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    drop(new);
    std::fs::rename(&beside, file)?;
    match file.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Keeps a damaged file for whoever wants to look at it; the next one to be damaged takes its place.
fn put_aside(file: &Path, problem: &ArchiveError) {
    let aside = file.with_extension("damaged");
    let moved = std::fs::rename(file, &aside);
    tracing::error!(
        file = %file.display(), aside = %aside.display(), %problem, moved = moved.is_ok(),
        "saved calibration is damaged: it is put aside, and everything is measured anew"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgemux_calibration::units::{Scv, Seconds};

    fn profile(ms: f64) -> Profile {
        Profile::of(Seconds::from_ms(ms).unwrap(), Scv::ZERO)
    }

    #[test]
    fn what_was_saved_is_there_again_and_nothing_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(folder.path());
        profiles.save().unwrap();
        assert!(!folder.path().join(FILE).exists(), "nothing was learned");
        let digest = "ab".repeat(32);
        profiles.put(&digest, "tpu0", "default", &profile(5.0), 7);
        profiles.put(&digest, "tpu0", "default", &profile(6.0), 9);
        profiles.put_speed_up("gpu0", "15W", &SpeedUp::new(vec![1.0, 1.5]).unwrap(), 3);
        profiles.save().unwrap();
        let again = Profiles::open(folder.path());
        assert_eq!(again.get(&digest, "tpu0", "default"), Some((profile(6.0), 9)));
        assert_eq!(again.get(&digest, "tpu1", "default"), None);
        assert_eq!(again.speed_up("gpu0", "15W"), Some(SpeedUp::new(vec![1.0, 1.5]).unwrap()));
        assert_eq!(again.speed_up("gpu0", "30W"), None);
        again.put(&digest, "tpu0", "15W", &profile(12.0), 3);
        assert_eq!(again.get(&digest, "tpu0", "15W"), Some((profile(12.0), 3)));
        assert_eq!(again.get(&digest, "tpu0", "default"), Some((profile(6.0), 9)), "each mode has its own");
        again.forget(&digest, "tpu0");
        assert_eq!(again.get(&digest, "tpu0", "15W"), None);
        assert_eq!(again.get(&digest, "tpu0", "default"), None);
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_the_next_save_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, "edgemux-calibration but not really").unwrap();
        let profiles = Profiles::open(folder.path());
        assert!(!file.exists() && file.with_extension("damaged").exists());
        profiles.put(&"cd".repeat(32), "d", "default", &profile(1.0), 1);
        profiles.save().unwrap();
        assert!(Profiles::open(folder.path()).get(&"cd".repeat(32), "d", "default").is_some());
    }

    #[test]
    fn a_full_disk_loses_nothing_that_is_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(&folder.path().join("none"));
        profiles.put(&"cd".repeat(32), "d", "default", &profile(1.0), 1);
        assert!(profiles.save().is_err());
        std::fs::create_dir(folder.path().join("none")).unwrap();
        profiles.save().unwrap();
        assert!(Profiles::open(&folder.path().join("none")).get(&"cd".repeat(32), "d", "default").is_some());
    }

    #[test]
    fn what_another_box_learned_is_taken_where_less_is_known_here() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (Profiles::open(folder.path()), Profiles::open(&folder.path().join("x")));
        let (a, b) = ("aa".repeat(32), "bb".repeat(32));
        here.put(&a, "d", "default", &profile(1.0), 100);
        there.put(&a, "d", "default", &profile(2.0), 10);
        there.put(&b, "d", "default", &profile(3.0), 10);
        let document = there.export();
        assert_eq!(here.import(&document).unwrap(), 1);
        assert_eq!(here.get(&a, "d", "default").unwrap().1, 100);
        assert_eq!(here.get(&b, "d", "default").unwrap().0, profile(3.0));
        let mut damaged = document.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(here.import(&damaged).is_err() && here.import(&document[..20]).is_err());
    }

    #[test]
    fn a_digest_follows_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        std::fs::write(&file, "abc").unwrap();
        let profiles = Profiles::open(folder.path());
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(profiles.digest(&file).unwrap(), abc);
        std::fs::write(&file, "abcd").unwrap();
        assert_ne!(profiles.digest(&file).unwrap(), abc);
        assert!(profiles.digest(&folder.path().join("none")).is_err());
    }
}
