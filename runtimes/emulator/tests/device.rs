//! The emulated device through its traits: memory, faults, cancelling. No test here measures time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::sync::Arc;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::runtime::{Cancel, DeviceKind, DeviceSpec, Model, Outputs, Runtime, Timing};
use edgemux_runtime_api::tensor::TensorView;
use edgemux_runtime_emulator::Emulator;

struct Kept(Vec<u8>);

impl Outputs for Kept {
    fn buffer(&mut self, _: usize, _: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError> {
        self.0 = vec![0xEE; bytes];
        Ok(Some(&mut self.0))
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}

struct Bench {
    emulator: Emulator,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(options: &str) -> Self {
        let device = DeviceSpec {
            name: "tpu0".into(),
            kind: DeviceKind::Edgetpu,
            threads: 0,
            options: options.into(),
        };
        Self { emulator: Emulator::open(&device).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn load(&self, rest: &str) -> Result<Arc<dyn Model>, LoadError> {
        let tensor = |kind: &str| format!("[[{kind}]]\nname = \"X\"\ndatatype = \"UINT8\"\nshape = [4]\n");
        let file: PathBuf = self.folder.path().join("model.emu.toml");
        std::fs::write(&file, format!("seed = 5\n{}{}{rest}", tensor("input"), tensor("output"))).unwrap();
        self.emulator.load(&file)
    }
}

fn run(model: &Arc<dyn Model>) -> Result<Timing, RunError> {
    let view =
        TensorView { datatype: model.signature().inputs[0].datatype, shape: &[4], bytes: &[1, 2, 3, 4] };
    let mut kept = Kept(vec![]);
    let timing = Arc::clone(model).instantiate()?.run(&[view], &mut kept, &Cancel::default())?;
    assert_eq!(kept.0, [1, 2, 3, 4]);
    Ok(timing)
}

#[test]
fn memory_is_limited_and_given_back() {
    let bench = Bench::new("{\"memory-bytes\": 1000}");
    let load = || bench.load("[service]\nmean-ms = 0\n[memory]\nat-rest-bytes = 600\npeak-bytes = 9\n");
    let first = load().unwrap();
    assert_eq!((first.memory().at_rest_bytes, first.memory().peak_bytes), (600, 9));
    let refused = load().map(drop);
    assert_eq!(refused, Err(LoadError::Memory { needed_bytes: 600, available_bytes: 400 }));
    let instance = Arc::clone(&first).instantiate();
    drop(first);
    assert!(load().is_err(), "an instance keeps its model");
    drop(instance);
    assert!(load().is_ok());
}

/// On a device of its own, a model's times follow from its seed alone.
#[test]
fn times_follow_from_the_seed() {
    let times = |options: &str| {
        let bench = Bench::new(options);
        let model = bench.load("[service]\nmean-ms = 1.0\ncv = 0.5\n").unwrap();
        (0..20).map(|_| run(&model).unwrap().infer_ns).collect::<Vec<_>>()
    };
    // The device's clock counts in floating point: a nanosecond may be lost to rounding.
    let same = |a: &[u64], b: &[u64]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 1);
    let fast = "{\"time-scale\": 0.01}";
    assert!(same(&times(fast), &times(fast)));
    assert!(!same(&times(fast), &times("{\"time-scale\": 0.01, \"seed\": 1}")));
}

#[test]
fn alternating_models_reload_their_parameters() {
    let bench = Bench::new("{\"time-scale\": 0.001}");
    let load = |group: &str, bytes: u32| {
        let reload = format!("[reload]\noverhead-ms = 100.0\non-chip-bytes = {bytes}\n{group}");
        bench.load(&format!("[service]\nmean-ms = 10.0\n{reload}")).unwrap()
    };
    let reloads = |models: &[&Arc<dyn Model>]| {
        models.iter().map(|model| run(model).unwrap().reload_ns > 0).collect::<Vec<_>>()
    };
    let (one, two, none) = (load("# one", 1), load("# two", 1), load("", 0));
    assert_eq!(reloads(&[&one, &one, &two, &one, &none, &one]), [true, false, true, true, false, true]);
    let (left, right) = (load("group = \"pair\"", 1), load("group = \"pair\"", 1));
    assert_eq!(reloads(&[&left, &right, &left]), [true, false, false]);
    // One file that is loaded twice is one set of parameters.
    let again = load("# one", 1);
    assert_eq!(reloads(&[&one, &again, &one]), [true, false, false]);
    let group = |model: &Arc<dyn Model>| model.details().on_chip.and_then(|on_chip| on_chip.group);
    assert!(group(&one).is_some() && group(&one) == group(&again) && group(&one) != group(&two));
    assert_eq!(group(&left), group(&right));
}

#[test]
fn a_failing_request_fails_alone() {
    let bench = Bench::new("");
    let model =
        bench.load("[service]\nmean-ms = 0\n[[fault]]\nkind = \"fail\"\nafter-requests = 2\n").unwrap();
    assert!(run(&model).is_ok());
    assert!(matches!(run(&model), Err(RunError::Failed(_))));
    assert!(run(&model).is_ok());
}

#[test]
fn a_device_that_vanished_is_lost_to_every_model() {
    let bench = Bench::new("");
    let other = bench.load("[service]\nmean-ms = 0\n").unwrap();
    let model =
        bench.load("[service]\nmean-ms = 0\n[[fault]]\nkind = \"vanish\"\nafter-requests = 2\n").unwrap();
    assert!(run(&model).is_ok() && run(&other).is_ok());
    for model in [&model, &other, &model] {
        assert!(matches!(run(model), Err(RunError::DeviceLost(_))));
    }
}

#[test]
fn a_vanishing_device_wakes_those_who_wait() {
    let bench = Bench::new("{\"sharing\": \"processor-sharing\"}");
    let slow = bench.load("[service]\nmean-ms = 3600000\n").unwrap();
    let vanish =
        bench.load("[service]\nmean-ms = 0\n[[fault]]\nkind = \"vanish\"\nafter-requests = 1\n").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&slow));
        assert!(matches!(run(&vanish), Err(RunError::DeviceLost(_))));
        assert!(matches!(waiting.join().unwrap(), Err(RunError::DeviceLost(_))));
    });
}

#[test]
fn a_slow_down_shows_in_the_times() {
    let bench = Bench::new("{\"time-scale\": 0.01}");
    let fault = "[[fault]]\nkind = \"slow-down\"\nafter-requests = 2\nfactor = 3.0\nrequests = 1\n";
    let model = bench.load(&format!("[service]\nmean-ms = 10.0\n{fault}")).unwrap();
    let times: Vec<_> = (0..3).map(|_| run(&model).unwrap().infer_ns.div_ceil(1000)).collect();
    assert_eq!(times, [100, 300, 100]);
}

#[test]
fn a_processor_needs_no_stand_in() {
    let device = DeviceSpec { name: "cpu".into(), kind: DeviceKind::Cpu, threads: 0, options: String::new() };
    assert!(matches!(Emulator::open(&device), Err(OpenError::Kind { .. })));
}
