//! Which runtimes are installed beside the daemon on this machine, which of its devices each can drive, and why not.

use std::path::Path;

use serde::Deserialize;

use super::Check;
use crate::daemon;
use crate::error::Error;

/// A runtime, as `edgemuxd runtimes` shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Runtime {
    runtime: String,
    model_file: String,
    program: Option<String>,
    version: Option<String>,
    devices: Vec<String>,
    problem: Option<String>,
}

/// What `edgemuxd devices` shows.
#[derive(Debug, Deserialize)]
struct Inventory {
    devices: Vec<Hardware>,
}

/// A piece of hardware.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Hardware {
    source: String,
    name: String,
    problem: Option<String>,
    held_by: Option<u32>,
}

/// A machine without the daemon has nothing to be looked at here.
pub(super) async fn checks() -> Vec<Check> {
    let Ok(binary) = daemon::find() else { return Vec::new() };
    match look(&binary).await {
        Ok((runtimes, hardware)) => {
            let of_runtimes = runtimes.iter().map(|runtime| of_runtime(runtime, &hardware));
            of_runtimes.chain(hardware.iter().map(|one| of_hardware(one, &runtimes))).collect()
        }
        Err(error) => {
            vec![Check::fail(
                "runtimes",
                error.to_string(),
                "install the daemon and this command from one release",
            )]
        }
    }
}

async fn look(binary: &Path) -> Result<(Vec<Runtime>, Vec<Hardware>), Error> {
    let runtimes: Vec<Runtime> = daemon::shown(binary, "runtimes").await?;
    let inventory: Inventory = daemon::shown(binary, "devices").await?;
    Ok((runtimes, inventory.devices))
}

fn of_runtime(runtime: &Runtime, hardware: &[Hardware]) -> Check {
    let name = format!("runtime:{}", runtime.runtime);
    let version = runtime.version.as_deref().unwrap_or("unknown version");
    let drives: Vec<_> = hardware.iter().filter(|one| runtime.drives(one)).map(Hardware::shown).collect();
    let runs = format!("for {}", runtime.model_file);
    match (&runtime.program, &runtime.problem) {
        // Nobody needs all of them: whether one is missed, the hardware says.
        (None, problem) => {
            let problem = problem.as_deref().unwrap_or_default();
            Check::ok(name, format!("not installed ({runs}): {problem}"))
        }
        (Some(_), Some(problem)) if runtime.devices.is_empty() => Check::fail(
            name,
            format!("{runs}: it cannot run here: {problem}"),
            format!("mend that, or remove the package edgemux-runtime-{}", runtime.runtime),
        ),
        (Some(_), Some(problem)) => Check::warn(
            name,
            format!("{version}, {runs}; drives {}, but: {problem}", drives.join(", ")),
            "mend that if more is to be driven; what it drives is not affected",
        ),
        (Some(_), None) if runtime.runtime == EMULATOR => Check::ok(name, format!("{version}, {runs}")),
        (Some(_), None) if drives.is_empty() => {
            let kinds = runtime.devices.join(" or ");
            Check::ok(name, format!("{version}, {runs}; there is no {kinds} here for it to drive"))
        }
        (Some(_), None) => Check::ok(name, format!("{version}, {runs}; drives {}", drives.join(", "))),
    }
}

fn of_hardware(hardware: &Hardware, runtimes: &[Runtime]) -> Check {
    let name = format!("hardware:{}", hardware.source);
    if let Some(problem) = &hardware.problem {
        return Check::fail(
            name,
            format!("{}: {problem}", hardware.name),
            "let the daemon's user open it: the package's udev rules give its nodes to the group edgemux",
        );
    }
    let drivers = runtimes.iter().filter(|runtime| runtime.drives(hardware) && runtime.runtime != EMULATOR);
    let drivers: Vec<_> = drivers.map(|runtime| runtime.runtime.as_str()).collect();
    let held =
        hardware.held_by.map(|pid| format!("; the daemon with process id {pid} has it")).unwrap_or_default();
    if drivers.is_empty() {
        let wanted = if hardware.kind() == "edgetpu" { "edgetpu" } else { "torch" };
        return Check::warn(
            name,
            format!("{}: no runtime that is installed drives it", hardware.name),
            format!("install the package edgemux-runtime-{wanted}"),
        );
    }
    Check::ok(name, format!("{}: {} can drive it{held}", hardware.name, drivers.join(", ")))
}

/// It stands in for hardware, and so drives none.
const EMULATOR: &str = "emulator";

impl Runtime {
    fn drives(&self, hardware: &Hardware) -> bool {
        self.runtime != EMULATOR && self.devices.iter().any(|kind| kind == hardware.kind())
    }
}

impl Hardware {
    /// As the configuration names kinds.
    fn kind(&self) -> &'static str {
        match self.source.split(':').next() {
            Some("cpu") => "cpu",
            Some("coral-pci" | "coral-usb") => "edgetpu",
            _ => "gpu",
        }
    }

    fn shown(&self) -> String {
        format!("{} ({})", self.source, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn runtime(name: &str, devices: &[&str], problem: Option<&str>) -> Runtime {
        Runtime {
            runtime: name.into(),
            model_file: "model.x".into(),
            program: Some("/x".into()),
            version: Some("1".into()),
            devices: devices.iter().map(|&kind| kind.into()).collect(),
            problem: problem.map(Into::into),
        }
    }

    fn hardware(source: &str) -> Hardware {
        Hardware { source: source.into(), name: "it".into(), problem: None, held_by: None }
    }

    #[test]
    fn what_works_and_what_does_not_are_both_said() {
        let here = [hardware("cpu"), hardware("nvidia:0")];
        let check = of_runtime(&runtime("torch", &["cpu"], Some("libcuda.so.1 is not there")), &here);
        assert_eq!(check.grade, Grade::Warn);
        assert!(
            check.finding.contains("drives cpu (it)") && check.finding.contains("libcuda.so.1"),
            "{check:?}"
        );
        let check = of_runtime(&runtime("edgetpu", &[], Some("libedgetpu.so.1 is not there")), &here);
        assert_eq!(check.grade, Grade::Fail);
        let absent = Runtime { program: None, ..runtime("tflite", &[], Some("it is in none of /x")) };
        let check = of_runtime(&absent, &here);
        assert!(check.grade == Grade::Ok && check.finding.contains("in none of"), "{check:?}");
    }

    #[test]
    fn hardware_that_nothing_drives_is_told_what_to_install() {
        let runtimes = [runtime("onnx", &["cpu"], None), runtime("emulator", &["gpu", "edgetpu"], None)];
        assert_eq!(of_hardware(&hardware("cpu"), &runtimes).grade, Grade::Ok);
        for (source, package) in [("nvidia:0", "torch"), ("jetson", "torch"), ("coral-usb:1-2", "edgetpu")] {
            let check = of_hardware(&hardware(source), &runtimes);
            assert_eq!(check.grade, Grade::Warn);
            assert!(check.advice.unwrap().contains(&format!("edgemux-runtime-{package}")));
        }
        let locked = Hardware { problem: Some("permission denied".into()), ..hardware("coral-pci:0") };
        let check = of_hardware(&locked, &runtimes);
        assert!(check.grade == Grade::Fail && check.advice.unwrap().contains("group"));
        let held = Hardware { held_by: Some(77), ..hardware("cpu") };
        assert!(of_hardware(&held, &runtimes).finding.contains("77"));
    }
}
