//! One wheel: downloaded by pip, which checks its hash, and the files of it that are wanted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

use crate::run::run;

/// A file on the Python package index.
#[derive(Hash)]
pub(super) struct Wheel {
    /// Package and version.
    pub(super) requirement: &'static str,
    /// The processor it is for, as Rust names it.
    pub(super) architecture: &'static str,
    /// Of the file.
    pub(super) sha256: &'static str,
    /// Of the file.
    pub(super) bytes: u64,
    /// The platform tags that lead pip to it.
    pub(super) platforms: &'static [&'static str],
    /// What is wanted of it.
    pub(super) picks: &'static [Pick],
}

/// A file in a wheel, or a folder with all that is in it, and where it goes.
#[derive(Hash)]
pub(super) struct Pick {
    from: &'static str,
    to: &'static str,
    folder: bool,
}

impl Pick {
    pub(super) const fn file(from: &'static str, to: &'static str) -> Self {
        Self { from, to, folder: false }
    }

    pub(super) const fn folder(from: &'static str, to: &'static str) -> Self {
        Self { from, to, folder: true }
    }

    /// Where the entry `name` goes, if it is one of these.
    fn place(&self, name: &str) -> Option<String> {
        match name.strip_prefix(self.from)? {
            "" if !self.folder => Some(self.to.to_owned()),
            rest if self.folder => Some(format!("{}{rest}", self.to)),
            _ => None,
        }
    }
}

impl Wheel {
    /// Downloads the wheel and puts what is wanted of it into `folder`.
    pub(super) fn unpack(&self, folder: &Path) -> Result<()> {
        let downloads = folder.join("download");
        let file = self.download(&downloads)?;
        let archive = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut archive = ZipArchive::new(archive)?;
        let mut unpacked = vec![0; self.picks.len()];
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            // A name that would leave the folder is no name of ours.
            let Some(name) = entry.enclosed_name().filter(|_| entry.is_file()) else { continue };
            let place = |(pick, of): (usize, &Pick)| Some((pick, of.place(name.to_str()?)?));
            let Some((pick, place)) = self.picks.iter().enumerate().find_map(place) else { continue };
            let place = folder.join(place);
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)
                    .with_context(|| format!("cannot make {}", parent.display()))?;
            }
            let mut out =
                File::create(&place).with_context(|| format!("cannot write {}", place.display()))?;
            std::io::copy(&mut entry, &mut out)
                .with_context(|| format!("cannot write {}", place.display()))?;
            unpacked[pick] += 1;
        }
        if let Some(missing) = unpacked.iter().position(|&files| files == 0) {
            bail!("the wheel has no {}", self.picks[missing].from);
        }
        std::fs::remove_dir_all(&downloads).with_context(|| format!("cannot clear {}", downloads.display()))
    }

    fn download(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let pinned = folder.join("requirements.txt");
        std::fs::write(&pinned, format!("{} --hash=sha256:{}\n", self.requirement, self.sha256))?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--no-deps"])
            .args(["--require-hashes", "--only-binary=:all:", "--implementation=cp", "--python-version=3.12"])
            .args(self.platforms.iter().map(|platform| format!("--platform={platform}")))
            .arg("--dest")
            .arg(folder)
            .arg("--requirement")
            .arg(&pinned)
            // Standard output is for whoever evaluates what this program prints.
            .stdout(std::io::stderr());
        run(&mut pip).context("native parts need python3 with pip, 3.10 or later, and a package index")?;
        let mut wheels = std::fs::read_dir(folder)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "whl"));
        wheels.next().context("pip downloaded no wheel")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_picked_by_its_name_and_a_folder_with_all_that_is_in_it() {
        let file = Pick::file("torch/lib/libc10.so", "lib/libc10.so");
        assert_eq!(file.place("torch/lib/libc10.so").as_deref(), Some("lib/libc10.so"));
        assert_eq!(file.place("torch/lib/libc10.so.1"), None);
        let folder = Pick::folder("torch/include/", "include/");
        assert_eq!(folder.place("torch/include/c10/Device.h").as_deref(), Some("include/c10/Device.h"));
        assert_eq!(folder.place("torch/includes/c10"), None);
    }
}
