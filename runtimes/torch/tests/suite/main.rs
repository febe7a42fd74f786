//! The tests of this runtime that need libtorch: one program, so that it is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod faults;
mod models;
mod runtime;
