//! The project's own chores: `cargo xtask test` runs every test, `cargo xtask check` every other check.
#![forbid(unsafe_code)]

mod docs;
mod edges;
mod kubernetes;
mod manual;
mod native;
mod package;
mod programs;
mod python;
mod run;
mod rust_tests;
mod system_files;
mod units;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::programs::Programs;
use crate::run::{cargo, cargo_with, root, rustdoc_with, say};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test             build the binaries, then run every test: Rust, end to end, and the Python clients'
                   (needs Python 3.10 to 3.13 with venv and pip; its packages and the native libraries of some
                   runtimes are fetched once, into the cache directory)
  check            format, clippy, documentation, dependency edges, shipped configuration files, systemd units, Kubernetes
                   manifests, manual and completions
  docs             write docs/configuration.md from systemd/edgemuxd.toml, and of deploy/kubernetes the definitions and roles
                   from cluster/api
  native [--arch ARCH] [PART]..
                   fetch the native libraries that some runtimes link against (torch, tflite, libclang; all of them if
                   none is named), for this machine or for ARCH (x86_64, aarch64), and print the variables under which
                   cargo finds them: eval \"$(cargo xtask native)\"
  package [--arch ARCH] [--revision N] [--out DIR]
                   make the Debian packages, in target/debian or DIR, for this machine or for ARCH (x86_64, aarch64); needs
                   cargo-deb
";

fn main() -> ExitCode {
    match chore() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(),
        ["check"] => check(),
        ["docs"] => docs::write().and_then(|()| kubernetes::write()),
        ["package", ref options @ ..] => packages(options),
        ["native", "--arch", architecture, ref parts @ ..] => {
            print!("{}", native::environment_for(architecture, parts)?.exports());
            Ok(())
        }
        ["native", ref parts @ ..] => {
            print!("{}", native::environment(parts)?.exports());
            Ok(())
        }
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("{USAGE}"),
    }
}

fn test() -> Result<()> {
    // First what may have to be fetched: whatever is missing is said before long builds.
    let python = python::environment()?;
    let native = native::environment(&[])?;
    say("building the tests, and the programs that they drive");
    Programs::build(&native)?;
    say("Rust tests, end to end among them");
    rust_tests::run(&native)?;
    say("tests over the unmodified Python clients");
    python::pytest(&python, &native)
}

fn check() -> Result<()> {
    say("format");
    cargo(&["fmt", "--all", "--check"])?;
    let native = native::environment(&[])?;
    say("clippy");
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"];
    cargo_with(&native, &clippy)?;
    say("documentation");
    rustdoc_with(&native, &["doc", "--workspace", "--all-features", "--no-deps"])?;
    say("pages, links, dashboard and alerts");
    docs::check()?;
    say("dependency edges");
    edges::check()?;
    say("building the programs, as the tests have them");
    let programs = Programs::build(&native)?;
    say("shipped configuration file");
    programs.check_config(&root().join("systemd/edgemuxd.toml"))?;
    say("systemd units");
    units::check()?;
    say("user, folders and device rules");
    system_files::check()?;
    say("Kubernetes manifests");
    kubernetes::check(&programs)?;
    say("manual and completions");
    manual::check(&programs)
}

fn packages(options: &[&str]) -> Result<()> {
    let (mut architecture, mut revision, mut out) = (std::env::consts::ARCH, "1", None);
    for option in options.chunks(2) {
        match *option {
            ["--arch", given] => architecture = given,
            ["--revision", given] => revision = given,
            ["--out", given] => out = Some(given),
            _ => bail!("{USAGE}"),
        }
    }
    package::make(architecture, revision, out)
}
