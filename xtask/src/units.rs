//! The systemd units: that systemd takes every line of them, and how exposed it calls the service.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run::{root, run, say};

/// The most exposure, in tenths: of the service as it is shipped, and with the drop-in for unix sockets alone.
const EXPOSURE_MAX: u32 = 17;
const EXPOSURE_UNIX_MAX: u32 = 10;

pub(crate) fn check() -> Result<()> {
    let there = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    if there.is_err() {
        say("NOT CHECKED: the systemd units, for want of systemd-analyze (Debian: apt-get install systemd)");
        return Ok(());
    }
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let read = |file: &str| {
        let path = root().join("systemd").join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (service, socket, drop_in) =
        (read("edgemuxd.service")?, read("edgemuxd.socket")?, read("unix-only.conf")?);
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
    };

    // Neither the binary nor its page of the manual is installed where this is checked.
    let installed = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("Documentation="));
        lines.map(|line| line.replace("/usr/bin/edgemuxd", "/bin/true") + "\n").collect::<String>()
    };
    let verified =
        [write("edgemuxd.service", &installed(&service))?, write("edgemuxd.socket", &installed(&socket))?];
    let output = Command::new("systemd-analyze").arg("verify").args(&verified).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // What it says of other units of this machine is none of ours.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("edgemuxd")).collect();
    if !output.status.success() || !ours.is_empty() {
        bail!("systemd-analyze verify: {said}");
    }

    exposed(&write("shipped.service", &service)?, EXPOSURE_MAX)?;
    let added = drop_in.lines().filter(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n");
    let with_drop_in = service.replace("\n[Install]", &format!("\n{added}\n[Install]"));
    exposed(&write("unix-only.service", &with_drop_in)?, EXPOSURE_UNIX_MAX)
}

fn exposed(unit: &Path, most: u32) -> Result<()> {
    run(Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .arg(format!("--threshold={most}"))
        .arg(unit)
        .stdout(Stdio::null()))
    .with_context(|| format!("{} is more exposed than {most} tenths", unit.display()))
}
