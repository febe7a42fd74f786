//! The user, folders and device rules that packages bring: that systemd takes every line of them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{root, run, say};

const USER: &str = "edgemux.sysusers";
const FOLDERS: &str = "edgemux.tmpfiles";
const RULES: &str = "60-edgemux.rules";
/// By which systemd-tmpfiles says that only ownership could not be given: whoever runs this need not be root.
const NOT_ROOT: i32 = 73;

pub(crate) fn check() -> Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    std::fs::create_dir(folder.path().join("etc")).context("a folder for users")?;
    let below = format!("--root={}", folder.path().display());
    if there_is("systemd-sysusers", USER) {
        let mut sysusers = Command::new("systemd-sysusers");
        run(sysusers.arg(&below).arg(shipped(USER)).stderr(Stdio::null()))?;
        let users =
            std::fs::read_to_string(folder.path().join("etc/passwd")).context("no users were made")?;
        if !users.starts_with("edgemux:") {
            bail!("{USER} makes {users:?}");
        }
    }
    if there_is("systemd-tmpfiles", FOLDERS) {
        let mut tmpfiles = Command::new("systemd-tmpfiles");
        let output = tmpfiles.arg(&below).arg("--create").arg(shipped(FOLDERS)).output()?;
        let taken = output.status.success() || output.status.code() == Some(NOT_ROOT);
        if !taken || !folder.path().join("var/lib/edgemux/models").is_dir() {
            bail!("{FOLDERS}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    // Systemd 254 and later.
    if there_is("udevadm verify", RULES) {
        run(Command::new("udevadm").args(["verify", "--resolve-names=never"]).arg(shipped(RULES)))?;
    }
    Ok(())
}

fn shipped(file: &str) -> PathBuf {
    root().join("systemd").join(file)
}

/// Whether `command`, a program and perhaps its verb, can be run here; if not that is said.
fn there_is(command: &str, file: &str) -> bool {
    let mut words = command.split(' ');
    let mut asked = Command::new(words.next().unwrap_or_default());
    let status = asked.args(words).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = status.is_ok_and(|status| status.success());
    if !there {
        say(&format!("NOT CHECKED: {file}, for want of `{command}`"));
    }
    there
}
