//! The tests of this runtime that need libtorch: one program, so that it is linked once.

mod conformance;
mod faults;
mod models;
mod runtime;
