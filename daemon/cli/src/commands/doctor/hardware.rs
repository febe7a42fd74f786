//! Which runtimes can drive a piece of hardware, who has it, and what stands in the way.

use super::machine::{Hardware, Machine, Runtime};
use super::server::Server;
use super::{Check, Grade};

pub(super) fn checks(machine: &Machine, server: &Server) -> Vec<Check> {
    let mut checks: Vec<_> =
        machine.hardware.iter().map(|hardware| check(hardware, &machine.runtimes, server)).collect();
    if !machine.absent.is_empty() {
        checks.push(Check::ok("hardware:absent", machine.absent.join("; ")));
    }
    checks
}

fn check(hardware: &Hardware, runtimes: &[Runtime], server: &Server) -> Check {
    let name = format!("hardware:{}", hardware.source);
    let is = &hardware.name;
    let user = server.device_of(&hardware.source);
    if user.is_none() {
        if let Some(pid) = hardware.held_by {
            let whose = if server.is_here() { ", which is another daemon than the server asked" } else { "" };
            return Check::warn(
                name,
                format!("{is}: process {pid} has it{whose}"),
                "a device belongs to one daemon: name that one's address with --server, or stop it",
            );
        }
        if let Some(problem) = &hardware.problem {
            let advice = hardware.remedy.as_deref().unwrap_or("let the daemon's user open it");
            return Check::fail(name, format!("{is}: {problem}"), advice);
        }
    }
    let drivers: Vec<_> = runtimes.iter().filter(|runtime| runtime.drives(hardware)).collect();
    if drivers.is_empty() {
        return undriven(name, hardware, runtimes);
    }
    let drivers: Vec<_> = drivers.iter().map(|runtime| runtime.runtime.as_str()).collect();
    let finding = format!("{is}: {} can drive it", drivers.join(", "));
    match user {
        Some(device) => Check::ok(name, format!("{finding}; it is {device} of the server")),
        None if server.is_here() && hardware.kind() != "cpu" => {
            let advice = format!(
                "nothing, if it is to be left alone; else a [[device]] with source = \"{}\" in the daemon's configuration",
                hardware.source
            );
            Check::warn(name, format!("{finding}; no device of the server is this one"), advice)
        }
        None => Check::ok(name, finding),
    }
}

/// Says of each runtime that is made for this hardware why it does not drive it.
fn undriven(name: String, hardware: &Hardware, runtimes: &[Runtime]) -> Check {
    let made_for: Vec<_> =
        runtimes.iter().filter(|runtime| runtime.made_for().contains(&hardware.kind())).collect();
    let why: Vec<_> = made_for.iter().map(|runtime| why_not(runtime)).collect();
    let finding = format!("{}: no runtime drives it: {}", hardware.name, why.join("; "));
    // One that is there and does not do it is nearer to doing it than one that is not.
    let advice = match made_for.iter().find(|runtime| runtime.program.is_some()) {
        Some(runtime) => format!("see runtime:{}", runtime.runtime),
        None => {
            let binaries: Vec<_> =
                made_for.iter().map(|runtime| format!("edgemux-runtime-{}", runtime.runtime)).collect();
            format!(
                "install {} beside the daemon or in /usr/lib/edgemux, or name its folder in EDGEMUX_RUNTIME_DIR",
                binaries.join(" or ")
            )
        }
    };
    Check { grade: Grade::Warn, ..Check::fail(name, finding, advice) }
}

fn why_not(runtime: &Runtime) -> String {
    let name = &runtime.runtime;
    match (&runtime.program, &runtime.problem) {
        (None, _) => format!("{name} is not installed"),
        (Some(_), Some(problem)) => format!("{name} says: {problem}"),
        (Some(_), None) => format!("{name} finds none ({} alone)", runtime.devices.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::examples::{hardware, not_installed, runtime};
    use super::*;

    fn nobody() -> Server {
        Server::of_devices(None)
    }

    fn with_device(name: &str, source: &str) -> Server {
        Server::of_devices(Some(&[(name, source)]))
    }

    #[test]
    fn hardware_that_nothing_drives_is_told_what_to_install() {
        let runtimes = [
            runtime("onnx", &["cpu"], None),
            runtime("emulator", &["gpu", "edgetpu"], None),
            not_installed("torch"),
            not_installed("edgetpu"),
        ];
        assert_eq!(check(&hardware("cpu"), &runtimes, &nobody()).grade, Grade::Ok);
        for (source, wanted) in [("nvidia:0", "torch"), ("jetson", "torch"), ("coral-usb:1-2", "edgetpu")] {
            let said = check(&hardware(source), &runtimes, &nobody());
            assert_eq!(said.grade, Grade::Warn);
            assert!(said.advice.unwrap().contains(&format!("edgemux-runtime-{wanted}")));
        }
    }

    #[test]
    fn what_is_installed_and_does_not_drive_it_says_why() {
        let broken = [runtime("torch", &["cpu"], Some("gpu: libcudart.so.13 is not there"))];
        let said = check(&hardware("nvidia:0"), &broken, &nobody());
        assert!(said.finding.contains("torch says: gpu: libcudart.so.13"), "{said:?}");
        assert_eq!(said.advice.unwrap(), "see runtime:torch");
        let said = check(&hardware("nvidia:0"), &[runtime("torch", &["cpu"], None)], &nobody());
        assert!(said.finding.contains("torch finds none (cpu alone)"), "{said:?}");
    }

    #[test]
    fn what_this_user_cannot_open_fails_with_its_remedy_unless_the_server_has_it() {
        let runtimes = [runtime("edgetpu", &["edgetpu"], None)];
        let locked = Hardware {
            problem: Some("/dev/apex_0: permission denied".into()),
            remedy: Some("join its group apex".into()),
            ..hardware("coral-pci:0")
        };
        let said = check(&locked, &runtimes, &nobody());
        assert_eq!((said.grade, said.advice.as_deref()), (Grade::Fail, Some("join its group apex")));
        let said = check(&locked, &runtimes, &with_device("tpu0", "coral-pci:0"));
        assert_eq!(said.grade, Grade::Ok, "{said:?}");
        assert!(said.finding.ends_with("it is tpu0 of the server"), "{said:?}");
    }

    #[test]
    fn who_has_it_is_named_unless_that_is_the_server() {
        let runtimes = [runtime("edgetpu", &["edgetpu"], None)];
        let held = Hardware { held_by: Some(77), ..hardware("coral-pci:0") };
        for (server, said_of_server) in [(nobody(), false), (with_device("tpu0", "coral-pci:1"), true)] {
            let said = check(&held, &runtimes, &server);
            assert_eq!(said.grade, Grade::Warn);
            assert!(said.finding.contains("process 77 has it"), "{said:?}");
            assert_eq!(said.finding.contains("another daemon"), said_of_server);
        }
        assert_eq!(check(&held, &runtimes, &with_device("tpu0", "coral-pci:0")).grade, Grade::Ok);
    }

    #[test]
    fn an_accelerator_that_lies_idle_beside_a_daemon_is_pointed_out_and_a_processor_is_not() {
        let runtimes = [runtime("edgetpu", &["edgetpu"], None), runtime("onnx", &["cpu"], None)];
        let said = check(&hardware("coral-pci:0"), &runtimes, &with_device("cpu0", "cpu"));
        assert_eq!(said.grade, Grade::Warn);
        assert!(said.advice.unwrap().contains("source = \"coral-pci:0\""));
        assert_eq!(check(&hardware("coral-pci:0"), &runtimes, &nobody()).grade, Grade::Ok);
        assert_eq!(check(&hardware("cpu"), &runtimes, &with_device("gpu0", "jetson")).grade, Grade::Ok);
    }
}
