//! The worker that runs TorchScript models.

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    edgemux_runtime_torch::main(&arguments)
}
