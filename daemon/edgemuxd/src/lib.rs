//! The edgemux daemon: owns the accelerators of a node and shares them among models.
//!
//! A request's way: [`grpc`] checks it, [`device`] queues it and asks the multiplexer who runs next, a worker process
//! runs it, and the answer goes back the same way. [`node`] holds the sessions, [`repository`] the model files. Before a model
//! is loaded, [`desk`] decides whether it may; while it runs, [`live`] learns what it costs. [`discovery`] says which accelerators are
//! there.
#![forbid(unsafe_code)]

pub mod access;
pub mod args;
pub mod config;
pub mod connection;
pub mod corked;
pub mod desk;
pub mod device;
pub mod discovery;
pub mod grpc;
pub mod http;
pub mod installed;
pub mod listener;
pub mod live;
pub mod logging;
pub mod manual;
pub mod metrics;
pub mod node;
pub mod regions;
mod reload;
pub mod repository;
pub mod runtimes;
pub mod serve;
mod service;
pub mod session;
pub mod start;
pub mod statistics;
mod status;
pub mod terms;
pub mod tls;
pub mod traces;
