//! The ONNX runtime: its own promises, and the suite that every runtime passes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod models;
mod runtime;
