//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Listen;

/// Owns this node's accelerators and shares them among models.
///
/// With no arguments it serves on 127.0.0.1:8001 with the models of its repository. Every option can also be set in the
/// configuration file; an option given here wins.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  edgemuxd
  edgemuxd --model-repository ./models --listen 127.0.0.1:9001
  edgemuxd --listen unix:/run/edgemux/edgemuxd.sock
  edgemuxd check-config /etc/edgemux/edgemuxd.toml
  edgemuxd devices
  edgemuxd runtimes

RUST_LOG sets what is logged, for example RUST_LOG=debug."
)]
pub struct Args {
    /// The configuration file [default: /etc/edgemux/edgemuxd.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to serve gRPC: HOST:PORT or unix:/PATH; may be given more than once [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Listen>,
    /// The folder of models, laid out NAME/VERSION/model.onnx [default: `models` in the state directory]
    #[arg(long, value_name = "DIR")]
    pub model_repository: Option<PathBuf>,
    /// What the daemon remembers [default: /var/lib/edgemux, or ~/.local/state/edgemux]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where to serve /metrics and /healthz [default: 127.0.0.1:8002]
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// Below which devices are looked for; for tests
    #[arg(long, value_name = "DIR", hide = true)]
    pub device_root: Option<PathBuf>,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration file and say what is wrong with it
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Print the accelerators of this machine, as JSON
    Devices {
        /// Below which devices are looked for; for tests
        #[arg(long, value_name = "DIR", hide = true, default_value = "/")]
        device_root: PathBuf,
    },
    /// Print the runtimes that are installed, and what each can drive here, as JSON
    Runtimes {
        /// How long each may take to answer, in seconds; libraries of a gigabyte are read from a cold disk
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
        patience: u64,
    },
    /// Write the daemon's pages of the manual into a folder
    Man {
        /// The folder; it is made if it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Be the worker of a runtime; the daemon starts these itself
    #[command(hide = true)]
    Worker {
        /// The runtime
        runtime: String,
        /// `--probe`, or nothing and the daemon's socket as standard input
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}
