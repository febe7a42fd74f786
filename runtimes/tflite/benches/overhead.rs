//! What the daemon adds to TensorFlow Lite: the same model, one thread each, called directly and served.
//!
//! ```text
//! eval "$(cargo xtask native tflite libclang)"
//! cargo build --release -p edgemuxd
//! cargo build --release -p edgemux-runtime-tflite --features libtensorflowlite
//! cargo bench -p edgemux-runtime-tflite --features libtensorflowlite --bench overhead
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot go on says why and ends"
)]

use edgemux_tests::{Setup, overhead, overhead_head, request};
use tflitec::interpreter::{Interpreter, Options};
use tflitec::model::Model;

const DEVICE: &str = "[[device]]\nname = 'cpu0'\nkind = 'cpu'\nruntimes = ['tflite']\nthreads = 1\n";

#[tokio::main]
async fn main() {
    overhead_head();
    for (model, input, shape) in
        [("keywords", "mfcc", [1, 49, 10, 1]), ("mobilenet_tiny", "image", [1, 96, 96, 3])]
    {
        let file = format!("{}/../../examples/models/{model}.tflite", env!("CARGO_MANIFEST_DIR"));
        let values = vec![0.25_f32; shape.iter().product()];
        let options = Options { thread_count: 1, is_xnnpack_enabled: true };
        let graph = Model::new(&file).unwrap();
        let library = Interpreter::new(&graph, Some(options)).unwrap();
        library.allocate_tensors().unwrap();
        let direct = || {
            library.copy(&values, 0).unwrap();
            library.invoke().unwrap();
            std::hint::black_box(library.output(0).unwrap().data::<f32>().to_vec());
        };
        let setup = Setup::bare(DEVICE).file(model, "1/model.tflite", &std::fs::read(&file).unwrap());
        let daemon = setup.file(model, "model.toml", b"").start().await;
        let asked = request(model, input, &shape.map(|dim| dim as i64), &values);
        overhead(&daemon, &format!("{model}.tflite by TensorFlow Lite"), &asked, direct).await;
    }
}
