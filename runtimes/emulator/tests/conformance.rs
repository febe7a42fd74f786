//! The emulator under the suite that every runtime passes.

use std::path::PathBuf;

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::runtime::{DeviceKind, DeviceSpec};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec};
use edgemux_runtime_conformance::{Answer, ModelCase, RunCase, Slow, Subject, Tensor, as_worker, in_process};
use edgemux_runtime_emulator::Emulator;

fn echo(service: &str) -> Vec<u8> {
    let tensor = |kind: &str, name: &str| {
        format!("[[{kind}]]\nname = \"{name}\"\ndatatype = \"FP32\"\nshape = [-1]\n")
    };
    (tensor("input", "IN") + &tensor("output", "OUT") + "[service]\n" + service).into_bytes()
}

/// Two inputs, two outputs; the second output repeats its input.
const PAIR: &str = r#"
[[input]]
name = "A"
datatype = "INT32"
shape = [2]
[[input]]
name = "B"
datatype = "UINT8"
shape = [-1]
[[output]]
name = "A_AGAIN"
datatype = "INT32"
shape = [2]
[[output]]
name = "B_TWICE"
datatype = "UINT8"
shape = [6]
[service]
mean-ms = 1.0
cv = 0.2
[reload]
overhead-ms = 2.0
on-chip-bytes = 1000
"#;

fn pair() -> ModelCase {
    let spec = |name: &str, datatype, shape: &[i64]| TensorSpec {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
    };
    let a = Tensor { shape: vec![2], bytes: vec![1, 0, 0, 0, 2, 0, 0, 0] };
    let b = |len: u8| Tensor { shape: vec![len.into()], bytes: (0..len).collect() };
    let run = |b: Tensor, twice: &[u8]| RunCase {
        inputs: vec![a.clone(), b],
        outputs: vec![
            Answer::Exact(a.clone()),
            Answer::Exact(Tensor { shape: vec![6], bytes: twice.to_vec() }),
        ],
    };
    ModelCase {
        name: "pair",
        file: PAIR.into(),
        signature: Signature {
            inputs: vec![spec("A", DataType::Int32, &[2]), spec("B", DataType::Uint8, &[-1])],
            outputs: vec![spec("A_AGAIN", DataType::Int32, &[2]), spec("B_TWICE", DataType::Uint8, &[6])],
            decoupled: false,
        },
        runs: vec![
            run(b(6), &[0, 1, 2, 3, 4, 5]),
            run(b(3), &[0, 1, 2, 0, 1, 2]),
            run(b(9), &[0, 1, 2, 3, 4, 5]),
        ],
    }
}

fn subject() -> Subject {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_edgemux-runtime-emulator"));
    Subject {
        runtime: "emulator",
        format: "emu.toml",
        command: WorkerCommand::new(program),
        device: DeviceSpec {
            name: "gpu0".into(),
            kind: DeviceKind::Gpu,
            threads: 0,
            // So that a quick request gets past a slow one.
            options: r#"{"sharing": "processor-sharing"}"#.into(),
        },
        refused_kind: DeviceKind::Cpu,
        echo: echo("mean-ms = 0.0"),
        models: vec![pair()],
        slow: Slow { file: echo("mean-ms = 600000.0"), inputs: vec![Tensor::ramp(4)] },
        decoupled: Some([b"responses = 3\n", &echo("mean-ms = 3.0")[..]].concat()),
        broken: vec![
            ("empty", vec![]),
            ("no toml", b"no toml [".to_vec()),
            ("no text", vec![0xFF; 100]),
            ("no tensors", b"[service]\nmean-ms = 1.0\n".to_vec()),
            ("a negative time", echo("mean-ms = -1.0")),
            ("an unknown key", echo("mean-ms = 1.0\nmedian-ms = 1.0")),
            ("far too long", vec![b'#'; 2 << 20]),
        ],
        exceptions: &[],
    }
}

#[test]
fn the_emulator_conforms_in_process() {
    in_process::<Emulator>(&subject());
}

#[test]
fn the_emulator_conforms_as_a_worker() {
    as_worker(&subject());
}
