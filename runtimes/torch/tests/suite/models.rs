//! The model files that `tests/models/make.py` made.

use std::path::{Path, PathBuf};

/// Where the file lies.
pub(crate) fn path(name: &str) -> PathBuf {
    let models = std::env::var_os("EDGEMUX_TORCH_MODELS").map(PathBuf::from);
    models.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")).join(name)
}

/// Its contents.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The contents of a model file.
pub(crate) fn model(name: &str) -> Vec<u8> {
    file(&format!("{name}.pt"))
}
