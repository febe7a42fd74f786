//! The native libraries that some runtimes link against: fetched once as PyPI wheels of known hash, unpacked into the
//! user's cache directory, and made known to cargo by environment variables.
//!
//! [`parts`] is the table of what there is, [`wheel`] gets one file of it, [`headers`] lays out what no wheel has.

mod headers;
mod parts;
mod wheel;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::parts::{PARTS, Part};
use crate::run::{cache, say};

/// Where programs look for shared libraries; every part adds its folder in front.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// The variables under which cargo builds and runs what needs native parts.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    libraries: Vec<PathBuf>,
}

/// Fetches the parts with these names that are not there yet, all parts if no name is given, for this machine's architecture.
pub(crate) fn environment(names: &[&str]) -> Result<Environment> {
    environment_for(std::env::consts::ARCH, names)
}

/// The same for another machine's architecture, `aarch64` for one.
pub(crate) fn environment_for(architecture: &str, names: &[&str]) -> Result<Environment> {
    if let Some(unknown) = names.iter().find(|name| !PARTS.iter().any(|part| part.name == **name)) {
        let known: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        bail!("there is no native part {unknown:?}; there are: {}", known.join(", "));
    }
    let mut environment = Environment::default();
    for part in PARTS.iter().filter(|part| names.is_empty() || names.contains(&part.name)) {
        // A developer's own build of a library, say the one that came with a board, goes before ours.
        if let Some(own) = std::env::var_os(part.variable) {
            eprintln!("{}: {} is set to {}, nothing fetched", part.name, part.variable, own.display());
            continue;
        }
        let folder = part.fetch(architecture)?;
        for (key, value) in (part.variables)(&folder)? {
            match key {
                LIBRARIES => environment.libraries.push(value.into()),
                _ => drop(environment.variables.insert(key, value)),
            }
        }
    }
    Ok(environment)
}

/// A library of a part, fetched if it is not there yet, or the developer's own build of it.
pub(crate) fn library(architecture: &str, name: &str, file: &str) -> Result<PathBuf> {
    let part =
        PARTS.iter().find(|part| part.name == name).with_context(|| format!("no native part {name:?}"))?;
    match std::env::var_os(part.variable) {
        Some(own) => Ok(own.into()),
        None => Ok(part.fetch(architecture)?.join("lib").join(file)),
    }
}

impl Part {
    /// Fetches the part unless it is there, and returns its folder.
    fn fetch(&self, architecture: &str) -> Result<PathBuf> {
        let wheels: Vec<_> = self.wheels.iter().filter(|wheel| wheel.architecture == architecture).collect();
        if wheels.is_empty() {
            bail!(
                "{} is not published for {architecture}: set {} to a build of it",
                self.what,
                self.variable
            );
        }
        let mut hasher = DefaultHasher::new();
        wheels.hash(&mut hasher);
        let caches = cache()?;
        let folder = caches.join(format!("{}-{:016x}", self.name, hasher.finish()));
        if folder.exists() {
            return Ok(folder);
        }
        let megabytes = wheels.iter().map(|wheel| wheel.bytes).sum::<u64>() / 1_000_000;
        say(&format!(
            "fetching {}: {megabytes} MB from the Python package index, unpacked into {}",
            self.what,
            folder.display()
        ));
        // Whole or not there: what an interrupted attempt leaves is elsewhere, and of two at once either will do.
        std::fs::create_dir_all(&caches).with_context(|| format!("cannot make {}", caches.display()))?;
        let making = tempfile::Builder::new()
            .prefix("native-")
            .tempdir_in(&caches)
            .with_context(|| format!("cannot write to {}", caches.display()))?;
        for wheel in wheels {
            wheel.unpack(making.path()).with_context(|| format!("{}: {}", self.name, wheel.requirement))?;
        }
        (self.finish)(making.path(), architecture)?;
        match std::fs::rename(making.path(), &folder) {
            Err(_) if folder.exists() => Ok(folder),
            Err(error) => Err(error).with_context(|| format!("cannot make {}", folder.display())),
            Ok(()) => {
                // It has another name now, under which nothing is to be cleared.
                let _ = making.keep();
                Ok(folder)
            }
        }
    }
}

impl Environment {
    /// Lets `command` run in this environment.
    pub(crate) fn apply<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command> {
        let inherited = std::env::var_os(LIBRARIES).unwrap_or_default();
        let inherited = std::env::split_paths(&inherited).filter(|folder| !folder.as_os_str().is_empty());
        let libraries = std::env::join_paths(self.libraries.iter().cloned().chain(inherited))
            .with_context(|| format!("{LIBRARIES} cannot hold a folder with a colon in its name"))?;
        Ok(command.envs(&self.variables).env(LIBRARIES, libraries))
    }

    /// As lines for a shell to evaluate.
    pub(crate) fn exports(&self) -> String {
        let quoted = |value: &OsStr| format!("'{}'", value.to_string_lossy().replace('\'', r"'\''"));
        let mut lines = String::new();
        for (key, value) in &self.variables {
            lines += &format!("export {key}={}\n", quoted(value));
        }
        // Not with what this program itself inherited: cargo adds its own folders to that.
        if !self.libraries.is_empty() {
            let folders: Vec<_> = self.libraries.iter().map(|folder| quoted(folder.as_os_str())).collect();
            let folders = folders.join(":");
            lines += &format!("export {LIBRARIES}={folders}\"${{{LIBRARIES}:+:${LIBRARIES}}}\"\n");
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_for_a_known_architecture() {
        for wheel in PARTS.iter().flat_map(|part| part.wheels) {
            assert!(wheel.requirement.contains("=="), "{}", wheel.requirement);
            assert_eq!(wheel.sha256.len(), 64, "{}", wheel.requirement);
            assert!(wheel.sha256.bytes().all(|digit| digit.is_ascii_hexdigit()), "{}", wheel.requirement);
            assert!(["x86_64", "aarch64"].contains(&wheel.architecture), "{}", wheel.requirement);
        }
    }

    #[test]
    fn a_shell_reads_what_is_printed_and_keeps_the_libraries_it_had() -> Result<()> {
        let environment = Environment {
            variables: BTreeMap::from([("EDGEMUX_TEST", "it's $two".into())]),
            libraries: vec!["/a b".into(), "/c".into()],
        };
        let script =
            format!("{}printf '%s|%s' \"$EDGEMUX_TEST\" \"$LD_LIBRARY_PATH\"", environment.exports());
        for (before, after) in [("", "it's $two|/a b:/c"), ("/d", "it's $two|/a b:/c:/d")] {
            let output = Command::new("/bin/sh").args(["-c", &script]).env(LIBRARIES, before).output()?;
            assert_eq!(String::from_utf8(output.stdout)?, after);
        }
        Ok(())
    }

    #[test]
    fn an_unknown_part_is_refused_before_anything_is_fetched() {
        let refused = environment(&["cuda"]).map(|_| ()).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("there is no native part \"cuda\"")));
    }
}
