//! The state machine against an API server and nodes in memory.

mod interleavings;
mod steps;
mod world;
