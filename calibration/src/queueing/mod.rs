//! Formulas for the latency of requests that share a device, each with its source and where it holds.
//!
//! | module | discipline | exactness |
//! |---|---|---|
//! | [`fcfs`] | one at a time in order, with or without reloads | exact distribution |
//! | [`priority`] | one at a time by rank, nothing reloads | exact distribution |
//! | [`pollaczek`], [`covariance`] | the same: moments in closed form | exact; within 2 % |
//! | [`processor_sharing`] | processor sharing at constant speed | exact distribution |
//! | [`sharing`] | processor sharing, speed-up, bounded width | exact mean; variance; approximate mean |
//! | [`erlang`] | several equal servers | exact |
//! | [`allen_cunneen`] | arrivals other than Poisson | approximate mean |
//! | [`batching`] | dynamic batching | bound on the mean |
//! | [`paper`] | the source paper's, for comparison | as said there |
//!
//! [`tail`] turns transforms into distributions, [`law`] puts them together. Times are in seconds, rates in 1/s.
#![expect(clippy::cast_precision_loss, reason = "counts of sessions and grid points are far below 2⁵³")]

pub mod allen_cunneen;
pub mod batching;
pub mod covariance;
pub mod erlang;
pub mod fcfs;
pub mod law;
pub mod paper;
pub mod pollaczek;
pub mod priority;
pub mod processor_sharing;
mod root;
mod series;
pub mod sharing;
pub mod tail;
