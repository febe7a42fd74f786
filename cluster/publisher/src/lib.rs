//! Publishes a node to Kubernetes, beside its edgemuxd.
//!
//! ```text
//! edgemuxd ─gRPC─▶ daemon ─▶ mapping ─▶ board ─▶ cluster ─▶ AcceleratorNode, its status, Lease
//!                  looks     pure       decides  writes
//! ```
//!
//! A publisher holds one AcceleratorNode, by server-side apply: its endpoint, unless an operator has set another one, and the
//! whole status; never `unschedulable`. A Lease of the node's name says that it is alive and reaches its daemon. What changes all
//! the time is told once a period at most, and only when it has moved far ([`matters`]).
#![forbid(unsafe_code)]

pub mod args;
pub mod backoff;
pub mod board;
pub mod cluster;
pub mod daemon;
pub mod mapping;
pub mod matters;
pub mod metrics;
pub mod publisher;
