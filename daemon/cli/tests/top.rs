//! `edgemux top`: once as text and JSON, and live in a terminal, which it leaves as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::process::{Child, Command};

use fake::pty::Pty;
use fake::{Running, edgemux, start};
use rustix::process::{Pid, Signal, kill_process};

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

fn live(server: &Running, pty: &Pty) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgemux"));
    command.args(["--server", &server.address, "top", "--interval", "0.1"]).env_remove("NO_COLOR");
    pty.spawn(command.env("TERM", "xterm-256color"))
}

/// Waits for its end while the server in this test goes on.
async fn end(mut child: Child) -> Option<i32> {
    tokio::task::spawn_blocking(move || child.wait().unwrap().code()).await.unwrap()
}

async fn read_until(mut pty: Pty, wanted: &'static str) -> (Pty, String) {
    let read = move || {
        let text = pty.read_until(wanted);
        (pty, text)
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

#[tokio::test]
async fn where_the_output_is_no_terminal_it_shows_everything_once() {
    let server = start().await;
    for arguments in [&["top"][..], &["top", "--once"]] {
        let output = server.edgemux(arguments).await;
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        for part in [
            "2 devices, 2 sessions, 1 at risk",
            "gpu0: NVIDIA T4 (nvidia:GPU-5e1f3a60), driver 570.1, 70W, 61 °C",
            "77.0 of 40.0",
            "90.25/20.00",
            "promised/3 is at risk",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
    let told = server.json(0, &["top"]).await;
    assert_eq!(told["server"], server.address.as_str());
    assert_eq!(told["devices"][1]["hardware"]["temperature_c"], 61.0);
    assert_eq!(told["devices"][1]["predicted_utilisation"], 0.42);
    assert_eq!(told["sessions"][1]["observed_rate_hz"], 77.0);
    let output = edgemux(&["--server", "127.0.0.1:1", "top"]).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_it_and_the_terminal_is_as_before() {
    let server = start().await;
    for key in ["q", "\u{3}"] {
        let pty = Pty::open(30, 120);
        let before = pty.settings();
        let child = live(&server, &pty);
        let (mut pty, _) = read_until(pty, "promised/3").await;
        assert_ne!(pty.settings(), before, "keys come as they are typed");
        pty.press("?");
        let (mut pty, _) = read_until(pty, "Home/End,").await;
        pty.press(" ");
        pty.press(key);
        assert_eq!(end(child).await, Some(0));
        let (pty, shown) = read_until(pty, LEAVE).await;
        assert!(shown.find(ENTER).is_some_and(|entered| Some(entered) < shown.rfind(LEAVE)), "{shown:?}");
        assert!(shown.contains(SHOW_CURSOR));
        assert_eq!(pty.settings(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_and_the_terminal_is_as_before() {
    let server = start().await;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let pty = Pty::open(30, 120);
        let before = pty.settings();
        let child = live(&server, &pty);
        let (pty, _) = read_until(pty, "promised/3").await;
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(end(child).await, Some(0));
        let (pty, shown) = read_until(pty, LEAVE).await;
        assert!(shown.contains(SHOW_CURSOR));
        assert_eq!(pty.settings(), before);
    }
}
