//! `edgemuxd`: trace, configuration, build, run until a signal, drain.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use edgemuxd::args::{Args, Command};
use edgemuxd::config::Config;
use edgemuxd::discovery::Machine;
use edgemuxd::logging::Logging;
use edgemuxd::runtimes::RuntimeKind;
use edgemuxd::{installed, manual, serve, start};
use listenfd::ListenFd;

/// Tensors come and go by the hundred kilobytes. The system's allocator gives such blocks back to the kernel each time and
/// has every page faulted in again, which cost more than all copies of the tensor together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long calls that block may go on when all is done.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.command {
        Some(Command::CheckConfig { file }) => Config::read(&file).map_err(Into::into).map(|_| {
            println!("{}: ok", file.display());
        }),
        Some(Command::Devices { device_root }) => show(&device_root),
        Some(Command::Runtimes { patience }) => runtimes(Duration::from_secs(patience)),
        Some(Command::Man { folder }) => manual::write(&folder)
            .with_context(|| format!("cannot write the pages of the manual into {}", folder.display())),
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

fn show(root: &Path) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&Machine::new(root).inventory())?);
    Ok(())
}

fn runtimes(patience: Duration) -> Result<()> {
    let asking = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtimes = asking.context("cannot start a thread")?.block_on(installed::all(patience));
    println!("{}", serde_json::to_string_pretty(&runtimes)?);
    Ok(())
}

fn work(runtime: &str, arguments: &[String]) -> Result<()> {
    let kind =
        RuntimeKind::from_name(runtime).with_context(|| format!("no runtime is called {runtime:?}"))?;
    kind.run_worker(arguments).map_err(|error| anyhow!("worker {runtime}: {error}"))
}

fn run(args: Args) -> Result<()> {
    // It takes variables out of the environment, which nobody may while there are other threads.
    let handed = ListenFd::from_env();
    let logging = Logging::start();
    let config = start::configuration(&args)?;
    let repository = start::repository(&config)?;
    let threads = start::threads(config.threads);
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().context("cannot start the network threads")?;
    let ended = runtime.block_on(serve::run(args, config, repository, logging, handed));
    // A driver that does not answer keeps nobody here.
    runtime.shutdown_timeout(BLOCKED_MAX);
    ended
}
