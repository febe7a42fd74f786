//! `edgemux devices`: the node's devices and the workers that run on them; how they are shared, and whether they serve.

mod report;

use clap::{Subcommand, ValueEnum};
use edgemux_proto::edgemux::v1;

use self::report::{Changed, Devices};
use super::{Context, Outcome, values};
use crate::error::Error;
use crate::view::Device;

const NOTES: &str = "\
Examples:
  edgemux devices
  edgemux devices set-mode gpu0 time-sliced --quantum 5
  edgemux devices set-mode gpu0 auto             by what leaves every objective most room
  edgemux devices fence tpu0 --reason 'being swapped'

A change drops no request: what runs ends as it began, what waits is served in the new mode.";

/// List the devices and their workers, change how one is shared, take one out of service
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    SetMode(SetMode),
    Fence(Fence),
    Unfence(Unfence),
}

/// Change how a device is shared; a number that is not given stays as it is
#[derive(Debug, clap::Args)]
struct SetMode {
    /// The device's name
    device: String,
    /// How its sessions share it
    #[arg(value_enum)]
    mode: Mode,
    /// Most requests in service together (concurrent): at most what the device was started with
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    width: Option<u32>,
    /// Device time that a session earns per round (time-sliced), in milliseconds: 0.01 to 10000
    #[arg(long, value_name = "MS", value_parser = values::positive, allow_negative_numbers = true)]
    quantum: Option<f64>,
    /// Most requests of one reload group in a row (exclusive, on an edgeTPU): 1 to 1024
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), allow_negative_numbers = true)]
    run_max: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One request at a time, run to completion
    Exclusive,
    /// Sessions take turns in device time
    TimeSliced,
    /// Several requests together
    Concurrent,
    /// Admission chooses
    Auto,
}

/// Take a device out of service: no request reaches it until `unfence`
#[derive(Debug, clap::Args)]
struct Fence {
    /// The device's name
    device: String,
    /// Why, for whoever looks later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Put a device back into service
#[derive(Debug, clap::Args)]
struct Unfence {
    /// The device's name
    device: String,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let client = context.connect().await?;
    let changed = match args.what {
        None => {
            let devices = client.devices().await?.into_iter().map(Device::from_wire).collect();
            context.output.report(&Devices { devices })?;
            return Ok(Outcome::Done);
        }
        Some(What::SetMode(change)) => client.set_multiplexing(change.request()).await?,
        Some(What::Fence(fence)) => client.fence(&fence.device, &fence.reason.unwrap_or_default()).await?,
        Some(What::Unfence(unfence)) => client.unfence(&unfence.device).await?,
    };
    context.output.report(&Changed { device: Device::from_wire(changed) })?;
    Ok(Outcome::Done)
}

// === impl SetMode ===

impl SetMode {
    fn request(self) -> v1::SetMultiplexingRequest {
        let multiplexing = match self.mode {
            Mode::Exclusive => v1::Multiplexing::Exclusive,
            Mode::TimeSliced => v1::Multiplexing::TimeSliced,
            Mode::Concurrent => v1::Multiplexing::Concurrent,
            Mode::Auto => v1::Multiplexing::Auto,
        };
        v1::SetMultiplexingRequest {
            device: self.device,
            multiplexing: multiplexing.into(),
            width: self.width.unwrap_or_default(),
            quantum_ms: self.quantum.unwrap_or_default(),
            run_max: self.run_max.unwrap_or_default(),
        }
    }
}
