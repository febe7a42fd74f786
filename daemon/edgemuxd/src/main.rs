//! `edgemuxd`: trace, configuration, build, run until a signal, drain.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use edgemuxd::args::{Args, Command};
use edgemuxd::config::Config;
use edgemuxd::logging::Logging;
use edgemuxd::runtimes::RuntimeKind;
use edgemuxd::{serve, start};

/// Tensors come and go by the hundred kilobytes. The system's allocator gives such blocks back to the kernel each time and
/// has every page faulted in again, which cost more than all copies of the tensor together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.command {
        Some(Command::CheckConfig { file }) => Config::read(&file).map_err(Into::into).map(|_| {
            println!("{}: ok", file.display());
        }),
        Some(Command::Worker { runtime, arguments }) => work(&runtime, &arguments),
        None => run(args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgemuxd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(runtime: &str, arguments: &[String]) -> Result<()> {
    let kind =
        RuntimeKind::from_name(runtime).with_context(|| format!("no runtime is called {runtime:?}"))?;
    kind.run_worker(arguments).map_err(|error| anyhow!("worker {runtime}: {error}"))
}

fn run(args: Args) -> Result<()> {
    let logging = Logging::start();
    let (config, repository) = start::prepare(args)?;
    let threads = start::threads(config.threads);
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().context("cannot start the network threads")?;
    runtime.block_on(serve::run(config, repository, logging))
}
