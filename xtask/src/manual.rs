//! Pages of the manual and completions: that those who read them take them.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::package;
use crate::programs::Programs;
use crate::run::{run, say};

pub(crate) fn check(programs: &Programs) -> Result<()> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    package::pages_and_completions(programs.folder(), folder.path())?;

    let pages = package::files(&folder.path().join("man"))?;
    for name in ["edgemux.1", "edgemuxd.8", "edgemuxd.toml.5"] {
        if !pages.iter().any(|page| page.ends_with(name)) {
            bail!("there is no page {name}");
        }
    }
    if there_is("mandoc") {
        run(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).args(&pages))?;
    } else {
        say("NOT CHECKED: the pages of the manual, for want of mandoc (Debian: apt-get install mandoc)");
    }
    for script in package::files(&folder.path().join("completions"))? {
        let shell = script.extension().unwrap_or_default().to_string_lossy();
        if there_is(&shell) {
            run(Command::new(&*shell).arg("-n").arg(&script))?;
        } else {
            say(&format!("NOT CHECKED: the completions for {shell}, which is not here"));
        }
    }
    Ok(())
}

fn there_is(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok()
}
