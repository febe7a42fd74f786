//! The ONNX runtime under the suite that every runtime passes.

use std::path::PathBuf;

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec};
use edgemux_runtime_conformance::{
    Answer, Exception, ModelCase, RunCase, Slow, Subject, Tensor, as_worker, in_process,
};
use edgemux_runtime_onnx::Onnx;
use rten_onnx::onnx;

use crate::models;

const EXCEPTIONS: &[Exception] = &[
    Exception {
        case: "a_decoupled_model_responds_many_times",
        reason: "an ONNX model gives one response to each request",
    },
    Exception {
        case: "a_request_is_cancelled_while_it_runs",
        reason: "rten offers no way to stop a run; the request is dropped when it is over",
    },
];

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec() }
}

fn sum_and_difference() -> ModelCase {
    let run = |a: &[f32], b: &[f32]| {
        let tensor = |elements: &[f32]| Tensor::fp32(&[elements.len() as i64], elements);
        let both = |each: fn((&f32, &f32)) -> f32| a.iter().zip(b).map(each).collect::<Vec<_>>();
        RunCase {
            inputs: vec![tensor(a), tensor(b)],
            outputs: vec![
                Answer::Exact(tensor(&both(|(a, b)| a + b))),
                Answer::Within(tensor(&both(|(a, b)| a - b)), 1e-6),
            ],
        }
    };
    ModelCase {
        name: "sum and difference",
        file: models::sum_and_difference(),
        signature: Signature {
            inputs: vec![spec("a", DataType::Fp32, &[-1]), spec("b", DataType::Fp32, &[-1])],
            outputs: vec![spec("sum", DataType::Fp32, &[-1]), spec("difference", DataType::Fp32, &[-1])],
            decoupled: false,
        },
        runs: vec![run(&[1.5, 2.0], &[0.25, -7.0]), run(&[3.0; 9000], &[2.0; 9000])],
    }
}

fn conv_relu() -> ModelCase {
    // A kernel of the middle element alone: the picture's centre, doubled, less one, nothing below zero.
    let mut kernel = [0.0; 9];
    kernel[4] = 2.0;
    let picture: Vec<f32> = (0..16).map(|n| n as f32 - 6.0).collect();
    let answer = Tensor::fp32(&[1, 1, 2, 2], &[0.0, 0.0, 5.0, 7.0]);
    ModelCase {
        name: "conv and relu",
        file: models::conv_relu(&kernel, -1.0),
        signature: Signature {
            inputs: vec![spec("x", DataType::Fp32, &[-1, 1, 4, 4])],
            outputs: vec![spec("y", DataType::Fp32, &[-1, 1, 2, 2])],
            decoupled: false,
        },
        runs: vec![RunCase {
            inputs: vec![Tensor::fp32(&[1, 1, 4, 4], &picture)],
            outputs: vec![Answer::Within(answer, 1e-5)],
        }],
    }
}

fn add_int64() -> ModelCase {
    let tensor = |elements: [i64; 2]| {
        let bytes = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        Tensor { shape: vec![2], bytes }
    };
    ModelCase {
        name: "add of INT64",
        file: models::add(onnx::DataType::INT64, &[2]),
        signature: Signature {
            inputs: vec![spec("a", DataType::Int64, &[2]), spec("b", DataType::Int64, &[2])],
            outputs: vec![spec("y", DataType::Int64, &[2])],
            decoupled: false,
        },
        runs: vec![RunCase {
            inputs: vec![tensor([1, -2]), tensor([40, -50])],
            outputs: vec![Answer::Exact(tensor([41, -52]))],
        }],
    }
}

fn subject() -> Subject {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_edgemux-runtime-onnx"));
    let good = models::conv_relu(&[1.0; 9], 0.0);
    Subject {
        runtime: "onnx",
        format: "onnx",
        command: WorkerCommand::new(program),
        device: DeviceSpec { name: "cpu".into(), kind: DeviceKind::Cpu, threads: 1, options: String::new() },
        refused_kind: DeviceKind::Gpu,
        echo: models::identity(onnx::DataType::FLOAT, &[-1]),
        models: vec![sum_and_difference(), conv_relu(), add_int64()],
        // A thousand products of 768 x 768: 900 billion operations.
        slow: Slow {
            file: models::many_products(1000),
            inputs: vec![Tensor::fp32(&[768, 768], &[0.0; 768 * 768])],
        },
        decoupled: None,
        broken: vec![
            ("empty", vec![]),
            ("text", b"this is no model".to_vec()),
            ("truncated", good[..good.len() / 2].to_vec()),
            ("no graph", models::model(onnx::GraphProto::default())),
            ("a datatype that rten does not compute in", models::identity(onnx::DataType::DOUBLE, &[1])),
        ],
        exceptions: EXCEPTIONS,
    }
}

#[test]
fn the_onnx_runtime_conforms_in_process() {
    in_process::<Onnx>(&subject());
}

#[test]
fn the_onnx_runtime_conforms_as_a_worker() {
    as_worker(&subject());
}
