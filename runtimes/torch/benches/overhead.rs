//! What the daemon adds to libtorch on the processor: the same model, one thread each, called directly and served.
//!
//! ```text
//! eval "$(cargo xtask native torch)"
//! cargo build --release -p edgemuxd
//! cargo build --release -p edgemux-runtime-torch --features libtorch
//! cargo bench -p edgemux-runtime-torch --features libtorch --bench overhead
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot go on says why and ends"
)]

use edgemux_tests::{Setup, overhead, overhead_head, request};
use tch::{CModule, Tensor};

const DEVICE: &str = "[[device]]\nname = 'cpu0'\nkind = 'cpu'\nruntimes = ['torch']\nthreads = 1\n";

#[tokio::main]
async fn main() {
    overhead_head();
    tch::set_num_interop_threads(1);
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    for (model, input, shape) in [("echo", "x", vec![1024]), ("small", "image", vec![2, 3, 32, 32])] {
        let file = format!("{}/tests/models/{model}.pt", env!("CARGO_MANIFEST_DIR"));
        let values = vec![0.25_f32; shape.iter().product::<i64>() as usize];
        let library = CModule::load(&file).unwrap();
        let direct = || {
            let tensor = Tensor::from_slice(&values).reshape(&shape);
            let output = library.forward_ts(&[tensor]).unwrap();
            std::hint::black_box(Vec::<f32>::try_from(output.flatten(0, -1)).unwrap());
        };
        let setup = Setup::bare(DEVICE).file(model, "1/model.pt", &std::fs::read(&file).unwrap());
        let daemon = setup.file(model, "model.toml", b"").start().await;
        let asked = request(model, input, &shape, &values);
        overhead(&daemon, &format!("{model}.pt by libtorch"), &asked, direct).await;
    }
}
