//! Which node of a cluster hosts which application.
//!
//! | module | what it answers |
//! |---|---|
//! | [`catalogue`], [`app`] | what kinds of node there are and what models cost on them; what applications ask for |
//! | [`load`], [`cluster`] | what is on a node, and on all of them; the steps by which that changes |
//! | [`assess`] | would a node with this load keep every objective: by the paper's formulas, or by `calibration`'s predictor |
//! | [`policy`] | where an application goes: knapsacks, the paper's policies, ours |
//! | [`bound`] | how many could be hosted at most |
//!
//! A policy reads a [`cluster::Cluster`] and answers with a [`plan::Plan`], whose steps are in an order in which no
//! application is ever unhosted. Nothing here reads a clock, a file or a socket; the same cluster gives the same plan.
#![forbid(unsafe_code)]

pub mod app;
pub mod assess;
pub mod bound;
pub mod catalogue;
pub mod cluster;
pub mod load;
pub mod plan;
pub mod policy;
