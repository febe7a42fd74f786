//! The controller of edgemux's Kubernetes resources: it places inference sessions on accelerator nodes.
//!
//! | module | what it does |
//! |---|---|
//! | [`watching`] | hears of sessions, nodes and Leases |
//! | [`nodes`] | says how nodes stand |
//! | [`ranking`] | says which node is asked first |
//! | [`decide`] | says what is to be done next for a session; with [`memory`] and the status all there is to it |
//! | [`reconcile`] | does it: writes to the API server and asks [`daemons`] |
//! | [`sweep`] | finds places that nobody remembers |
//! | [`leader`] | sees to it that one controller acts |
//! | [`run`], [`context`], [`metrics`], [`http`] | hold it together, and show it |
//!
//! `decide`, `memory`, `nodes`, `ranking` and `sweep` do no IO and read no clock.
#![forbid(unsafe_code)]

pub mod args;
pub mod context;
pub mod crds;
pub mod daemons;
pub mod decide;
pub mod http;
pub mod identity;
pub mod leader;
pub mod memory;
pub mod metrics;
pub mod nodes;
pub mod ranking;
pub mod reconcile;
pub mod run;
#[cfg(test)]
mod samples;
pub mod sweep;
pub mod watching;
