//! The runtime for TensorFlow Lite under the suite that every runtime passes.
//!
//! `EDGEMUX_TFLITE_WORKER` names another worker to test, for example a script that runs one of another architecture.

use std::path::PathBuf;

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec};
use edgemux_runtime_conformance::{
    Answer, Exception, ModelCase, RunCase, Slow, Subject, Tensor, as_worker, in_process,
};
use edgemux_runtime_tflite::Tflite;

use crate::models::model;

const EXCEPTIONS: &[Exception] = &[
    Exception {
        case: "a_decoupled_model_responds_many_times",
        reason: "a TensorFlow Lite model gives one response to each request",
    },
    Exception {
        case: "a_request_is_cancelled_while_it_runs",
        reason: "the binding offers no way to stop a run; the request is dropped when it is over",
    },
    Exception {
        case: "empty_tensors_come_through",
        reason: "TensorFlow Lite gives an empty tensor no memory, and its operators do not expect one; it is refused",
    },
];

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec() }
}

fn floats(elements: &[f32]) -> Tensor {
    Tensor::fp32(&[elements.len() as i64], elements)
}

fn sum_and_difference() -> ModelCase {
    let run = |a: &[f32], b: &[f32]| {
        let both = |each: fn((&f32, &f32)) -> f32| a.iter().zip(b).map(each).collect::<Vec<_>>();
        RunCase {
            inputs: vec![floats(a), floats(b)],
            outputs: vec![
                Answer::Exact(floats(&both(|(a, b)| a + b))),
                Answer::Within(floats(&both(|(a, b)| a - b)), 1e-6),
            ],
        }
    };
    ModelCase {
        name: "sum and difference",
        file: model("sum_and_difference"),
        signature: Signature {
            inputs: vec![spec("a", DataType::Fp32, &[-1]), spec("b", DataType::Fp32, &[-1])],
            outputs: vec![spec("sum", DataType::Fp32, &[-1]), spec("difference", DataType::Fp32, &[-1])],
            decoupled: false,
        },
        runs: vec![run(&[1.5, 2.0], &[0.25, -7.0]), run(&[3.0; 9000], &[2.0; 9000])],
    }
}

fn conv_relu() -> ModelCase {
    let picture: Vec<f32> = (0..16).map(|n| n as f32 - 6.0).collect();
    let both: Vec<f32> = picture.iter().chain(&picture).copied().collect();
    let answer = [0.0, 0.0, 5.0, 7.0];
    let run = |batch: usize| RunCase {
        inputs: vec![Tensor::fp32(&[batch as i64, 4, 4, 1], &both[..16 * batch])],
        outputs: vec![Answer::Within(Tensor::fp32(&[batch as i64, 2, 2, 1], &answer.repeat(batch)), 1e-5)],
    };
    ModelCase {
        name: "conv and relu",
        file: model("conv_relu"),
        signature: Signature {
            inputs: vec![spec("x", DataType::Fp32, &[-1, 4, 4, 1])],
            outputs: vec![spec("y", DataType::Fp32, &[-1, 2, 2, 1])],
            decoupled: false,
        },
        runs: vec![run(1), run(2)],
    }
}

fn add_int8() -> ModelCase {
    let tensor = |elements: [i8; 4]| Tensor { shape: vec![4], bytes: elements.map(|x| x as u8).to_vec() };
    ModelCase {
        name: "add of INT8",
        file: model("add_int8"),
        signature: Signature {
            inputs: vec![spec("a", DataType::Int8, &[4]), spec("b", DataType::Int8, &[4])],
            outputs: vec![spec("y", DataType::Int8, &[4])],
            decoupled: false,
        },
        // (1, 5, -20, 0) and (2, 0, 15, -10) in halves and, from 4 on, quarters; the sums in ones from -1 on.
        runs: vec![RunCase {
            inputs: vec![tensor([2, 10, -40, 0]), tensor([12, 4, 64, -36])],
            outputs: vec![Answer::Exact(tensor([2, 4, -6, -11]))],
        }],
    }
}

fn subject(options: &str) -> Subject {
    let other = std::env::var_os("EDGEMUX_TFLITE_WORKER").map(PathBuf::from);
    let program = other.unwrap_or_else(|| env!("CARGO_BIN_EXE_edgemux-runtime-tflite").into());
    let good = model("conv_relu");
    Subject {
        runtime: "tflite",
        format: "tflite",
        command: WorkerCommand::new(program),
        device: DeviceSpec { name: "cpu".into(), kind: DeviceKind::Cpu, threads: 1, options: options.into() },
        refused_kind: DeviceKind::Edgetpu,
        echo: model("echo"),
        models: vec![sum_and_difference(), conv_relu(), add_int8()],
        // Four hundred products of 1024 x 1024: 860 billion operations.
        slow: Slow {
            file: model("many_products"),
            inputs: vec![Tensor::fp32(&[1024, 1024], &vec![0.0; 1024 * 1024])],
        },
        decoupled: None,
        broken: vec![
            ("empty", vec![]),
            ("text", b"this is no model".to_vec()),
            ("truncated", good[..good.len() / 2].to_vec()),
            ("the head alone", good[..8].to_vec()),
            ("no outputs", model("no_outputs")),
            ("two inputs of one name", model("twice")),
            ("strings", model("strings")),
            ("an operator that nobody knows", model("unknown_operator")),
            ("compiled for an edgeTPU", model("for_edgetpu")),
            ("shapes that do not go together", model("misfit")),
        ],
        exceptions: EXCEPTIONS,
    }
}

#[test]
fn the_tflite_runtime_conforms_in_process() {
    in_process::<Tflite>(&subject(""));
}

#[test]
fn the_tflite_runtime_conforms_as_a_worker() {
    as_worker(&subject(""));
}

#[test]
fn the_tflite_runtime_conforms_without_xnnpack() {
    in_process::<Tflite>(&subject(r#"{"xnnpack": false}"#));
}
