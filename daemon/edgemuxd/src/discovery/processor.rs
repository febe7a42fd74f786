//! The processor and the node's memory.

use std::sync::{Mutex, PoisonError};

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::source::Source;
use super::tree::Tree;
use super::{Found, Memory, Reading};

const CPUFREQ: &str = "sys/devices/system/cpu/cpufreq";
const ZONES: [&str; 5] = ["x86_pkg_temp", "CPU-therm", "cpu-thermal", "cpu_thermal", "soc-thermal"];

/// The whole node, now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Node {
    /// Share of all cores that was busy since the last look, 0 to 1.
    pub cpu_utilisation: f64,
    /// Memory.
    pub memory: Memory,
}

#[derive(Debug)]
pub(super) struct Processor {
    system: Mutex<System>,
}

impl Processor {
    pub(super) fn new() -> Self {
        let cpu = CpuRefreshKind::nothing().with_cpu_usage();
        let memory = MemoryRefreshKind::nothing().with_ram();
        let what = RefreshKind::nothing().with_cpu(cpu).with_memory(memory);
        Self { system: Mutex::new(System::new_with_specifics(what)) }
    }

    /// Looks at the node as a whole; whoever asks for the utilisation should leave a second between two looks.
    pub(super) fn node(&self) -> Node {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        system.refresh_cpu_usage();
        let cpu_utilisation = f64::from(system.global_cpu_usage() / 100.0).clamp(0.0, 1.0);
        Node { cpu_utilisation, memory: memory(&mut system) }
    }

    pub(super) fn find(&self, tree: &Tree) -> Found {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memory(&mut system);
        let brand = system.cpus().first().map(|core| core.brand().trim().to_owned());
        let policies = tree.names(CPUFREQ).into_iter().filter(|name| name.starts_with("policy"));
        let policies: Vec<_> = policies.collect();
        let clocks = policies.iter().filter_map(|policy| {
            let mhz = tree.number(&format!("{CPUFREQ}/{policy}/scaling_cur_freq"), 1e3)?;
            (mhz > 0.0).then_some(mhz)
        });
        Found {
            source: Source::Cpu,
            index: None,
            name: brand.filter(|brand| !brand.is_empty()).unwrap_or_else(System::cpu_arch),
            driver: None,
            firmware_loaded: None,
            plugged: None,
            problem: None,
            remedy: None,
            reading: Reading {
                temperature_c: tree.zone_c(&ZONES),
                clock_mhz: clocks.reduce(f64::max),
                power_mode: governor(tree, &policies),
                memory: Some(memory),
            },
        }
    }
}

/// Those of all cores; where they differ, each once.
fn governor(tree: &Tree, policies: &[String]) -> Option<String> {
    let governors =
        policies.iter().filter_map(|policy| tree.text(&format!("{CPUFREQ}/{policy}/scaling_governor")));
    let mut governors: Vec<_> = governors.collect();
    governors.sort();
    governors.dedup();
    (!governors.is_empty()).then(|| governors.join("_"))
}

fn memory(system: &mut System) -> Memory {
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let total = system.total_memory();
    let used = total.saturating_sub(system.available_memory());
    Memory { total_bytes: total, used_bytes: used, for_models_bytes: None }
}
