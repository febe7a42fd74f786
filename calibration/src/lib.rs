//! What tenants of a shared accelerator will see: latency models, the simulator that judges them, predictions, and the
//! decision whether a newcomer may come in.
//!
//! | module | what it answers |
//! |---|---|
//! | [`profile`], [`terms`], [`system`] | what a model costs, what a session declares, what they share |
//! | [`queueing`] | formulas, each with its source and where it holds |
//! | [`simulate`] | the same system by discrete events: judge of the formulas, and answer where none holds |
//! | [`predict`] | mean and quantiles of every session, and by which method |
//! | [`estimate`] | what requests that were answered teach: cost, arrivals, drift, how far predictions are off |
//! | [`stored`], [`archive`] | what was learned, as it is kept and sent |
//! | [`admission`] | may this session come in, and if not, why and at which rate it might |
//!
//! Nothing here reads a clock, a file or a socket. Times are seconds as `f64` inside, [`units::Seconds`] at the edges.
#![forbid(unsafe_code)]

pub mod admission;
pub mod archive;
pub mod estimate;
pub mod predict;
pub mod profile;
pub mod queueing;
pub mod service;
pub mod simulate;
pub mod stored;
pub mod system;
pub mod terms;
pub mod units;
