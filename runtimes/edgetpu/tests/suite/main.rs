//! The runtime for the edgeTPU, with a delegate that stands in for libedgetpu: its own promises, and the suite that every
//! runtime passes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bench;
mod conformance;
mod device;
mod faults;
mod reload;
