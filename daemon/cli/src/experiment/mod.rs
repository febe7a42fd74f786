//! Experiments: what the models say, held against measurements; what policies do to a cluster.

pub(crate) mod cluster;
pub(crate) mod published;
