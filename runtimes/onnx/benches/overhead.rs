//! What the daemon adds to rten: the same model, one thread each, called directly and served.
//!
//! ```text
//! cargo build --release -p edgemuxd && cargo bench -p edgemux-runtime-onnx --bench overhead
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot go on says why and ends"
)]

use std::sync::Arc;

use edgemux_tests::{Setup, overhead, overhead_head, request};
use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;

const DEVICE: &str = "[[device]]\nname = 'cpu0'\nkind = 'cpu'\nruntimes = ['onnx']\nthreads = 1\n";

#[tokio::main]
async fn main() {
    overhead_head();
    for (model, input, shape) in
        [("keywords", "mfcc", [1, 1, 49, 10]), ("mobilenet_tiny", "image", [1, 3, 96, 96])]
    {
        let file = format!("{}/../../examples/models/{model}.onnx", env!("CARGO_MANIFEST_DIR"));
        let values = vec![0.25_f32; shape.iter().product()];
        let library = ModelOptions::with_all_ops().load_file(&file).unwrap();
        let pool = Arc::new(ThreadPool::with_num_threads(1));
        let direct = || {
            let tensor = NdTensor::from_data(shape, values.clone());
            let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
            let inputs = vec![(library.input_ids()[0], tensor.into())];
            std::hint::black_box(library.run(inputs, library.output_ids(), Some(options)).unwrap());
        };
        let setup = Setup::bare(DEVICE).file(model, "1/model.onnx", &std::fs::read(&file).unwrap());
        let daemon = setup.file(model, "model.toml", b"").start().await;
        let asked = request(model, input, &shape.map(|dim| dim as i64), &values);
        overhead(&daemon, &format!("{model}.onnx by rten"), &asked, direct).await;
    }
}
