//! Files by which the kernel shows devices, below a root that is `/` but for tests.

use std::path::{Path, PathBuf};

/// Longest text that is read; what the kernel shows of a device is a line or two.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The files below one root.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Is it the machine itself?
    pub(super) fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where `path`, which begins without `/`, is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// What a file says, without white space and zeros at its ends; none where it says nothing.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let bytes = std::fs::read(self.path(path)).ok()?;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A number that stands alone in a file, over how many of its units make one.
    pub(super) fn number(&self, path: &str, per_unit: f64) -> Option<f64> {
        let number: f64 = self.text(path)?.parse().ok()?;
        number.is_finite().then_some(number / per_unit)
    }

    /// Names in a folder, in order; none where there is no such folder.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Temperature of the first thermal zone of one of these types, °C.
    pub(super) fn zone_c(&self, types: &[&str]) -> Option<f64> {
        const ZONES: &str = "sys/class/thermal";
        let zones = self.names(ZONES).into_iter().filter(|name| name.starts_with("thermal_zone"));
        let is_wanted = |zone: &String| {
            let kind = self.text(&format!("{ZONES}/{zone}/type")).unwrap_or_default();
            types.iter().any(|wanted| kind.eq_ignore_ascii_case(wanted))
        };
        // A zone that is powered down shows no temperature.
        zones.filter(is_wanted).find_map(|zone| self.number(&format!("{ZONES}/{zone}/temp"), 1e3))
    }
}
