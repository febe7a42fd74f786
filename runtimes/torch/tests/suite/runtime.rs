//! What the torch runtime promises beyond what every runtime does.

use std::sync::Arc;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::runtime::{Cancel, DeviceKind, DeviceSpec, Model, Outputs, Runtime};
use edgemux_runtime_api::tensor::TensorView;
use edgemux_runtime_torch::Torch;

use crate::models;

fn device(kind: DeviceKind, options: &str) -> DeviceSpec {
    DeviceSpec { name: "torch".into(), kind, threads: 1, options: options.into() }
}

fn load(name: &str) -> Result<Arc<dyn Model>, LoadError> {
    let runtime = Torch::open(&device(DeviceKind::Cpu, "")).unwrap();
    runtime.load(&models::path(&format!("{name}.pt")))
}

/// Keeps what a model writes to its one output.
#[derive(Default)]
struct Kept(Vec<u8>);

impl Outputs for Kept {
    fn buffer(&mut self, index: usize, _: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError> {
        assert_eq!(index, 0);
        self.0 = vec![0xEE; bytes];
        Ok(Some(&mut self.0))
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        panic!("no TorchScript model is decoupled");
    }
}

fn run(model: &Arc<dyn Model>, shape: &[i64], bytes: &[u8]) -> Result<Vec<u8>, RunError> {
    let datatype = model.signature().inputs[0].datatype;
    let mut kept = Kept::default();
    let mut instance = Arc::clone(model).instantiate()?;
    instance.run(&[TensorView { datatype, shape, bytes }], &mut kept, &Cancel::default())?;
    Ok(kept.0)
}

fn floats(elements: &[f32]) -> Vec<u8> {
    elements.iter().flat_map(|element| element.to_le_bytes()).collect()
}

#[test]
fn a_file_without_a_signature_is_refused_with_what_to_do() {
    let Err(LoadError::Invalid { reason, .. }) = load("says_nothing") else { panic!("it is loaded") };
    assert!(reason.contains("_extra_files={'edgemux.json': ...}"), "{reason}");
    assert!(reason.contains("make_torchscript.py"), "{reason}");
}

#[test]
fn a_model_that_breaks_its_signature_is_refused_when_it_is_loaded() {
    for (name, said) in [
        ("says_another_datatype", "its signature says INT64"),
        ("says_more_inputs", "its forward takes 1 to 1"),
        ("says_more_outputs", "answers with 1 tensors, its signature has 2"),
        ("says_strings", "this runtime takes"),
    ] {
        let Err(LoadError::Invalid { reason, .. }) = load(name) else { panic!("{name} is loaded") };
        assert!(reason.contains(said), "{name}: {reason}");
    }
}

#[test]
fn a_model_that_writes_into_its_input_leaves_the_clients_memory_alone() {
    let model = load("in_place").unwrap();
    let input = floats(&[1.0, 2.0, 3.0]);
    assert_eq!(run(&model, &[3], &input), Ok(floats(&[1.0, 0.0, 0.0])));
    assert_eq!(input, floats(&[1.0, 2.0, 3.0]));
}

#[test]
fn a_model_that_keeps_its_input_keeps_a_copy() {
    let model = load("keeper").unwrap();
    let mut input = floats(&[1.0, 2.0]);
    run(&model, &[2], &input).unwrap();
    input.fill(0xFF);
    assert_eq!(run(&model, &[2], &floats(&[5.0, 6.0])), Ok(floats(&[1.0, 2.0])));
}

#[test]
fn a_model_that_changes_itself_runs_one_request_at_a_time() {
    const THREADS: u64 = 4;
    const RUNS: u64 = 50;
    let model = load("counter").unwrap();
    let input = vec![0; 256 * 256 * 4];
    let count = |model| {
        let bytes = run(model, &[256, 256], &input).unwrap();
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    let before = count(&model);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..RUNS).for_each(|_| _ = count(&model)));
        }
    });
    assert_eq!(count(&model), before + THREADS * RUNS + 1);
}

#[test]
fn a_boolean_that_is_neither_is_refused() {
    let model = load("every_datatype").unwrap();
    let inputs = [(1, [2, 0].as_slice()), (1, &[0; 2]), (1, &[0; 2])];
    let sizes = [1, 1, 1, 2, 4, 2, 2, 8];
    let zeros: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0; 2 * size]).collect();
    let views: Vec<_> = model
        .signature()
        .inputs
        .iter()
        .zip(&zeros)
        .enumerate()
        .map(|(index, (spec, zeros))| TensorView {
            datatype: spec.datatype,
            shape: &[2],
            bytes: if index == 0 { inputs[0].1 } else { zeros },
        })
        .collect();
    let mut instance = Arc::clone(&model).instantiate().unwrap();
    let ran = instance.run(&views, &mut Kept::default(), &Cancel::default());
    assert!(matches!(ran, Err(RunError::Inputs(_))), "{ran:?}");
}

#[test]
fn a_device_that_is_not_there_is_refused_with_the_reason() {
    if std::env::var_os("EDGEMUX_TORCH_DEVICE").is_some() {
        return;
    }
    match Torch::open(&device(DeviceKind::Gpu, r#"{"index": 200}"#)) {
        Err(OpenError::Device(reason)) => assert!(reason.contains("CUDA"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
