//! What the runtime promises beyond what every runtime does: datatypes and quantisation as declared, files refused.

use std::path::Path;
use std::sync::Arc;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::runtime::{Cancel, DeviceKind, DeviceSpec, Model, Outputs, Runtime};
use edgemux_runtime_api::tensor::{DataType, TensorView};
use edgemux_runtime_tflite::Tflite;

use crate::models;

fn device(kind: DeviceKind, threads: u32, options: &str) -> DeviceSpec {
    DeviceSpec { name: "cpu".into(), kind, threads, options: options.into() }
}

pub(crate) fn runtime(threads: u32, options: &str) -> Tflite {
    Tflite::open(&device(DeviceKind::Cpu, threads, options)).unwrap()
}

fn load(name: &str) -> Arc<dyn Model> {
    runtime(1, "").load(&models::path(&format!("{name}.tflite"))).unwrap()
}

/// Why a file of these contents is refused.
fn refused(contents: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.tflite");
    std::fs::write(&file, contents).unwrap();
    match runtime(1, "").load(&file).map(drop) {
        Err(LoadError::Invalid { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Keeps what a model writes.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Vec<(Vec<i64>, Vec<u8>)>);

impl Outputs for Kept {
    fn buffer(&mut self, index: usize, shape: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError> {
        assert_eq!(index, self.0.len());
        self.0.push((shape.to_vec(), vec![0xEE; bytes]));
        Ok(self.0.last_mut().map(|(_, bytes)| bytes.as_mut_slice()))
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        panic!("no TensorFlow Lite model is decoupled");
    }
}

type Answers = Vec<(Vec<i64>, Vec<u8>)>;

pub(crate) fn run(model: &Arc<dyn Model>, inputs: &[(&[i64], &[u8])]) -> Result<Answers, RunError> {
    let views: Vec<_> = model
        .signature()
        .inputs
        .iter()
        .zip(inputs)
        .map(|(spec, &(shape, bytes))| TensorView { datatype: spec.datatype, shape, bytes })
        .collect();
    let mut kept = Kept::default();
    Arc::clone(model).instantiate()?.run(&views, &mut kept, &Cancel::default())?;
    Ok(kept.0)
}

#[test]
fn every_datatype_is_declared_and_carried_as_the_file_says() {
    let model = load("every_datatype");
    let declared: Vec<_> = model.signature().inputs.iter().map(|spec| spec.datatype).collect();
    let datatypes = [
        DataType::Fp32,
        DataType::Fp64,
        DataType::Int32,
        DataType::Int64,
        DataType::Int16,
        DataType::Int8,
        DataType::Uint8,
        DataType::Bool,
    ];
    assert_eq!(declared, datatypes);
    let contents: Vec<Vec<u8>> = datatypes
        .iter()
        .map(|datatype| (0..2 * datatype.size().unwrap()).map(|n| n as u8 % 2).collect())
        .collect();
    let inputs: Vec<_> = contents.iter().map(|bytes| (&[2_i64][..], bytes.as_slice())).collect();
    let outputs = run(&model, &inputs).unwrap();
    for ((datatype, contents), (shape, bytes)) in datatypes.iter().zip(&contents).zip(&outputs) {
        assert_eq!((shape.as_slice(), bytes), (&[2, 1][..], contents), "{datatype}");
    }
    // There is no signature in the file: the tensors' own names are the names.
    assert_eq!(model.signature().outputs[0].name, "float32_column");
}

#[test]
fn what_an_integer_is_worth_is_shown() {
    let parameters = |name: &str| load(name).details().parameters;
    let shown = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(
        parameters("add_uint8"),
        shown(&[
            ("a.scale", "0.5"),
            ("a.zero_point", "128"),
            ("b.scale", "0.25"),
            ("b.zero_point", "100"),
            ("y.scale", "1"),
            ("y.zero_point", "127"),
        ])
    );
    assert_eq!(
        parameters("per_channel"),
        shown(&[("x.scale", "0.5,0.25"), ("x.zero_point", "0,3"), ("x.axis", "1")])
    );
    assert!(parameters("echo").is_empty(), "floating point is worth itself");
}

#[test]
fn integers_are_computed_as_their_worth_says() {
    // 1 + 2, 5 + 0, -20 + 15, 0 - 25, in halves from 128, quarters from 100, ones from 127.
    let model = load("add_uint8");
    let outputs = run(&model, &[(&[4], &[130, 138, 88, 128]), (&[4], &[108, 100, 160, 0])]).unwrap();
    assert_eq!(outputs[0].1, [130, 132, 122, 102]);
}

#[test]
fn an_open_dimension_takes_any_size_in_any_order() {
    let model = load("echo");
    let mut instance = Arc::clone(&model).instantiate().unwrap();
    for len in [1, 7, 100_000, 3, 3, 50_000, 1] {
        let elements: Vec<u8> = (0..len).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let view = TensorView { datatype: DataType::Fp32, shape: &[len], bytes: &elements };
        let mut kept = Kept::default();
        instance.run(&[view], &mut kept, &Cancel::default()).unwrap();
        assert_eq!(kept.0, [(vec![len], elements)], "{len} elements");
    }
}

#[test]
fn shapes_that_do_not_go_together_fail_their_request_and_no_other() {
    let model = load("sum_and_difference");
    let mut instance = Arc::clone(&model).instantiate().unwrap();
    let mut run = |a: &[f32], b: &[f32]| {
        let bytes = |elements: &[f32]| elements.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        let ((a_shape, a), (b_shape, b)) = (([a.len() as i64], bytes(a)), ([b.len() as i64], bytes(b)));
        let a = TensorView { datatype: DataType::Fp32, shape: &a_shape, bytes: &a };
        let b = TensorView { datatype: DataType::Fp32, shape: &b_shape, bytes: &b };
        let mut kept = Kept::default();
        instance.run(&[a, b], &mut kept, &Cancel::default()).map(|_| kept.0)
    };
    for _ in 0..3 {
        let refused = run(&[1.0; 3], &[1.0; 2]);
        assert!(matches!(&refused, Err(RunError::Inputs(said)) if said.contains("[3], [2]")), "{refused:?}");
        assert_eq!(
            run(&[1.0, 2.0], &[3.0, 5.0]).unwrap()[0].1,
            [4.0_f32, 7.0].map(f32::to_le_bytes).concat()
        );
    }
}

#[test]
fn an_empty_tensor_is_refused_with_a_reason() {
    let refused = run(&load("echo"), &[(&[0], &[])]);
    assert!(matches!(&refused, Err(RunError::Inputs(said)) if said.contains("empty tensor")), "{refused:?}");
}

#[test]
fn a_refused_file_is_told_why() {
    for (name, said) in [
        ("for_edgetpu", "runtime edgetpu runs it"),
        ("unknown_operator", "\"Frobnicate\""),
        ("strings", "\"x\" is of TensorFlow Lite's type 5"),
        ("no_outputs", "no outputs"),
        ("twice", "two inputs called \"x\""),
        ("misfit", "TensorFlow Lite refuses it"),
    ] {
        let reason = refused(&models::model(name));
        assert!(reason.contains(said), "{name}: {reason}");
    }
    // The scale of the output, 1, with its sign changed.
    let mut negative = models::model("add_int8");
    let at = negative.windows(4).position(|bytes| bytes == 1.0_f32.to_le_bytes()).unwrap();
    negative[at + 3] ^= 0x80;
    assert!(refused(&negative).contains("\"y\" is worth -1"));
    assert!(refused(b"PK\x03\x04 and so on").contains("no TensorFlow Lite file"));
}

#[test]
fn what_is_not_a_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.tflite");
    for unreadable in [absent.as_path(), folder.path(), Path::new("/dev/zero")] {
        let loaded = runtime(1, "").load(unreadable).map(drop);
        assert!(matches!(loaded, Err(LoadError::Read { .. })), "{}: {loaded:?}", unreadable.display());
    }
}

#[test]
fn devices_and_options_that_are_not_its_own_are_refused() {
    for kind in [DeviceKind::Gpu, DeviceKind::Edgetpu] {
        assert!(matches!(Tflite::open(&device(kind, 1, "")), Err(OpenError::Kind { .. })));
    }
    assert!(matches!(Tflite::open(&device(DeviceKind::Cpu, 1, "{\"x\": 1}")), Err(OpenError::Options(_))));
    assert!(Tflite::open(&device(DeviceKind::Cpu, 0, "{}")).is_ok());
}

#[test]
fn the_probe_names_the_library_and_its_version() {
    assert!(Tflite::probe().version.starts_with("TensorFlow Lite 2."), "{}", Tflite::probe().version);
}
