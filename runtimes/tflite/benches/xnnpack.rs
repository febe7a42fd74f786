//! What XNNPACK gains, per model and per number of threads: one request through the runtime, without a worker process.
//!
//! The models of `examples/models`, and any `.tflite` file that `EDGEMUX_TFLITE_MODELS` names, with commas between them:
//!
//! ```text
//! EDGEMUX_TFLITE_MODELS=mobilenet_v2.tflite cargo bench -p edgemux-runtime-tflite --features libtensorflowlite
//! ```

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on says why and ends")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{Cancel, DeviceKind, DeviceSpec, Outputs, Runtime};
use edgemux_runtime_api::tensor::{TensorView, byte_len};
use edgemux_runtime_tflite::Tflite;

fn main() {
    divan::main();
}

fn models() -> Vec<String> {
    let named = std::env::var("EDGEMUX_TFLITE_MODELS").unwrap_or_default();
    let named = named.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned);
    let examples = ["mobilenet_tiny", "mobilenet_tiny_int8", "keywords", "keywords_int8"];
    examples.iter().map(|name| format!("{name}.tflite")).chain(named).collect()
}

fn path(model: &str) -> PathBuf {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models").join(model);
    if example.exists() { example } else { model.into() }
}

#[divan::bench(args = models(), consts = [1, 2])]
fn with_xnnpack<const THREADS: u32>(bencher: divan::Bencher<'_, '_>, model: &str) {
    run(bencher, model, THREADS, "");
}

#[divan::bench(args = models(), consts = [1, 2])]
fn without_xnnpack<const THREADS: u32>(bencher: divan::Bencher<'_, '_>, model: &str) {
    run(bencher, model, THREADS, r#"{"xnnpack": false}"#);
}

fn run(bencher: divan::Bencher<'_, '_>, model: &str, threads: u32, options: &str) {
    let device =
        DeviceSpec { name: "cpu".into(), kind: DeviceKind::Cpu, threads, options: options.to_owned() };
    let model = Tflite::open(&device).unwrap().load(&path(model)).unwrap();
    let inputs: Vec<(Vec<i64>, Vec<u8>)> = model
        .signature()
        .inputs
        .iter()
        .map(|spec| {
            let shape: Vec<_> = spec.shape.iter().map(|dim| dim.abs()).collect();
            let bytes = byte_len(spec.datatype, &shape).unwrap();
            (shape, (0..bytes).map(|n| n as u8 & 0x1F).collect())
        })
        .collect();
    let views: Vec<_> = model
        .signature()
        .inputs
        .iter()
        .zip(&inputs)
        .map(|(spec, (shape, bytes))| TensorView { datatype: spec.datatype, shape, bytes })
        .collect();
    let mut instance = Arc::clone(&model).instantiate().unwrap();
    let mut kept = Kept(Vec::new());
    bencher.bench_local(|| instance.run(&views, &mut kept, &Cancel::default()).unwrap());
}

/// Keeps the last output.
struct Kept(Vec<u8>);

impl Outputs for Kept {
    fn buffer(&mut self, _: usize, _: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError> {
        self.0.resize(bytes, 0);
        Ok(Some(&mut self.0))
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}
