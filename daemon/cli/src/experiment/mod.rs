//! Experiments: what the models say, held against measurements.

pub(crate) mod published;
