//! The controller of edgemux's Kubernetes resources.
#![forbid(unsafe_code)]

pub mod decide;
pub mod identity;
pub mod memory;
pub mod nodes;
#[cfg(test)]
mod samples;
pub mod sweep;
