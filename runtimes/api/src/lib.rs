//! The seam between edgemux and the runtimes that execute models.
//!
//! * [`runtime`]: the three steps `Runtime → Model → Instance` that a runtime implements, and [`tensor`], [`error`];
//! * [`protocol`], [`socket`], [`shm`]: how a worker process is spoken to;
//! * [`host`]: the worker's end. A runtime's binary is one call of [`host::main`];
//! * `client` (feature `client`): the daemon's end;
//! * [`supervise`]: when to start a dead worker again, and which model to blame.

pub mod error;
pub mod host;
pub mod protocol;
pub mod runtime;
pub mod sandbox;
pub mod shm;
pub mod socket;
pub mod supervise;
pub mod tensor;

#[cfg(feature = "client")]
pub mod client;
