//! A running daemon.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::{Client, Held, PATIENCE, Process, Setup, eventually};

/// Workers see the end of their daemon at once; this bounds a busy machine.
const WORKERS_END_WITHIN: Duration = Duration::from_secs(5);

/// A real `edgemuxd`; dropping it ends it and whatever it started.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    addresses: Vec<String>,
    metrics: String,
    setup: Option<Setup>,
}

impl Daemon {
    pub(crate) async fn start(setup: Setup, mut command: Command) -> Self {
        let log = std::fs::File::create(setup.path("stderr")).expect("a file for the log");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        // A group of its own: whatever is left of it can be ended on drop.
        let mut child = command.process_group(0).spawn().expect("edgemuxd starts");
        let process = Process::of(child.id().expect("it runs")).expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("its standard output")).lines();
        let (addresses, metrics) = (Vec::new(), String::new());
        let mut daemon = Self { child, process, lines, addresses, metrics, setup: Some(setup) };
        while daemon.metrics.is_empty() {
            let line = daemon.line().await;
            if let Some(address) = line.strip_prefix("edgemuxd: listening on ") {
                daemon.addresses.push(address.to_owned());
            } else if let Some(address) = line.strip_prefix("edgemuxd: metrics on ") {
                address.clone_into(&mut daemon.metrics);
            } else {
                panic!("unexpected on standard output: {line:?}");
            }
        }
        daemon
    }

    /// Waits until it has said that it is ready.
    pub async fn ready(&mut self) {
        assert_eq!(self.line().await, "edgemuxd: ready");
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        match line.expect("edgemuxd says nothing").expect("its standard output") {
            Some(line) => line,
            None => panic!("edgemuxd ended before it was ready"),
        }
    }

    /// Its own process.
    pub fn process(&self) -> Process {
        self.process
    }

    /// The first address it listens on.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// Where its metrics are.
    pub fn metrics(&self) -> &str {
        &self.metrics
    }

    /// Its folder and all that was set up for it.
    pub fn setup(&self) -> &Setup {
        self.setup.as_ref().expect("until it has ended")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let log = self.setup.as_ref().map(|setup| std::fs::read_to_string(setup.path("stderr")));
        log.and_then(Result::ok).unwrap_or_default()
    }

    /// A client with a connection of its own.
    pub async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// What its process holds now.
    pub fn held(&self) -> Held {
        Held::by(self.process)
    }

    /// The worker that serves `device`, once it is up.
    pub async fn worker(&self, client: &Client, device: &str) -> Process {
        eventually(&format!("a worker for {device} is up"), PATIENCE, async || {
            let device = client.device(device).await;
            device.workers.iter().find(|worker| worker.pid != 0).and_then(|worker| Process::of(worker.pid))
        })
        .await
    }

    /// Asks it to end, as an operator does.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself and asserts that no process of it is left. Returns its status and folder.
    pub async fn ended(mut self) -> (ExitStatus, Setup) {
        let workers = self.process.children();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("edgemuxd does not end").expect("its status");
        eventually("every worker has ended with its daemon", WORKERS_END_WITHIN, async || {
            workers.iter().all(|worker| !worker.is_running()).then_some(())
        })
        .await;
        (status, self.setup.take().expect("until it has ended"))
    }

    /// Ends it as an operator does and asserts that it ends well and leaves nothing. Returns how long that took.
    pub async fn stop(self) -> Duration {
        let asked = Instant::now();
        self.terminate();
        let (status, setup) = self.ended().await;
        let log = std::fs::read_to_string(setup.path("stderr")).unwrap_or_default();
        assert!(status.success(), "edgemuxd ended with {status} after SIGTERM\n{log}");
        asked.elapsed()
    }

    /// Ends it by SIGKILL and waits until its workers have followed. Returns its folder.
    pub async fn kill(self) -> Setup {
        self.process.signal(Signal::KILL);
        self.ended().await.1
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id as i32)) {
            // What has ended already needs no ending.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("=== the daemon's log\n{}===", self.log());
        }
    }
}
