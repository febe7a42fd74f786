//! A Jetson's integrated GPU, which has no management library: the device tree says what the board is, `devfreq` shows
//! the clock, and `nvpmodel` leaves behind which power mode it has set.

use super::permission::denied;
use super::source::Source;
use super::tree::Tree;
use super::{Absent, Found, Reading};

/// Through which everything on the board that is no processor gets its memory.
const MEMORY: &str = "dev/nvmap";
const DEVFREQ: &str = "sys/class/devfreq";
/// What a GPU's entry there ends with, by generation of the chip.
const GPUS: [&str; 6] = ["gpu", "gm20b", "gp10b", "gv11b", "ga10b", "gb10b"];
const ZONES: [&str; 2] = ["GPU-therm", "gpu-thermal"];

pub(super) fn find(tree: &Tree) -> Result<Found, Absent> {
    // A list, each string ended by a zero.
    let compatible = tree.text("proc/device-tree/compatible").unwrap_or_default();
    if !compatible.split('\0').any(|name| name.starts_with("nvidia,tegra")) {
        return Err(Absent::Jetson);
    }
    let gpu = tree.names(DEVFREQ).into_iter().find(|name| is_gpu(name));
    let hertz = |file: &str| tree.number(&format!("{DEVFREQ}/{}/{file}", gpu.as_ref()?), 1.0);
    let highest = || Some(format!("gpu-{:.0}MHz", hertz("max_freq")? / 1e6));
    // Some containers do not show it.
    let denied = tree.exists(MEMORY).then(|| denied(tree, &[MEMORY])).flatten();
    let (problem, remedy) = denied.map(|found| (found.what, found.remedy)).unzip();
    Ok(Found {
        source: Source::Jetson,
        index: None,
        name: tree.text("proc/device-tree/model").unwrap_or_else(|| "NVIDIA Jetson".to_owned()),
        driver: release(tree),
        firmware_loaded: None,
        plugged: None,
        problem,
        remedy,
        reading: Reading {
            temperature_c: tree.zone_c(&ZONES),
            clock_mhz: hertz("cur_freq").map(|hertz| hertz / 1e6),
            // In a container the mode may be hidden; the highest clock that it allows says almost as much.
            power_mode: power_mode(tree).or_else(highest),
            // It shares the node's.
            memory: None,
        },
    })
}

/// `17000000.ga10b`, or `gpu-gpc-0` where the clocks are split.
fn is_gpu(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    GPUS.contains(&last) || name.starts_with("gpu-gpc")
}

/// The name of the mode that `nvpmodel` has set, by its configuration; else the mode's number.
fn power_mode(tree: &Tree) -> Option<String> {
    let status = tree.text("var/lib/nvpmodel/status")?;
    let mode = status.split_whitespace().find_map(|word| word.strip_prefix("pmode:"))?;
    let mode: u32 = mode.parse().ok()?;
    let named = tree.text("etc/nvpmodel.conf").and_then(|text| {
        let field = |line: &str, key: &str| {
            line.split_whitespace().find_map(|word| word.strip_prefix(key)).map(str::to_owned)
        };
        let models = text.lines().filter(|line| line.contains("POWER_MODEL"));
        let mut of_mode = models.filter(|line| field(line, "ID=").is_some_and(|id| id == mode.to_string()));
        of_mode.find_map(|line| field(line, "NAME="))
    });
    Some(named.unwrap_or_else(|| format!("mode-{mode}")))
}

/// `36.3.0` from `# R36 (release), REVISION: 3.0, …`.
fn release(tree: &Tree) -> Option<String> {
    let text = tree.text("etc/nv_tegra_release")?;
    let major = text.split_whitespace().find_map(|word| word.strip_prefix('R')?.parse::<u32>().ok())?;
    let revision = text.split_once("REVISION:")?.1.split(',').next()?.trim().to_owned();
    Some(format!("{major}.{revision}"))
}
