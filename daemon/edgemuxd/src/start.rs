//! Before anything runs: configuration and folders, each problem said plainly.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::args::Args;
use crate::config::{Config, DEFAULT_PATH};
use crate::repository::Repository;

/// Where a system's state lives, and where a user's does, below the home directory.
const SYSTEM_STATE: &str = "/var/lib/edgemux";
/// The model repository, if no other is named, in the state directory.
const MODELS: &str = "models";
const USER_STATE: &str = ".local/state/edgemux";

/// Threads chosen at most when the configuration leaves it open: beyond these, accelerators are what is waited for.
const THREADS_MAX: usize = 4;

/// Reads the configuration, and applies the command line.
pub fn configuration(args: &Args) -> Result<Config> {
    let mut config = match &args.config {
        Some(file) => Config::read(file)?,
        None if Path::new(DEFAULT_PATH).exists() => Config::read(Path::new(DEFAULT_PATH))?,
        None => Config::default(),
    };
    if !args.listen.is_empty() {
        config.listen = args.listen.clone();
    }
    config.metrics = args.metrics.unwrap_or(config.metrics);
    config.state_dir = args.state_dir.clone().or(config.state_dir).or_else(|| Some(default_state_dir()));
    config.model_repository = args.model_repository.clone().or(config.model_repository);
    config.device_root = args.device_root.clone().unwrap_or(config.device_root);
    if let Some(state) = &config.state_dir {
        config.model_repository.get_or_insert_with(|| state.join(MODELS));
    }
    config.check()?;
    Ok(config)
}

/// Makes the folders that are missing, and opens the repository.
pub fn repository(config: &Config) -> Result<Repository> {
    let state = config.state_dir.clone().unwrap_or_else(default_state_dir);
    std::fs::create_dir_all(&state).with_context(|| {
        format!("cannot make the state directory {}; choose another --state-dir", state.display())
    })?;
    let models = config.model_repository.clone().unwrap_or_else(|| state.join(MODELS));
    // One that somebody has named is there, or its name is wrong.
    if models == state.join(MODELS) {
        std::fs::create_dir_all(&models)
            .with_context(|| format!("cannot make the model repository {}", models.display()))?;
    }
    let repository = Repository::open(&models)
        .with_context(|| format!("the model repository {} cannot be used", models.display()))?;
    Ok(repository)
}

/// How many threads serve the network; 0 in the configuration chooses by the cores there are.
///
/// Half of the cores: the other half belongs to clients, workers and models. On one or two cores a single thread does
/// most with least, since nothing is handed from thread to thread.
pub fn threads(configured: usize) -> usize {
    match configured {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (cores / 2).clamp(1, THREADS_MAX)
        }
        threads => threads,
    }
}

fn default_state_dir() -> PathBuf {
    if let Some(given) = std::env::var_os("STATE_DIRECTORY") {
        return given.into();
    }
    let system = PathBuf::from(SYSTEM_STATE);
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let ours = if system.exists() { writable(&system) } else { system.parent().is_some_and(writable) };
    match std::env::var_os("HOME") {
        Some(home) if !ours => PathBuf::from(home).join(USER_STATE),
        _ => system,
    }
}
