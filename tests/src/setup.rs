//! A daemon before it starts: its folder, configuration and models.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::repository::{self, Emulated};
use crate::{Daemon, PATIENCE, edgemuxd};

/// One device of each kind.
const DEVICES: &str = "
[[device]]
name = 'cpu0'
kind = 'cpu'
runtimes = ['onnx']
threads = 1
[[device]]
name = 'gpu0'
kind = 'gpu'
runtimes = ['emulator']
[[device]]
name = 'tpu0'
kind = 'edgetpu'
runtimes = ['emulator']
";

/// A temporary folder with a configuration and a model repository.
#[derive(Debug)]
pub struct Setup {
    pub(crate) folder: TempDir,
    arguments: Vec<String>,
    variables: Vec<(String, OsString)>,
}

/// A daemon that did not start.
#[derive(Debug)]
pub struct Refused {
    /// Its exit status.
    pub code: Option<i32>,
    /// What it said on standard error.
    pub said: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new("")
    }
}

impl Setup {
    /// The devices `cpu0` with ONNX, `gpu0` and `tpu0` emulated; `config` is set before them.
    pub fn new(config: &str) -> Self {
        Self::bare(&format!("{config}{DEVICES}"))
    }

    /// With this configuration as it is.
    pub fn bare(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("models")).expect("a model repository");
        std::fs::write(folder.path().join("edgemuxd.toml"), config).expect("a configuration");
        Self { folder, arguments: Vec::new(), variables: Vec::new() }
    }

    /// Adds an emulated model.
    pub fn emulated(self, name: &str, model: Emulated) -> Self {
        model.write(&self.models(), name);
        self
    }

    /// Adds the example `keywords.onnx`, loaded at start on `cpu0`.
    pub fn keywords(self, name: &str) -> Self {
        let onnx =
            std::fs::read(repository::example("keywords.onnx")).expect("examples/models/keywords.onnx");
        self.file(name, "1/model.onnx", &onnx).file(name, "model.toml", b"")
    }

    /// Adds a file below the folder of the model `name`.
    pub fn file(self, name: &str, file: &str, contents: &[u8]) -> Self {
        repository::write(&self.models(), name, file, contents);
        self
    }

    /// Adds an argument and its value; a later one wins, but for `--listen`, which adds an address.
    pub fn argument(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        let value = value.as_ref().to_str().expect("a path of UTF-8").to_owned();
        if name != "--listen" {
            self.arguments.retain(|argument| !argument.starts_with(&format!("{name}=")));
        }
        self.arguments.push(format!("{name}={value}"));
        self
    }

    /// Sets a variable of the daemon's environment.
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The same folder, with no arguments of its own.
    pub fn again(mut self) -> Self {
        self.arguments.clear();
        self
    }

    /// The model repository.
    pub fn models(&self) -> PathBuf {
        self.path("models")
    }

    /// A path in the daemon's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the daemon and waits until it has said that it is ready.
    pub async fn start(self) -> Daemon {
        let mut daemon = self.listen().await;
        daemon.ready().await;
        daemon
    }

    /// Starts the daemon and waits only until it listens: models may load still.
    pub async fn listen(self) -> Daemon {
        let command = self.command();
        Daemon::start(self, command).await
    }

    /// Starts a daemon that is to give up, and returns what it said.
    pub async fn refused(&self) -> Refused {
        let output = self.command().stdin(Stdio::null()).output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("it goes on").expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Refused { code: output.status.code(), said }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(edgemuxd());
        let given =
            |name: &str| self.arguments.iter().any(|argument| argument.starts_with(&format!("{name}=")));
        for (name, default) in [
            ("--config", self.path("edgemuxd.toml")),
            ("--listen", "127.0.0.1:0".into()),
            ("--model-repository", self.models()),
            ("--state-dir", self.path("state")),
            ("--metrics", "127.0.0.1:0".into()),
        ] {
            if !given(name) {
                command.arg(name).arg(default);
            }
        }
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.args(&self.arguments).env_remove("RUST_LOG").envs(variables).kill_on_drop(true);
        command
    }
}
