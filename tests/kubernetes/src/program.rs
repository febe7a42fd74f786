//! A program that runs until it is told to end.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use edgemux_tests::{PATIENCE, Process};
use rustix::process::Signal;
use tokio::process::{Child, Command};

/// The program that a variable names, or that lies in the folder above that of the running test.
#[must_use]
pub fn binary(variable: &str, name: &str) -> PathBuf {
    if let Some(given) = std::env::var_os(variable) {
        return given.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.parent().and_then(Path::parent).expect("a test lies in target/PROFILE/deps");
    let binary = profile.join(name);
    assert!(
        binary.exists(),
        "no {}: build it with `cargo build -p {name}`, or name one in {variable}",
        binary.display()
    );
    binary
}

/// A running program, its log in a file; dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    process: Process,
    log: PathBuf,
}

// === impl Program ===

impl Program {
    /// Starts it. What it says goes to the end of `log`.
    pub fn start(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        variables: &[(&str, &OsStr)],
        log: PathBuf,
    ) -> Self {
        let file =
            std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a file for the log");
        let mut command = Command::new(program);
        command.args(arguments).env_remove("RUST_LOG").envs(variables.iter().copied()).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("the same file")).stderr(file).kill_on_drop(true);
        let child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let process = Process::of(child.id().expect("it runs")).expect("it runs");
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, child, process, log }
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> Process {
        self.process
    }

    /// Whether it runs still.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// What it and those before it have said into the same file.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as an operator does.
    pub async fn stop(self) -> ExitStatus {
        self.end(Signal::TERM).await
    }

    /// Ends it as a power cut does.
    pub async fn kill(self) -> ExitStatus {
        self.end(Signal::KILL).await
    }

    async fn end(mut self, signal: Signal) -> ExitStatus {
        self.process.signal(signal);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} does not end", self.name)).expect("its status")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(30)..];
            let last: Vec<String> = last.iter().map(|line| line.chars().take(300).collect()).collect();
            let last = last.join(
                "
",
            );
            eprintln!("=== the last of {}'s log\n{last}\n===", self.name);
        }
    }
}
