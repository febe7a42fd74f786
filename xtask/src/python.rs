//! The Python environment of `tests/python`: made once per list of packages, in the user's cache directory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::native::Environment;
use crate::run::{cache, root, run, say};

/// Makes the environment if it is not there, and returns its Python.
pub(crate) fn environment() -> Result<PathBuf> {
    let requirements = root().join("tests/python/requirements.txt");
    let text =
        std::fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let mut hasher = DefaultHasher::new();
    (&text, version()?).hash(&mut hasher);
    let folder = cache()?.join(format!("python-{:016x}", hasher.finish()));
    let python = folder.join("bin/python");
    if folder.join("complete").exists() {
        return Ok(python);
    }
    say(&format!("fetching the Python packages of the tests, about 80 MB, into {}", folder.display()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("cannot make a virtual environment; on Debian: apt-get install python3-venv")?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--requirement",
    ];
    run(Command::new(&python).args(pip).arg(&requirements))?;
    std::fs::write(folder.join("complete"), "")?;
    Ok(python)
}

/// Runs the suite with `python`, against the binaries that were just built, whose libraries are in `native`.
pub(crate) fn pytest(python: &Path, native: &Environment) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    run(native
        .apply(&mut Command::new(python))?
        .args(["-m", "pytest", "--quiet", "-rs", "-p", "no:cacheprovider"])
        .arg(root().join("tests/python"))
        .current_dir(root().join("tests/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("EDGEMUXD", root().join(target).join("debug/edgemuxd")))
}

fn version() -> Result<Vec<u8>> {
    let output = Command::new("python3")
        .arg("--version")
        .output()
        .context("the tests over Python clients need python3, 3.10 to 3.13; it is not on the PATH")?;
    Ok(output.stdout)
}
