//! The runtime for TensorFlow Lite: its own promises, and the suite that every runtime passes. One program, so that the
//! library is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod hostile;
mod models;
mod networks;
mod runtime;
