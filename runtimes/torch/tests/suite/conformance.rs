//! The torch runtime under the suite that every runtime passes.
//!
//! The device is the processor. On a machine with a GPU but without this source, `EDGEMUX_TORCH_WORKER` names the worker's
//! binary, `EDGEMUX_TORCH_MODELS` the folder of `tests/models`, and `EDGEMUX_TORCH_DEVICE=gpu` the device.

use std::path::PathBuf;

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec};
use edgemux_runtime_conformance::{
    Answer, Exception, ModelCase, RunCase, Slow, Subject, Tensor, as_worker, in_process,
};
use edgemux_runtime_torch::Torch;

use crate::models::{file, model};

const EXCEPTIONS: &[Exception] = &[
    Exception {
        case: "a_decoupled_model_responds_many_times",
        reason: "a TorchScript model gives one response to each request",
    },
    Exception {
        case: "a_request_is_cancelled_while_it_runs",
        reason: "libtorch offers no way to stop a run; the request is dropped when it is over",
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

fn by_name() -> ModelCase {
    ModelCase {
        name: "a dictionary",
        file: model("by_name"),
        signature: Signature {
            inputs: vec![spec("x", DataType::Fp32, &[-1])],
            outputs: vec![spec("double", DataType::Fp32, &[-1]), spec("negative", DataType::Fp32, &[-1])],
            decoupled: false,
        },
        runs: vec![RunCase {
            inputs: vec![floats(&[1.0, -3.0])],
            outputs: vec![Answer::Exact(floats(&[2.0, -6.0])), Answer::Exact(floats(&[-1.0, 3.0]))],
        }],
    }
}

fn conv_relu() -> ModelCase {
    let picture: Vec<f32> = (0..16).map(|n| n as f32 - 6.0).collect();
    let answer = Tensor::fp32(&[1, 1, 2, 2], &[0.0, 0.0, 5.0, 7.0]);
    ModelCase {
        name: "conv and relu",
        file: model("conv_relu"),
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
    // Past 32 bits, which not every runtime computes in.
    let big = 1 << 40;
    ModelCase {
        name: "add of INT64",
        file: model("add_int64"),
        signature: Signature {
            inputs: vec![spec("a", DataType::Int64, &[2]), spec("b", DataType::Int64, &[2])],
            outputs: vec![spec("y", DataType::Int64, &[2])],
            decoupled: false,
        },
        runs: vec![RunCase {
            inputs: vec![tensor([1, -2]), tensor([big, -50])],
            outputs: vec![Answer::Exact(tensor([big + 1, -52]))],
        }],
    }
}

fn every_datatype() -> ModelCase {
    let datatypes = [
        DataType::Bool,
        DataType::Uint8,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Fp16,
        DataType::Bf16,
        DataType::Fp64,
    ];
    let all = |bytes: [&[u8]; 8]| bytes.map(|bytes| Tensor { shape: vec![2], bytes: bytes.to_vec() });
    let specs = |side: &str| {
        let spec = |datatype: DataType| spec(&format!("{side}_{datatype}"), datatype, &[2]);
        datatypes.map(spec).to_vec()
    };
    // Half precision: 1.0 is 3C00, 2.0 is 4000; BF16: 3F80 and 4000.
    let inputs = all([
        &[0, 1],
        &[5, 255],
        &[1, 0xFF],
        &[1, 0, 0xFF, 0xFF],
        &[1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x00, 0x3C, 0x00, 0x00],
        &[0x80, 0x3F, 0x00, 0x00],
        doubles(&[0.5, -3.0]),
    ]);
    let outputs = all([
        &[1, 0],
        &[6, 0],
        &[2, 0],
        &[2, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0],
        &[0x00, 0x40, 0x00, 0x00],
        &[0x00, 0x40, 0x00, 0x00],
        doubles(&[1.0, -6.0]),
    ]);
    ModelCase {
        name: "every datatype",
        file: model("every_datatype"),
        signature: Signature { inputs: specs("in"), outputs: specs("out"), decoupled: false },
        runs: vec![RunCase { inputs: inputs.to_vec(), outputs: outputs.map(Answer::Exact).to_vec() }],
    }
}

fn doubles(elements: &[f64; 2]) -> &'static [u8] {
    elements.iter().flat_map(|element| element.to_le_bytes()).collect::<Vec<_>>().leak()
}

fn in_place() -> ModelCase {
    ModelCase {
        name: "a model that writes into its input",
        file: model("in_place"),
        signature: Signature {
            inputs: vec![spec("x", DataType::Fp32, &[-1])],
            outputs: vec![spec("y", DataType::Fp32, &[-1])],
            decoupled: false,
        },
        runs: vec![RunCase {
            inputs: vec![floats(&[1.0, 2.0, 3.0])],
            outputs: vec![Answer::Exact(floats(&[1.0, 0.0, 0.0]))],
        }],
    }
}

fn transposed() -> ModelCase {
    ModelCase {
        name: "an output whose elements do not lie in order",
        file: model("transposed"),
        signature: Signature {
            inputs: vec![spec("x", DataType::Fp32, &[-1, -1])],
            outputs: vec![spec("y", DataType::Fp32, &[-1, -1])],
            decoupled: false,
        },
        runs: vec![RunCase {
            inputs: vec![Tensor::fp32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])],
            outputs: vec![Answer::Exact(Tensor::fp32(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]))],
        }],
    }
}

fn small() -> ModelCase {
    let tensor = |shape: &[i64], name: &str| Tensor { shape: shape.to_vec(), bytes: file(name) };
    ModelCase {
        name: "a small network, as PyTorch computes it",
        file: model("small"),
        signature: Signature {
            inputs: vec![spec("image", DataType::Fp32, &[-1, 3, 32, 32])],
            outputs: vec![spec("scores", DataType::Fp32, &[-1, 10])],
            decoupled: false,
        },
        runs: vec![RunCase {
            inputs: vec![tensor(&[2, 3, 32, 32], "small.image")],
            outputs: vec![Answer::Within(tensor(&[2, 10], "small.scores"), 1e-5)],
        }],
    }
}

/// The runtime as the suite sees it.
pub(crate) fn subject() -> Subject {
    let program = std::env::var_os("EDGEMUX_TORCH_WORKER")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_edgemux-runtime-torch")), PathBuf::from);
    let kind = match std::env::var("EDGEMUX_TORCH_DEVICE").as_deref() {
        Ok("gpu") => DeviceKind::Gpu,
        _ => DeviceKind::Cpu,
    };
    let good = model("conv_relu");
    let side = if kind == DeviceKind::Gpu { 4096 } else { 512 };
    let square = Tensor::fp32(&[side as i64, side as i64], &vec![0.0; side * side]);
    Subject {
        runtime: "torch",
        format: "pt",
        command: WorkerCommand::new(program),
        device: DeviceSpec { name: "torch".into(), kind, threads: 1, options: String::new() },
        refused_kind: DeviceKind::Edgetpu,
        echo: model("echo"),
        models: vec![
            sum_and_difference(),
            by_name(),
            conv_relu(),
            add_int64(),
            every_datatype(),
            in_place(),
            transposed(),
            small(),
        ],
        slow: Slow { file: model("slow"), inputs: vec![square] },
        decoupled: None,
        broken: vec![
            ("empty", vec![]),
            ("text", b"this is no model".to_vec()),
            ("truncated", good[..good.len() / 2].to_vec()),
            ("without a signature", model("says_nothing")),
            ("another datatype than it says", model("says_another_datatype")),
            ("fewer inputs than it says", model("says_more_inputs")),
            ("fewer outputs than it says", model("says_more_outputs")),
            ("strings", model("says_strings")),
        ],
        exceptions: EXCEPTIONS,
    }
}

#[test]
fn the_torch_runtime_conforms_in_process() {
    in_process::<Torch>(&subject());
}

#[test]
fn the_torch_runtime_conforms_as_a_worker() {
    as_worker(&subject());
}
