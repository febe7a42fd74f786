//! The daemon as a service: what it tells the service manager, which the test plays, and the sockets that it is given.

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use edgemux_tests::{Client, Daemon, Emulated, PATIENCE, Setup, echo, eventually};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;

/// What a service manager hears, datagram by datagram.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, folder }
    }

    fn setup(&self, watchdog: Duration) -> Setup {
        Setup::bare("[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\n")
            .emulated("model", Emulated::new(2.0))
            .variable("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .variable("WATCHDOG_USEC", watchdog.as_micros().to_string())
    }

    /// All that was said since this was last asked.
    fn heard(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let mut heard = Vec::new();
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let said = String::from_utf8(buffer[..len].to_vec()).unwrap();
            heard.extend(said.lines().map(ToOwned::to_owned));
        }
        heard
    }

    async fn until(&self, what: &str) {
        eventually(what, PATIENCE, async || self.heard().iter().any(|said| said == what).then_some(())).await;
    }
}

async fn answers(daemon: &Daemon) -> Client {
    let client = daemon.client().await;
    client.infer(echo("model", [1.0; 4])).await.unwrap();
    client
}

#[tokio::test]
async fn a_service_manager_is_told_that_it_is_ready_what_it_does_and_that_it_ends() {
    let manager = Manager::new();
    let daemon = manager.setup(Duration::from_secs(60)).start().await;
    manager.until("READY=1").await;
    answers(&daemon).await;
    daemon.terminate();
    manager.until("STOPPING=1").await;
    let (status, _) = daemon.ended().await;
    assert!(status.success());
}

#[tokio::test]
async fn the_watchdog_is_fed_while_the_daemon_can_decide_and_not_while_it_is_stopped() {
    let manager = Manager::new();
    let daemon = manager.setup(Duration::from_millis(400)).start().await;
    answers(&daemon).await;
    manager.until("WATCHDOG=1").await;
    manager.until("WATCHDOG=1").await;
    let status = |said: &String| said.starts_with("STATUS=1 sessions on 1 devices");
    eventually("a status", PATIENCE, async || manager.heard().iter().any(status).then_some(())).await;
    daemon.process().signal(Signal::STOP);
    // What was under way when it stopped is heard once; then nothing is.
    eventually("silence", PATIENCE, async || {
        manager.heard();
        tokio::time::sleep(Duration::from_millis(800)).await;
        manager.heard().is_empty().then_some(())
    })
    .await;
    daemon.process().signal(Signal::CONT);
    manager.until("WATCHDOG=1").await;
    answers(&daemon).await;
}

#[tokio::test]
async fn a_socket_that_the_manager_made_is_served_and_outlives_the_daemon() {
    let manager = Manager::new();
    let path = manager.folder.path().join("edgemuxd.sock");
    let kept = UnixListener::bind(&path).unwrap();
    // The daemon inherits it, as from systemd.
    fcntl_setfd(&kept, FdFlags::empty()).unwrap();
    let address = format!("unix:{}", path.display());
    let activated = |setup: Setup| {
        setup.variable("LISTEN_FDS", "1").variable("LISTEN_FDS_FIRST_FD", kept.as_raw_fd().to_string())
    };
    // That it is configured too is no second binding.
    let setup = activated(manager.setup(Duration::from_secs(60))).argument("--listen", &address);
    let daemon = setup.start().await;
    assert_eq!(daemon.address(), address);
    answers(&daemon).await;
    daemon.terminate();
    let (status, setup) = daemon.ended().await;
    assert!(status.success());
    assert!(path.exists(), "it is the manager's, not the daemon's");
    // Who connects while there is no daemon waits for the next.
    let waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let daemon = setup.start().await;
    answers(&daemon).await;
    drop(waiting);
}

#[tokio::test]
async fn without_a_service_manager_nothing_is_said_and_nothing_is_missing() {
    let daemon = Setup::bare("[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\n")
        .emulated("model", Emulated::new(2.0))
        .start()
        .await;
    answers(&daemon).await;
    assert!(!daemon.log().contains("service manager"), "{}", daemon.log());
}
