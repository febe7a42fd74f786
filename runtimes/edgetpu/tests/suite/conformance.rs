//! The runtime under the suite that every runtime passes, on a fake delegate that claims operators and computes them.

use edgemux_runtime_api::runtime::DeviceKind;
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec};
use edgemux_runtime_conformance::{
    Answer, Exception, ModelCase, RunCase, Slow, Subject, Tensor, as_worker, in_process,
};
use edgemux_runtime_edgetpu::Edgetpu;

use crate::bench::{command, device, options, path};

const EXCEPTIONS: &[Exception] = &[
    Exception {
        case: "a_decoupled_model_responds_many_times",
        reason: "a TensorFlow Lite model gives one response to each request",
    },
    Exception {
        case: "a_request_is_cancelled_while_it_runs",
        reason: "an edgeTPU cannot be stopped; the request is dropped when it is over",
    },
    Exception {
        case: "empty_tensors_come_through",
        reason: "TensorFlow Lite gives an empty tensor no memory, and its operators do not expect one; it is refused",
    },
    Exception { case: "two_lanes_run_at_once", reason: "an edgeTPU runs one request at a time" },
];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec() }
}

fn sum_and_difference() -> ModelCase {
    let floats = |elements: &[f32]| Tensor::fp32(&[elements.len() as i64], elements);
    let run = |a: &[f32], b: &[f32]| {
        let both = |each: fn((&f32, &f32)) -> f32| a.iter().zip(b).map(each).collect::<Vec<_>>();
        RunCase {
            inputs: vec![floats(a), floats(b)],
            outputs: vec![
                Answer::Exact(floats(&both(|(a, b)| a + b))),
                Answer::Exact(floats(&both(|(a, b)| a - b))),
            ],
        }
    };
    ModelCase {
        name: "sum and difference",
        file: file("sum_and_difference"),
        signature: Signature {
            inputs: vec![spec("a", DataType::Fp32, &[-1]), spec("b", DataType::Fp32, &[-1])],
            outputs: vec![spec("sum", DataType::Fp32, &[-1]), spec("difference", DataType::Fp32, &[-1])],
            decoupled: false,
        },
        runs: vec![run(&[1.5, 2.0], &[0.25, -7.0]), run(&[3.0; 9000], &[2.0; 9000])],
    }
}

/// Doubled on the edgeTPU, three more on the processor: in halves from 10.
fn mixed() -> ModelCase {
    let tensor = |elements: [i8; 4]| Tensor { shape: vec![1, 4], bytes: elements.map(|x| x as u8).to_vec() };
    ModelCase {
        name: "mixed",
        file: file("mixed"),
        signature: Signature {
            inputs: vec![spec("x", DataType::Int8, &[1, 4])],
            outputs: vec![spec("y", DataType::Int8, &[1, 4])],
            decoupled: false,
        },
        // 0, 1, -5 and 100, the last beyond what there is an integer for.
        runs: vec![RunCase {
            inputs: vec![tensor([10, 12, 0, 127])],
            outputs: vec![Answer::Exact(tensor([16, 20, -4, 127]))],
        }],
    }
}

pub(crate) fn subject() -> Subject {
    let good = file("mixed");
    Subject {
        runtime: "edgetpu",
        format: "tflite",
        command: command(),
        device: device(&options("")),
        refused_kind: DeviceKind::Cpu,
        echo: file("echo"),
        models: vec![sum_and_difference(), mixed()],
        slow: Slow { file: file("slow"), inputs: vec![Tensor::ramp(4)] },
        decoupled: None,
        broken: vec![
            ("empty", vec![]),
            ("text", b"this is no model".to_vec()),
            ("truncated", good[..good.len() / 2].to_vec()),
            ("nothing for the edgeTPU", file("processor_only")),
        ],
        exceptions: EXCEPTIONS,
    }
}

#[test]
fn the_edgetpu_runtime_conforms_in_process() {
    in_process::<Edgetpu>(&subject());
}

#[test]
fn the_edgetpu_runtime_conforms_as_a_worker() {
    as_worker(&subject());
}
