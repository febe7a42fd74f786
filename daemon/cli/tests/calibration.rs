//! `edgemux calibration`: profiles shown, watched, forgotten, and moved in files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::process::Stdio;
use std::time::Duration;

use fake::calibration::DOCUMENT;
use fake::node::Call;
use fake::start;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::test]
async fn profiles_are_shown_of_all_sessions_or_of_one() {
    let server = start().await;
    for arguments in [&["calibration"][..], &["calibration", "show"]] {
        let told = server.json(0, arguments).await;
        let profiles = told["profiles"].as_array().unwrap();
        assert_eq!(profiles.len(), 2);
        assert_eq!((&profiles[1]["session"], &profiles[1]["samples"]), (&json!("promised/3"), &json!(250)));
        assert_eq!(profiles[0]["last_drift_factor"], 2.0);
        assert_eq!(profiles[0]["speed_up"], json!([1.0, 1.5]));
    }
    let told = server.json(0, &["calibration", "show", "copy/1"]).await;
    assert_eq!(told["profiles"].as_array().unwrap().len(), 1);
    let told = server.json(1, &["calibration", "show", "nobody/1"]).await;
    assert_eq!(told["error"]["code"], "NOT_FOUND");
    assert!(told["error"]["message"].as_str().unwrap().contains("`edgemux sessions`"), "{told}");
    let text = String::from_utf8(server.edgemux(&["calibration"]).await.stdout).unwrap();
    for part in ["5.25", "1 %", "1, last ×2.00", "0.5 s", "0123456789abcdef ", "1 1.5"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn a_watch_gives_a_line_each_and_ends_when_nobody_reads_on() {
    let server = start().await;
    for (json, lines) in [(&["--json"][..], 3), (&[][..], 4)] {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgemux"))
            .args(["--server", &server.address])
            .args(json)
            .args(["calibration", "watch"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut read = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in 0..lines {
            let text = read.next_line().await.unwrap().expect("it goes on");
            match json {
                [] => assert_eq!(text.starts_with("SESSION"), line == 0, "{text}"),
                _ => {
                    let object: Value = serde_json::from_str(&text).unwrap();
                    fake::assert_documented(&object);
                    assert_eq!(object["session"], "copy/1");
                }
            }
        }
        drop(read);
        let ended =
            tokio::time::timeout(Duration::from_secs(60), child.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(0));
    }
}

#[tokio::test]
async fn a_watch_ends_well_by_a_signal() {
    let server = start().await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgemux"))
        .args(["--server", &server.address, "calibration", "watch", "copy/1"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut read = BufReader::new(child.stdout.take().unwrap()).lines();
    read.next_line().await.unwrap().expect("it watches");
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = async {
        while read.next_line().await.unwrap().is_some() {}
        child.wait().await.unwrap()
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn nothing_is_forgotten_unless_it_is_said_what() {
    let mut server = start().await;
    for (arguments, exit) in
        [(&["calibration", "reset"][..], 2), (&["calibration", "reset", "a/1", "--all"], 2)]
    {
        assert_eq!(server.edgemux(arguments).await.status.code(), Some(exit), "{arguments:?}");
    }
    assert!(server.calls.try_recv().is_err());
    let told = server.json(0, &["calibration", "reset", "copy/1"]).await;
    assert_eq!(told, json!({"session": "copy/1", "reset": true}));
    assert_eq!(server.calls.try_recv().unwrap(), Call::Reset("copy/1".into()));
    server.json(0, &["calibration", "reset", "--all"]).await;
    assert_eq!(server.calls.try_recv().unwrap(), Call::Reset(String::new()));
    server.json(1, &["calibration", "reset", "nobody/1"]).await;
}

#[tokio::test]
async fn profiles_go_into_a_file_and_out_of_it() {
    let mut server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let told = server.json(0, &["calibration", "export", &path("box")]).await;
    assert_eq!(told, json!({"file": path("box"), "bytes": DOCUMENT.len()}));
    assert_eq!(std::fs::read(path("box")).unwrap(), DOCUMENT);
    std::fs::write(path("old"), vec![7; 1000]).unwrap();
    server.json(0, &["calibration", "export", &path("old")]).await;
    assert_eq!(std::fs::read(path("old")).unwrap(), DOCUMENT, "what was there is replaced");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");

    let told = server.json(0, &["calibration", "import", &path("box")]).await;
    assert_eq!(told, json!({"file": path("box"), "taken": 2}));
    assert_eq!(server.calls.try_recv().unwrap(), Call::Import(DOCUMENT.into()));

    std::fs::write(path("damaged"), &DOCUMENT[1..]).unwrap();
    let told = server.json(1, &["calibration", "import", &path("damaged")]).await;
    assert_eq!(told["error"]["code"], "INVALID_ARGUMENT");
    assert!(told["error"]["message"].as_str().unwrap().contains("nothing was taken over"), "{told}");
    let told = server.json(1, &["calibration", "import", &path("nothing")]).await;
    assert_eq!(told["error"]["code"], "FILE");
    let told = server.json(1, &["calibration", "export", &path("no/folder")]).await;
    assert_eq!(told["error"]["code"], "WRITE");
}

#[tokio::test]
async fn a_file_that_no_message_could_carry_is_not_sent() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    // A hole: it takes no room on the disk.
    std::fs::File::create(&large).unwrap().set_len(300 << 20).unwrap();
    let told = server.json(1, &["calibration", "import", large.to_str().unwrap()]).await;
    assert!(told["error"]["message"].as_str().unwrap().contains("larger than 256.0 MiB"), "{told}");
}
