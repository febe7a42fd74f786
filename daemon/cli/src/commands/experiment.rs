//! `edgemux experiment`: what the models say, held against measurements.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Context, Outcome};
use crate::error::Error;
use crate::experiment::published::{self, ProfileName};

/// Hold the latency models against measurements
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    Published(Published),
}

const PUBLISHED: &str = "\
Example:
  edgemux experiment published --out published

The measurements are built in; each file of calibration/data names their source. docs/published.md says what they show.";

/// Compare with the published measurements of a shared edgeTPU and of a Jetson Nano
#[derive(Debug, clap::Args)]
#[command(after_help = PUBLISHED)]
struct Published {
    /// The folder for tables and plots; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the models are told that inferences cost
    #[arg(long, value_enum, default_value_t = ProfileName::Corrected)]
    profile: ProfileName,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<Outcome, Error> {
    match &args.experiment {
        Experiment::Published(args) => {
            context.output.report(&published::run(&args.out, args.profile).map_err(Box::new)?)?;
        }
    }
    Ok(Outcome::Done)
}
