//! The command line: the options that every command has, and the commands.

use clap::{Parser, Subcommand};
use edgemux_client::{Credentials, ServerAddress};

use crate::commands::{self, Context, Outcome};
use crate::error::Error;
use crate::output::Output;

const EVERYWHERE: &str = "Options of every command";

const EXAMPLES: &str = "\
Examples:
  edgemux demo                            see it work: tenants admitted, driven, and one refused
  edgemux admit detector --rate 20 --latency 50 --quantile 0.99 --dry-run
                                          would it be admitted, and what would the others see?
  edgemux load mobilenet_v2               load the newest version in the model repository
  edgemux infer mobilenet_v2              one request of random tensors
  edgemux load-test mobilenet_v2 --rate-hz 40 --seconds 30
  edgemux --server unix:/run/edgemux/edgemuxd.sock sessions --json
  edgemux top                             devices and sessions, live
  edgemux doctor                          what is wrong with this node, and what to do
  edgemux plan node.toml                  which applications a node could bear, without a daemon

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not admitted.";

/// Talk to edgemuxd, the daemon that shares a node's accelerators among models
#[derive(Debug, Parser)]
#[command(name = "edgemux", version, after_help = EXAMPLES, mut_args(|arg| arg.global(true)))]
pub(crate) struct Cli {
    /// The daemon to talk to: HOST:PORT, https://HOST:PORT or unix:PATH
    #[arg(long, env = "EDGEMUX_SERVER", value_name = "ADDR", default_value = "127.0.0.1:8001")]
    pub(crate) server: ServerAddress,

    /// Print one JSON object on stdout instead of text
    #[arg(long, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    #[command(flatten, next_help_heading = EVERYWHERE)]
    credentials: Credentials,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Devices(commands::devices::Args),
    Models(commands::models::Args),
    Sessions(commands::sessions::Args),
    Admit(commands::admit::Args),
    Load(commands::load::Args),
    Unload(commands::unload::Args),
    Infer(commands::infer::Args),
    LoadTest(commands::load_test::Args),
    Top(commands::top::Args),
    Calibration(commands::calibration::Args),
    Doctor(commands::doctor::Args),
    Plan(commands::plan::Args),
    Experiment(commands::experiment::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

impl Cli {
    /// Runs the command that was asked for.
    pub(crate) async fn run(self, output: &Output) -> Result<Outcome, Error> {
        let context = Context { server: self.server, credentials: self.credentials, output };
        match self.command {
            Command::Demo(args) => commands::demo::run(args, &context).await,
            Command::Devices(args) => commands::devices::run(args, &context).await,
            Command::Models(args) => commands::models::run(args, &context).await,
            Command::Sessions(args) => commands::sessions::run(args, &context).await,
            Command::Admit(args) => commands::admit::run(args, &context).await,
            Command::Load(args) => commands::load::run(args, &context).await,
            Command::Unload(args) => commands::unload::run(args, &context).await,
            Command::Infer(args) => commands::infer::run(args, &context).await,
            Command::LoadTest(args) => commands::load_test::run(args, &context).await,
            Command::Top(args) => commands::top::run(args, &context).await,
            Command::Calibration(args) => commands::calibration::run(args, &context).await,
            Command::Doctor(args) => commands::doctor::run(args, &context).await,
            Command::Plan(args) => commands::plan::run(&args, &context),
            Command::Experiment(args) => commands::experiment::run(&args, &context),
            Command::Completions(args) => commands::completions::run(&args, &context),
            Command::Man(args) => commands::man::run(&args, &context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_every_command_may_stand_before_or_after_it() {
        for line in [
            "edgemux --json --server unix:/run/e.sock models",
            "edgemux models --server unix:/run/e.sock --json",
        ] {
            let cli = parse(line).unwrap();
            assert!(cli.json);
            assert_eq!(cli.server.to_string(), "unix:/run/e.sock");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_exit_code_2() {
        for line in [
            "edgemux",
            "edgemux fly",
            "edgemux models --server nowhere",
            "edgemux load",
            "edgemux load m --rate-hz -1",
            "edgemux load m --quantile 1.5 --latency-ms 3",
            "edgemux load m --quantile 0.9",
            "edgemux load m --latency-ms 5",
            "edgemux admit",
            "edgemux admit m/1/2",
            "edgemux admit m/",
            "edgemux admit m --rate 0",
            "edgemux admit m --rate -3",
            "edgemux admit m --rate NaN",
            "edgemux admit m --rate inf",
            "edgemux admit m --rate 2000000",
            "edgemux admit m --latency 5",
            "edgemux admit m --rate 5 --latency 0",
            "edgemux admit m --rate 5 --latency -1",
            "edgemux admit m --rate 5 --quantile 0.99",
            "edgemux admit m --rate 5 --latency 5 --quantile 1",
            "edgemux admit m --rate 5 --latency 5 --quantile 0",
            "edgemux admit m --rate 5 --latency 5 --quantile 0.9 --mean",
            "edgemux admit m --rate 5 --mean",
            "edgemux admit m --rate 5 --burst 0.5",
            "edgemux admit m --burst 5",
            "edgemux admit m --rate 5 --excess drop",
            "edgemux admit m --excess refuse",
            "edgemux admit m --priority -1",
            "edgemux admit m --device-kind npu",
            "edgemux admit m --ttl 0",
            "edgemux admit m --ttl 5 --dry-run",
            "edgemux calibration export",
            "edgemux calibration import",
            "edgemux calibration fly",
            "edgemux top --interval 0",
            "edgemux top --interval 0.01",
            "edgemux top --interval NaN",
            "edgemux devices set-mode gpu0",
            "edgemux devices set-mode gpu0 fast",
            "edgemux devices set-mode gpu0 concurrent --width 0",
            "edgemux devices set-mode gpu0 time-sliced --quantum 0",
            "edgemux devices set-mode gpu0 exclusive --run-max -1",
            "edgemux devices fence",
            "edgemux load-test",
            "edgemux load-test m --rate-hz 5 --concurrency 2",
            "edgemux load-test m --rate-hz 0",
            "edgemux load-test m --requests 5 --seconds 2",
            "edgemux load-test m --model n=3",
            "edgemux load-test --model n",
            "edgemux infer m --shape x=1,a",
            "edgemux infer m --input x",
            "edgemux demo --seconds 0",
            "edgemux plan",
            "edgemux plan a.toml --example coral",
            "edgemux plan a.toml --csv --json",
            "edgemux plan a.toml --requests 10",
            "edgemux plan a.toml --plot load.pdf",
            "edgemux plan --example pi",
            "edgemux experiment",
            "edgemux experiment published",
            "edgemux experiment cluster",
            "edgemux experiment cluster --out a --seeds 0",
            "edgemux experiment cluster --out a --nodes 4,0",
            "edgemux completions",
            "edgemux completions tcl",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn terms_have_long_and_short_names() {
        for line in [
            "edgemux admit m/3 --rate 20 --latency 50 --quantile 0.99 --device-kind cpu --device-kind gpu",
            "edgemux admit m --rate-hz 20 --latency-ms 50 --mean --burst 1 --priority 2 --excess best-effort --ttl 9",
            "edgemux load m --rate 20 --latency 50 --mean --excess refuse",
            "edgemux devices set-mode gpu0 time-sliced --quantum 2.5 --width 2 --run-max 3",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_load_test_takes_several_models() {
        assert!(
            parse("edgemux load-test --model a=10 --model b=2.5 --seconds 3 --arrivals periodic").is_ok()
        );
    }
}
