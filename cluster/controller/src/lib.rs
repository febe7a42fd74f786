//! The controller of edgemux's Kubernetes resources.
#![forbid(unsafe_code)]

pub mod context;
pub mod daemons;
pub mod decide;
pub mod identity;
pub mod memory;
pub mod metrics;
pub mod nodes;
pub mod ranking;
pub mod reconcile;
#[cfg(test)]
mod samples;
pub mod sweep;
