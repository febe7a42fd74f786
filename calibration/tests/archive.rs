//! What was learned comes back as it was, or not at all.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its archive has failed")]

use edgemux_calibration::archive::{Archive, ArchiveError, DeviceEntry, Entry, Keep, Key};
use edgemux_calibration::profile::{Group, Profile};
use edgemux_calibration::system::{Bus, SpeedUp};
use edgemux_calibration::units::{Scv, Seconds};
use proptest::prelude::*;

fn entry(digit: char, service_ms: f64, samples: u64, updated_unix_s: u64) -> Entry {
    let model_digest = digit.to_string().repeat(64);
    let key = Key { model_digest, device: "tpu0".into(), power_mode: "default".into() };
    let ms = |ms| Seconds::from_ms(ms).unwrap();
    let profile = Profile::of(ms(service_ms), Scv::ZERO).with_reload(ms(2.0), Some(Group(3)));
    Entry { key, profile, samples, updated_unix_s }
}

fn archive() -> Archive {
    let device = DeviceEntry {
        device: "gpu0".into(),
        power_mode: "15W".into(),
        speed_up: SpeedUp::measured([(1.0, 0.0), (1.5, 0.01), (1.75, 0.02)]).unwrap(),
        bus: Some(Bus::new(3e9).unwrap()),
        samples: 12,
    };
    Archive { entries: vec![entry('a', 5.0, 100, 7), entry('b', 9.0, 3, 9)], devices: vec![device] }
}

/// A document of this body.
fn document(body: &str) -> Vec<u8> {
    let checksum = crc32fast::hash(body.as_bytes());
    format!("edgemux-calibration 1 {} {checksum:08x}\n{body}", body.len()).into_bytes()
}

#[test]
fn it_comes_back_as_it_was() {
    assert_eq!(Archive::from_bytes(&archive().to_bytes()).unwrap(), archive());
    assert_eq!(Archive::from_bytes(&Archive::default().to_bytes()).unwrap(), Archive::default());
}

#[test]
fn every_flipped_bit_and_every_truncation_is_found() {
    let good = archive().to_bytes();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(Archive::from_bytes(&bad).is_err(), "bit {bit} of byte {at}");
        }
        assert!(Archive::from_bytes(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(Archive::from_bytes(&[good.as_slice(), b" "].concat()).is_err(), "too much");
}

#[test]
fn what_is_wrong_is_said() {
    let profile = |inner: &str| {
        let key = format!(r#"{{"model-digest":"{}","device":"d","power-mode":"m"}}"#, "0".repeat(64));
        let entry = format!(r#"{{"key":{key},"samples":1,"updated-unix-s":1,"profile":{inner}}}"#);
        document(&format!(r#"{{"profiles":[{entry}],"devices":[]}}"#))
    };
    let device = |inner: &str| {
        let entry = format!(r#"{{"device":"d","power-mode":"m","samples":1,{inner}}}"#);
        document(&format!(r#"{{"profiles":[],"devices":[{entry}]}}"#))
    };
    for (bytes, said) in [
        (Vec::new(), "no saved calibration"),
        (b"edgemux-calibration 1".to_vec(), "no saved calibration"),
        (b"edgemux-calibration 2 0 00000000\n".to_vec(), "version 2"),
        (b"edgemux-calibration 1 1 00000000\n".to_vec(), "0 bytes instead of 1"),
        (b"edgemux-calibration 1 1 00000000\nx".to_vec(), "checksum"),
        (vec![b'x'; 1 << 20], "no saved calibration"),
        (document("{}"), "missing field"),
        (document(r#"{"profiles":[],"devices":[],"more":1}"#), "unknown field"),
        (profile(r#"{"version":"1","service":{"moments":[1,0.5,1]}}"#), "no service time has these"),
        (profile(r#"{"version":"9"}"#), "unknown variant"),
        (device(r#""speed-up":[2.0]"#), "speed-up curve"),
        (device(r#""speed-up":[1.0],"bus":-1.0"#), "bus bandwidth"),
        (device(r#""speed-up":[1.0],"speed-up-error":[0.0,0.1]"#), "2 errors for the 1 points"),
        (device(r#""speed-up":[1.0],"speed-up-error":[2.0]"#), "relative standard error"),
        (
            document(
                r#"{"profiles":[],"devices":[{"device":"","power-mode":"m","samples":1,"speed-up":[1.0]}]}"#,
            ),
            "no name",
        ),
    ] {
        let error = Archive::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains(said), "{error:?}, not {said:?}");
    }
    assert_eq!(Archive::from_bytes(&vec![0; (64 << 20) + 1]), Err(ArchiveError::TooLong((64 << 20) + 1)));
}

#[test]
fn the_better_known_is_kept() {
    let mut here = archive();
    let there = Archive {
        entries: vec![entry('a', 1.0, 50, 99), entry('b', 1.0, 50, 1), entry('c', 1.0, 1, 1)],
        devices: vec![],
    };
    assert_eq!(here.merge(there.clone(), Keep::MoreSamples), 2);
    let samples: Vec<_> = here.entries.iter().map(|entry| entry.samples).collect();
    assert_eq!(samples, [100, 50, 1]);
    let mut here = archive();
    assert_eq!(here.merge(there, Keep::Newer), 2);
    let samples: Vec<_> = here.entries.iter().map(|entry| entry.samples).collect();
    assert_eq!(samples, [50, 3, 1]);
}

#[test]
fn merging_is_soon_done_and_never_makes_more_than_can_be_read_again() {
    let many = |from: u32, to: u32| Archive {
        entries: (from..to)
            .map(|at| {
                let mut entry = entry('a', 5.0, 1, 1);
                entry.key.model_digest = format!("{at:064x}");
                entry
            })
            .collect(),
        devices: vec![],
    };
    let mut here = many(0, 60_000);
    assert_eq!(here.merge(many(30_000, 120_000), Keep::Newer), 40_000);
    assert_eq!(here.entries.len(), 100_000);
    assert_eq!(Archive::from_bytes(&here.to_bytes()).unwrap().entries.len(), 100_000);
}

proptest! {
    #[test]
    fn every_number_comes_back_to_the_last_bit(step in 0.0..1.0, bytes_per_s in 1.0..1e13) {
        let mut good = archive();
        good.devices[0].speed_up = SpeedUp::new(vec![1.0, 1.0 + step]).unwrap();
        good.devices[0].bus = Some(Bus::new(bytes_per_s).unwrap());
        prop_assert_eq!(Archive::from_bytes(&good.to_bytes()).unwrap(), good);
    }

    #[test]
    fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(Archive::from_bytes(&bytes).is_err());
    }

    #[test]
    fn garbage_with_a_good_checksum_is_an_error(body in "[\\[\\]{}\":,a-z0-9.-]{0,200}") {
        prop_assert!(Archive::from_bytes(&document(&body)).is_err());
    }
}
