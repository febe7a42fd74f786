//! `edgemux plan`: which applications a node can bear.

use std::path::PathBuf;

use edgemux_calibration::predict::Simulation;

#[cfg(feature = "plot")]
use super::values;
use super::{Context, Outcome};
use crate::error::Error;
use crate::plan::{self, Example, Wishes};

const NOTES: &str = "\
Examples:
  edgemux plan --example coral > node.toml       a file to start from
  edgemux plan node.toml                         who is admitted, and what each would see
  edgemux plan node.toml --simulate              the same beside a simulation
  edgemux plan node.toml --plot load.svg         latency against load

The file describes a node (its processor, its devices), what models cost on them, and the applications in the order in
which they come. Each is admitted if every objective is still predicted to hold with it, its own included; of several
devices it gets the one that keeps the most slack. No daemon is needed. docs/plan.md explains every key of the file.

Exit codes: 0 all admitted, 3 some refused, 1 failed, 2 wrong usage.";

/// Say which applications a node can bear, and what latency each would see
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The node and its applications, as TOML
    #[arg(required_unless_present = "example")]
    file: Option<PathBuf>,
    /// Print an example file and do nothing else
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "file")]
    example: Option<Example>,
    /// Simulate what was admitted, and show it beside the prediction
    #[arg(long)]
    simulate: bool,
    /// Requests of each simulation; where no formula decides, a simulation does
    #[arg(long, value_name = "N", default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000))]
    requests: u64,
    /// The seed of simulations
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print one line of CSV per application instead of text
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Plot latency against load into a file that ends in .svg or .png
    #[cfg(feature = "plot")]
    #[arg(long, value_name = "FILE", value_parser = values::plot_file)]
    plot: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<Outcome, Error> {
    if let Some(example) = args.example {
        context.output.raw(example.text())?;
        return Ok(Outcome::Done);
    }
    let Some(file) = &args.file else {
        return Err(Error::Usage("no file: give one, or --example".to_owned()));
    };
    #[cfg(feature = "plot")]
    let plot = args.plot.as_deref();
    #[cfg(not(feature = "plot"))]
    let plot = None;
    let simulation = Simulation { requests: args.requests, seed: args.seed };
    let plan = plan::plan(file, &Wishes { simulate: args.simulate, simulation, plot })?;
    if args.csv {
        context.output.raw(&plan.csv())?;
    } else {
        context.output.report(&plan)?;
    }
    Ok(if plan.refused == 0 { Outcome::Done } else { Outcome::NotAdmitted })
}
