//! `edgemux experiment`: what the models say, held against measurements; what policies do to a cluster.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Context, Outcome};
use crate::error::Error;
use crate::experiment::cluster;
use crate::experiment::published::{self, ProfileName};

/// Hold the latency models against measurements, and placement policies against each other
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    Published(Published),
    Cluster(Cluster),
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

const CLUSTER: &str = "\
Examples:
  edgemux experiment cluster --out cluster --seeds 10
  edgemux experiment cluster --out cluster --nodes 4,8 --large

For each setting (kinds and number of nodes, objectives on the mean or on p99, Poisson or bursty arrivals) as many random
workloads are drawn as there are seeds, from the published profiles of a Coral edgeTPU and a Jetson Nano. Every policy places
the same applications in the same order, and every node is then simulated. The same seeds give the same figures, times of
decisions aside. docs/experiments.md says what they show.";

/// Fill a cluster by several placement policies, and count whose objectives are kept
#[derive(Debug, clap::Args)]
#[command(after_help = CLUSTER)]
struct Cluster {
    /// The folder for tables and plots; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Random workloads for each setting, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    seeds: u32,
    /// The first seed; the others follow it
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Sizes of clusters, 1 to 1000 nodes each; bursts are tried with the first one
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [4, 8], value_parser = clap::value_parser!(u16).range(1..=1_000))]
    nodes: Vec<u16>,
    /// Applications that ask to be hosted, for each node, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    apps_per_node: u16,
    /// Also place 10,000 applications on 1,000 nodes, and show what decisions cost there
    #[arg(long)]
    large: bool,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<Outcome, Error> {
    match &args.experiment {
        Experiment::Published(args) => {
            context.output.report(&published::run(&args.out, args.profile).map_err(Box::new)?)?;
        }
        Experiment::Cluster(args) => {
            let options = cluster::Options {
                seed: args.seed,
                seeds: args.seeds,
                sizes: args.nodes.iter().map(|&nodes| usize::from(nodes)).collect(),
                apps_per_node: usize::from(args.apps_per_node),
                large: args.large,
            };
            context.output.report(&cluster::run(&args.out, &options).map_err(Box::new)?)?;
        }
    }
    Ok(Outcome::Done)
}
