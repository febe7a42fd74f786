//! The model files that `tests/models/make.py` and `examples/models/make_tflite.py` made.

use std::path::{Path, PathBuf};

/// Where a file of `tests/models` lies.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name)
}

/// Where an example lies.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models").join(name)
}

/// The contents of a model of `tests/models`.
pub(crate) fn model(name: &str) -> Vec<u8> {
    std::fs::read(path(&format!("{name}.tflite"))).unwrap()
}
