//! `edgemux doctor` on hardware: who has it and what stands in the way, with a daemon that runs and without.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use fake::doctor::{Diagnosis, NOBODY, edgemuxd, runtime, says, script};

/// A machine of files with a Coral on PCIe, and the daemon's binary as it sees that machine.
struct MadeUp {
    folder: tempfile::TempDir,
}

impl MadeUp {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for made in ["run", "dev", "runtimes"] {
            std::fs::create_dir(folder.path().join(made)).unwrap();
        }
        std::fs::write(folder.path().join("dev/apex_0"), "").unwrap();
        let see = format!(
            "[ \"$1\" != devices ] || exec {0} devices --device-root {1}\nexec {0} \"$@\"",
            edgemuxd().display(),
            folder.path().display()
        );
        script(&folder.path().join("edgemuxd"), &see, 0o755);
        // What is built beside the daemon is not to be found.
        for (name, kind) in [("edgetpu", "edgetpu"), ("torch", "cpu"), ("tflite", "cpu")] {
            runtime(&folder.path().join("runtimes"), name, &says(&format!("\"{kind}\""), "null"));
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn diagnosis(&self, server: &str) -> Diagnosis {
        Diagnosis::of(&self.path("edgemuxd"), &self.path("runtimes"), server).await
    }

    /// Starts a daemon with these devices.
    fn start(&self, name: &str, devices: &str) -> Serving {
        let folder = self.path(name);
        std::fs::create_dir_all(folder.join("models")).unwrap();
        std::fs::write(folder.join("edgemuxd.toml"), devices).unwrap();
        let mut child = Command::new(edgemuxd())
            .args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
            .args([Path::new("--config"), &folder.join("edgemuxd.toml")])
            .args([Path::new("--model-repository"), &folder.join("models")])
            .args([Path::new("--state-dir"), &folder.join("state")])
            .args([Path::new("--device-root"), self.folder.path()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (address, stdout) = until_ready(stdout);
        Serving { child, address, _stdout: stdout }
    }
}

/// A daemon that runs until this is dropped.
struct Serving {
    child: Child,
    address: String,
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until_ready(stdout: ChildStdout) -> (String, BufReader<ChildStdout>) {
    let mut stdout = BufReader::new(stdout);
    let (mut address, mut line) = (None, String::new());
    while stdout.read_line(&mut line).unwrap() > 0 {
        if let Some(listening) = line.trim().strip_prefix("edgemuxd: listening on ") {
            address = Some(listening.to_owned());
        }
        if line.trim() == "edgemuxd: ready" {
            return (address.unwrap(), stdout);
        }
        line.clear();
    }
    panic!("the daemon ended before it was ready");
}

const CPU: &str = "[[device]]\nname = 'cpu0'\nkind = 'cpu'\nruntimes = ['onnx']\n";
const CORAL: &str =
    "[[device]]\nname = 'tpu0'\nkind = 'edgetpu'\nsource = 'coral-pci:0'\nruntimes = ['emulator']\n";

#[tokio::test(flavor = "multi_thread")]
async fn whose_an_accelerator_is_is_told_with_a_daemon_and_without() {
    let made_up = MadeUp::new();
    let told = made_up.diagnosis(NOBODY).await;
    told.assert("hardware:coral-pci:0", "ok", &["edgetpu can drive it"]);
    told.assert("hardware:absent", "ok", &["no NVIDIA driver", "no Coral on USB"]);

    let other = made_up.start("other", CPU);
    let told = made_up.diagnosis(&other.address).await;
    told.assert("hardware:coral-pci:0", "warn", &["no device of the server", "source = \\\"coral-pci:0\\\""]);
    told.assert("hardware:cpu", "ok", &["it is cpu0 of the server"]);
    assert_ne!(told.0["grade"], "fail", "{:#}", told.0);

    let owner = made_up.start("owner", CORAL);
    let pid = format!("process {} has it", owner.child.id());
    let told = made_up.diagnosis(&owner.address).await;
    told.assert("hardware:coral-pci:0", "ok", &["it is tpu0 of the server"]);
    for server in [NOBODY, &other.address] {
        let told = made_up.diagnosis(server).await;
        told.assert("hardware:coral-pci:0", "warn", &[&pid, "--server"]);
        let coral = told.0["hardware"].as_array().unwrap().iter().find(|one| one["source"] == "coral-pci:0");
        assert_eq!(coral.unwrap()["held_by"], owner.child.id());
    }
}

#[tokio::test]
async fn what_may_not_be_opened_is_told_with_the_group_to_join() {
    let made_up = MadeUp::new();
    // As `edgemuxd devices` says it to a user who may not; whoever runs this test may be root, who may anything.
    let see = format!(
        r#"[ "$1" != devices ] || exec echo '{{"devices":[{{"source":"coral-pci:0","name":"Coral","problem":"/dev/apex_0 cannot be opened","remedy":"join its group apex"}}],"absent":[]}}'
exec {} "$@""#,
        edgemuxd().display()
    );
    script(&made_up.path("edgemuxd"), &see, 0o755);
    let told = made_up.diagnosis(NOBODY).await;
    told.assert("hardware:coral-pci:0", "fail", &["/dev/apex_0 cannot be opened", "join its group apex"]);
}
