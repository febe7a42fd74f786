//! What the ONNX runtime promises beyond what every runtime does: values, datatypes as declared, files refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::models;
use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::runtime::{Cancel, DeviceKind, DeviceSpec, Model, Outputs, Runtime};
use edgemux_runtime_api::tensor::{DataType, TensorView};
use edgemux_runtime_onnx::Onnx;
use rten_onnx::onnx::{self, GraphProto, TypeProto, TypeProtoTensor, ValueInfoProto};

fn device(kind: DeviceKind, threads: u32, options: &str) -> DeviceSpec {
    DeviceSpec { name: "cpu".into(), kind, threads, options: options.into() }
}

fn runtime() -> Onnx {
    Onnx::open(&device(DeviceKind::Cpu, 1, "")).unwrap()
}

fn load(bytes: &[u8]) -> Result<Arc<dyn Model>, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.onnx");
    std::fs::write(&file, bytes).unwrap();
    runtime().load(&file)
}

/// Keeps what a model writes.
#[derive(Default)]
struct Kept(Answers);

impl Outputs for Kept {
    fn buffer(&mut self, index: usize, shape: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError> {
        assert_eq!(index, self.0.len());
        self.0.push((shape.to_vec(), vec![0xEE; bytes]));
        Ok(self.0.last_mut().map(|(_, bytes)| bytes.as_mut_slice()))
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        panic!("no ONNX model is decoupled");
    }
}

type Tensor<'a> = (&'a [i64], &'a [u8]);
type Answers = Vec<(Vec<i64>, Vec<u8>)>;

fn run(model: &Arc<dyn Model>, inputs: &[Tensor<'_>]) -> Result<Answers, RunError> {
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

fn bytes<T: bytemuck::NoUninit>(elements: &[T]) -> &[u8] {
    bytemuck::cast_slice(elements)
}

#[test]
fn a_convolution_gives_what_a_loop_gives() {
    let kernel: [f32; 9] = [1.0, -2.0, 0.5, 0.0, 3.0, -1.0, 2.0, 0.25, -0.5];
    let (bias, batch) = (-4.0, 2);
    let image: Vec<f32> = (0..batch * 16).map(|n| ((n * 7) % 11) as f32 - 3.0).collect();
    let mut expected = Vec::new();
    for picture in image.chunks(16) {
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let sum: f32 = (0..9).map(|k| kernel[k] * picture[(row + k / 3) * 4 + column + k % 3]).sum();
            expected.push((sum + bias).max(0.0));
        }
    }
    let model = load(&models::conv_relu(&kernel, bias)).unwrap();
    assert_eq!(model.signature().inputs[0].shape, [-1, 1, 4, 4]);
    let outputs = run(&model, &[(&[batch as i64, 1, 4, 4], bytes(&image))]).unwrap();
    assert_eq!(outputs[0].0, [batch as i64, 1, 2, 2]);
    for (got, want) in bytemuck::cast_slice::<u8, f32>(&outputs[0].1).iter().zip(&expected) {
        assert!((got - want).abs() < 1e-5, "{got} for {want}");
    }
    assert!(expected.contains(&0.0) && expected.iter().any(|&value| value > 0.0), "a fair test of ReLU");
}

#[test]
fn every_datatype_is_declared_and_carried_as_the_file_says() {
    for (declared, datatype, contents) in [
        (onnx::DataType::FLOAT, DataType::Fp32, bytes(&[1.5_f32, -2.0]).to_vec()),
        (onnx::DataType::INT32, DataType::Int32, bytes(&[7_i32, i32::MIN]).to_vec()),
        (onnx::DataType::INT64, DataType::Int64, bytes(&[7_i64, -8]).to_vec()),
        (onnx::DataType::INT8, DataType::Int8, vec![1, 0xFF]),
        (onnx::DataType::UINT8, DataType::Uint8, vec![1, 0xFF]),
        (onnx::DataType::BOOL, DataType::Bool, vec![1, 0]),
    ] {
        let model = load(&models::identity(declared, &[-1])).unwrap();
        let signature = model.signature();
        assert_eq!((signature.inputs[0].datatype, signature.outputs[0].datatype), (datatype, datatype));
        let outputs = run(&model, &[(&[2], &contents)]).unwrap();
        assert_eq!(outputs, [(vec![2], contents)], "{datatype}");
    }
}

#[test]
fn datatypes_are_converted_where_the_model_does() {
    let truth = load(&models::not(&[-1])).unwrap();
    assert_eq!(run(&truth, &[(&[3], &[0, 1, 2])]).unwrap(), [(vec![3], vec![1, 0, 0])]);
    let wide = load(&models::cast(onnx::DataType::INT64, onnx::DataType::FLOAT, &[-1])).unwrap();
    let floats = run(&wide, &[(&[2], bytes(&[3_i64, -4]))]).unwrap();
    assert_eq!(floats[0].1, bytes(&[3.0_f32, -4.0]));
    let narrow = load(&models::cast(onnx::DataType::FLOAT, onnx::DataType::INT64, &[-1])).unwrap();
    assert_eq!(run(&narrow, &[(&[1], bytes(&[-5.0_f32]))]).unwrap()[0].1, bytes(&[-5_i64]));
    let sum = load(&models::add(onnx::DataType::INT32, &[2])).unwrap();
    assert_eq!(
        run(&sum, &[(&[2], bytes(&[1_i32, 2])), (&[2], bytes(&[10_i32, 20]))]).unwrap()[0].1,
        bytes(&[11_i32, 22])
    );
}

#[test]
fn an_integer_beyond_32_bits_is_refused_not_cut() {
    let model = load(&models::identity(onnx::DataType::INT64, &[-1])).unwrap();
    let refused = run(&model, &[(&[1], bytes(&[1_i64 << 40]))]);
    assert!(matches!(&refused, Err(RunError::Inputs(said)) if said.contains("1099511627776")), "{refused:?}");
}

#[test]
fn an_undeclared_output_is_found_out() {
    // Neither datatype nor shape of the output is in the file.
    let graph = |inputs: Vec<ValueInfoProto>| GraphProto {
        input: inputs,
        output: vec![ValueInfoProto { name: Some("y".into()), r#type: None }],
        node: vec![models::node("Add", &["a", "b"], "y")],
        ..Default::default()
    };
    let input = |name| models::value(name, onnx::DataType::FLOAT, &[-1, 3]);
    let model = load(&models::model(graph(vec![input("a"), input("b")]))).unwrap();
    let output = &model.signature().outputs[0];
    assert_eq!((output.datatype, &output.shape[..]), (DataType::Fp32, &[-1, 3][..]));

    // Where inference gives up, a trial run counts the dimensions: two are left of [n, 1, m].
    let squeeze = GraphProto {
        input: vec![models::value("x", onnx::DataType::FLOAT, &[-1, 1, -1])],
        output: vec![ValueInfoProto { name: Some("y".into()), r#type: None }],
        node: vec![models::node("Squeeze", &["x"], "y")],
        ..Default::default()
    };
    let model = load(&models::model(squeeze)).unwrap();
    assert_eq!(model.signature().outputs[0].shape, [-1, -1]);

    // An input's, on the other hand, is the client's business, which cannot be guessed.
    let unknown = |tensor| ValueInfoProto {
        name: Some("b".into()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), sequence: None }),
    };
    let shapeless = unknown(TypeProtoTensor { elem_type: Some(onnx::DataType::FLOAT), shape: None });
    let error = load(&models::model(graph(vec![input("a"), shapeless]))).map(drop).unwrap_err();
    assert!(error.to_string().contains("input \"b\" has an undeclared shape"), "{error}");
}

#[test]
fn datatypes_that_would_be_computed_in_another_are_refused() {
    for (declared, said) in [
        (onnx::DataType::DOUBLE, "input \"x\" has ONNX datatype 11"),
        (onnx::DataType::FLOAT16, "input \"x\" has ONNX datatype 10"),
        (onnx::DataType::STRING, "input \"x\" has ONNX datatype 8"),
    ] {
        let error = load(&models::identity(declared, &[1])).map(drop).unwrap_err();
        assert!(matches!(error, LoadError::Invalid { .. }) && error.to_string().contains(said), "{error}");
    }
}

#[test]
fn broken_files_are_refused_with_a_reason() {
    let good = models::conv_relu(&[1.0; 9], 0.0);
    let unknown_operator = models::model(GraphProto {
        input: vec![models::value("x", onnx::DataType::FLOAT, &[1])],
        output: vec![models::value("y", onnx::DataType::FLOAT, &[1])],
        node: vec![models::node("Frobnicate", &["x"], "y")],
        ..Default::default()
    });
    for (what, file) in [
        ("empty", vec![]),
        ("text", b"this is no model".to_vec()),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("no graph", models::model(GraphProto::default())),
        ("unknown operator", unknown_operator),
        // Field 2, the producer's name, of 2^62 bytes.
        (
            "a length out of this world",
            vec![8, 8, 0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40],
        ),
    ] {
        match load(&file).map(drop) {
            Err(LoadError::Invalid { reason, .. }) => assert!(!reason.is_empty(), "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for unreadable in [folder.path().join("absent.onnx"), folder.path().to_path_buf()] {
        assert!(matches!(runtime().load(&unreadable), Err(LoadError::Read { .. })));
    }
}

#[test]
fn no_truncation_and_no_flipped_byte_is_fatal() {
    let good = models::conv_relu(&[1.0; 9], 0.0);
    for len in 0..good.len() {
        let _ = load(&good[..len]);
    }
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            if let Ok(model) = load(&bytes) {
                let image = [0.0_f32; 16];
                let run = || run(&model, &[(&[1, 1, 4, 4], bytemuck::cast_slice(&image))]).map(drop);
                // The worker's lane catches what a model throws; only an abort would be fatal.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            }
        }
    }
}

#[test]
fn devices_and_options_that_are_not_its_own_are_refused() {
    for kind in [DeviceKind::Gpu, DeviceKind::Edgetpu] {
        assert!(matches!(Onnx::open(&device(kind, 1, "")), Err(OpenError::Kind { .. })));
    }
    assert!(matches!(Onnx::open(&device(DeviceKind::Cpu, 1, "{\"x\": 1}")), Err(OpenError::Options(_))));
    assert!(Onnx::open(&device(DeviceKind::Cpu, 0, "{}")).is_ok());
}

#[test]
fn memory_is_at_least_the_weights() {
    let model = load(&models::conv_relu(&[1.0; 9], 0.0)).unwrap();
    assert!(model.memory().at_rest_bytes >= 10 * 4);
}

#[test]
fn the_example_models_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models");
    for (file, shape, classes) in
        [("mobilenet_tiny.onnx", vec![2, 3, 96, 96], 10), ("keywords.onnx", vec![2, 1, 49, 10], 12)]
    {
        let file: PathBuf = folder.join(file);
        let model = runtime().load(&file).unwrap();
        let len: i64 = shape.iter().product();
        let input: Vec<f32> = (0..len).map(|n| (n % 17) as f32 / 17.0).collect();
        let outputs = run(&model, &[(&shape, bytes(&input))]).unwrap();
        assert_eq!(outputs[0].0, [2, classes]);
        assert!(bytemuck::cast_slice::<u8, f32>(&outputs[0].1).iter().all(|score| score.is_finite()));
    }
}
