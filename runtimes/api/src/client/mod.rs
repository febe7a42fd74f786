//! The daemon's end: starts worker processes, speaks to them and hears of their death.

mod buffers;
mod lane;
mod process;
mod region;
mod wire;

pub use self::lane::{
    Contents, InputTensor, Job, Lane, LaneError, LaneEvent, LaneReader, OutputContents, OutputTarget,
    OutputTensor,
};
pub use self::process::{
    Death, LoadFailure, ProbeError, SpawnError, Worker, WorkerCommand, WorkerGone, probe,
};
pub use self::region::{Region, RegionError, RegionSlice};
