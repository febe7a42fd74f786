//! What a made-up machine shows.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::config::Config;

/// A machine of files.
struct MadeUp(TempDir);

impl MadeUp {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn usb(&self, port: &str, ids: (&str, &str), device: u32) -> &Self {
        let folder = format!("sys/bus/usb/devices/{port}");
        self.file(&format!("{folder}/idVendor"), &format!("{}\n", ids.0))
            .file(&format!("{folder}/idProduct"), &format!("{}\n", ids.1))
            .file(&format!("{folder}/busnum"), "1\n")
            .file(&format!("{folder}/devnum"), &format!("{device}\n"))
            .file(&format!("dev/bus/usb/001/{device:03}"), "")
    }

    /// A driver's library that says what the file `gpus` below the root says; see `nvml.c`.
    fn nvidia(&self, gpus: &str) -> &Self {
        self.file("gpus", gpus);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/discovery/tests/nvml.c");
        let library: PathBuf = self.root().join("usr/lib/libnvidia-ml.so.1");
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(format!("-DGPUS=\"{}\"", self.root().join("gpus").display()))
            .arg(source)
            .status()
            .unwrap();
        assert!(built.success());
        self
    }

    fn machine(&self) -> Machine {
        Machine::new(self.root())
    }
}

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

fn found(machine: &Machine, text: &str) -> Found {
    machine.find(&source(text)).unwrap()
}

fn absent(machine: &Machine, text: &str) -> String {
    machine.find(&source(text)).unwrap_err().to_string()
}

#[test]
fn a_machine_without_accelerators_has_a_processor_and_says_what_it_has_not() {
    let made_up = MadeUp::new();
    let inventory = made_up.machine().inventory();
    let sources: Vec<_> = inventory.devices.iter().map(|listed| listed.found.source.to_string()).collect();
    assert_eq!(sources, ["cpu"]);
    assert!(inventory.devices[0].found.reading.memory.unwrap().total_bytes > 0);
    assert!(!inventory.devices[0].found.name.is_empty());
    let absent = inventory.absent.join("\n");
    for said in ["no NVIDIA driver", "no Jetson", "no Coral on PCIe", "no Coral on USB"] {
        assert!(absent.contains(said), "{absent}");
    }
}

#[test]
fn the_processors_governor_is_its_power_mode() {
    let made_up = MadeUp::new();
    let cpufreq = "sys/devices/system/cpu/cpufreq";
    made_up
        .file(&format!("{cpufreq}/policy0/scaling_governor"), "schedutil\n")
        .file(&format!("{cpufreq}/policy0/scaling_cur_freq"), "1800000\n")
        .file(&format!("{cpufreq}/policy4/scaling_governor"), "schedutil\n")
        .file(&format!("{cpufreq}/policy4/scaling_cur_freq"), "2400000\n")
        .file("sys/class/thermal/thermal_zone0/type", "acpitz\n")
        .file("sys/class/thermal/thermal_zone0/temp", "27800\n")
        .file("sys/class/thermal/thermal_zone1/type", "x86_pkg_temp\n")
        .file("sys/class/thermal/thermal_zone1/temp", "61000\n");
    let reading = found(&made_up.machine(), "cpu").reading;
    assert_eq!(reading.power_mode.as_deref(), Some("schedutil"));
    assert_eq!((reading.clock_mhz, reading.temperature_c), (Some(2400.0), Some(61.0)));
    made_up.file(&format!("{cpufreq}/policy4/scaling_governor"), "performance\n");
    let reading = found(&made_up.machine(), "cpu").reading;
    assert_eq!(reading.power_mode_key().as_deref(), Some("performance_schedutil"));
}

#[test]
fn a_jetson_is_known_by_its_device_tree_and_its_mode_by_name() {
    let made_up = MadeUp::new();
    let machine = made_up.machine();
    assert_eq!(absent(&machine, "jetson"), "this node is no Jetson");
    made_up
        .file(
            "proc/device-tree/compatible",
            "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
        )
        .file("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
        .file("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
        .file("sys/class/devfreq/17000000.gpu/cur_freq", "612000000\n")
        .file("sys/class/devfreq/17000000.gpu/max_freq", "1020000000\n")
        .file("sys/class/devfreq/emc/cur_freq", "2133000000\n")
        .file("sys/class/thermal/thermal_zone1/type", "gpu-thermal\n")
        .file("sys/class/thermal/thermal_zone1/temp", "48500\n");
    let gpu = found(&machine, "jetson");
    assert_eq!(gpu.name, "NVIDIA Jetson Orin Nano Developer Kit");
    assert_eq!(gpu.problem, None, "a container may not show its nodes");
    assert_eq!(gpu.driver.as_deref(), Some("36.4.3"));
    assert_eq!((gpu.reading.clock_mhz, gpu.reading.temperature_c), (Some(612.0), Some(48.5)));
    assert_eq!(gpu.reading.power_mode.as_deref(), Some("gpu-1020MHz"));
    made_up.file("var/lib/nvpmodel/status", "pmode:0001 fmode:quiet\n");
    assert_eq!(found(&machine, "jetson").reading.power_mode.as_deref(), Some("mode-1"));
    let modes = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=7W >\n";
    made_up.file("etc/nvpmodel.conf", modes);
    assert_eq!(found(&machine, "jetson").reading.power_mode.as_deref(), Some("7W"));
}

#[test]
fn a_coral_on_pcie_is_there_as_long_as_the_kernel_shows_it() {
    let made_up = MadeUp::new();
    made_up.file("dev/apex_0", "").file("dev/apex_10", "").file("dev/apex_x", "");
    // A kernel without the attributes, or a container without them.
    assert_eq!(found(&made_up.machine(), "coral-pci:0").reading, Reading::default());
    made_up
        .file("sys/class/apex/apex_0/temp", "48800\n")
        .file("sys/class/apex/apex_0/driver_version", "1.2\n");
    let coral = found(&made_up.machine(), "coral-pci:0");
    assert_eq!((coral.reading.temperature_c, coral.driver.as_deref()), (Some(48.8), Some("1.2")));
    assert!(absent(&made_up.machine(), "coral-pci:10").contains("/dev/apex_10"));
    std::fs::remove_file(made_up.root().join("dev/apex_0")).unwrap();
    assert!(absent(&made_up.machine(), "coral-pci:0").contains("/dev/apex_0"));
}

#[test]
fn a_coral_on_usb_is_known_before_its_firmware_is_loaded_and_after() {
    let made_up = MadeUp::new();
    made_up
        .usb("1-10", ("18d1", "9302"), 9)
        .usb("1-2", ("1a6e", "089a"), 4)
        .usb("1-3", ("046d", "c31c"), 5)
        // An interface, and a hub.
        .file("sys/bus/usb/devices/1-2:1.0/bInterfaceClass", "ff\n")
        .file("sys/bus/usb/devices/usb1/idVendor", "1d6b\n");
    let machine = made_up.machine();
    let corals: Vec<_> = machine
        .inventory()
        .devices
        .into_iter()
        .map(|listed| listed.found)
        .filter_map(|found| Some((found.index?.to_string(), found.source.to_string(), found.firmware_loaded)))
        .collect();
    let expected = [("coral-usb:0", "coral-usb:1-2", false), ("coral-usb:1", "coral-usb:1-10", true)];
    assert_eq!(corals, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), Some(c))));
    assert_eq!(found(&machine, "coral-usb:1").source, source("coral-usb:1-10"));
    made_up.usb("1-2", ("18d1", "9302"), 11);
    let again = found(&machine, "coral-usb:1-2");
    assert_eq!((again.firmware_loaded, again.plugged), (Some(true), Some(11)));
    assert_eq!(absent(&machine, "coral-usb:2"), "no Coral 2 on USB: 2 are plugged in");
    assert!(absent(&machine, "coral-usb:1-3").contains("port 1-3"));
}

#[test]
fn a_device_that_this_user_cannot_open_says_so() {
    if rustix::process::geteuid().is_root() {
        // Root can open what is there; a node that leads nowhere is what it cannot.
        let made_up = MadeUp::new();
        made_up.usb("1-2", ("18d1", "9302"), 4);
        std::fs::remove_file(made_up.root().join("dev/bus/usb/001/004")).unwrap();
        let coral = found(&made_up.machine(), "coral-usb:0");
        assert!(coral.problem.unwrap().contains("001/004"));
        assert!(coral.remedy.unwrap().contains("container"));
        return;
    }
    let made_up = MadeUp::new();
    made_up.file("dev/apex_0", "");
    let node = made_up.root().join("dev/apex_0");
    std::fs::set_permissions(&node, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    let coral = found(&made_up.machine(), "coral-pci:0");
    assert!(coral.problem.unwrap().contains("apex_0"));
    assert!(coral.remedy.unwrap().contains("udev"));
}

#[test]
fn what_an_nvidia_driver_says_is_shown_and_a_board_that_falls_off_the_bus_is_absent() {
    let made_up = MadeUp::new();
    // Index, UUID's end, temperature, clock, limit in mW, bytes: total, reserved, used.
    made_up.nvidia("0 aa 45 1410 285000 8000 500 100\n1 bb 50 1500 -1 4000 0 0\n");
    let machine = made_up.machine();
    let gpu = found(&machine, "nvidia:0");
    assert_eq!(gpu.source, source("nvidia:GPU-aa"));
    assert_eq!(gpu.index, Some(source("nvidia:0")));
    assert_eq!((gpu.name.as_str(), gpu.driver.as_deref()), ("Made-up GPU", Some("580.65.06")));
    let memory = Memory { total_bytes: 8000, used_bytes: 100, for_models_bytes: Some(7500) };
    let reading = Reading {
        temperature_c: Some(45.0),
        clock_mhz: Some(1410.0),
        power_mode: Some("285W".into()),
        memory: Some(memory),
    };
    assert_eq!(gpu.reading, reading);
    assert_eq!(found(&machine, "nvidia:GPU-bb").reading.power_mode, None, "this board has no limit");
    assert!(absent(&machine, "nvidia:2").contains("GPU 2"));
    assert!(absent(&machine, "nvidia:GPU-cc").contains("GPU-cc"));
    made_up.file("gpus", "0 aa lost 1410 285000 8000 500 100\n1 bb 50 1500 -1 4000 0 0\n");
    assert!(absent(&machine, "nvidia:GPU-aa").contains("fell off the bus"));
    let sources: Vec<_> =
        machine.inventory().devices.iter().map(|listed| listed.found.source.to_string()).collect();
    assert_eq!(sources, ["cpu", "nvidia:GPU-bb"]);
}

#[test]
fn two_owners_of_one_device_are_refused_and_the_first_is_named() {
    let made_up = MadeUp::new();
    made_up.file("run/x", "");
    let (machine, coral) = (made_up.machine(), source("coral-pci:0"));
    let lock = machine.locks().take(&coral).unwrap();
    let twice = machine.locks().take(&coral).unwrap_err();
    assert!(matches!(twice, LockError::Twice(_)), "{twice}");
    let other = machine.locks().take(&source("coral-pci:1")).unwrap();
    drop((lock, other));
    let lock = machine.locks().take(&coral).unwrap();
    // As another process would have left it.
    std::fs::write(made_up.root().join("run/edgemux/coral-pci-0.lock"), "4194305\n").unwrap();
    let held = machine.locks().take(&coral).unwrap_err().to_string();
    assert!(held.contains("coral-pci:0 is owned by process 4194305"), "{held}");
    drop(lock);
}

#[test]
fn whose_a_device_is_can_be_seen_without_taking_it() {
    let made_up = MadeUp::new();
    made_up.file("dev/apex_0", "");
    let held_by = || made_up.machine().inventory().devices[1].held_by;
    assert_eq!(held_by(), None);
    assert!(!made_up.root().join("run").exists(), "looking makes nothing");
    made_up.file("run/x", "");
    let lock = made_up.machine().locks().take(&source("coral-pci:0")).unwrap();
    assert_eq!(held_by(), Some(std::process::id()));
    drop(lock);
    assert_eq!(held_by(), None, "whatever its file still says");
}

#[test]
fn what_the_systems_daemon_owns_a_users_own_daemon_does_not_get() {
    let made_up = MadeUp::new();
    made_up.file("run/x", "").file("user/x", "");
    let (system, coral) = (made_up.machine().locks(), source("coral-pci:0"));
    let lock = system.take(&coral).unwrap();
    let users = Locks::of_user(&made_up.root().join("user/edgemux"), &made_up.root().join("run/edgemux"));
    let refused = users.take(&coral).unwrap_err().to_string();
    assert!(refused.contains(&format!("owned by process {}", std::process::id())), "{refused}");
    drop(lock);
    users.take(&coral).unwrap();
}

#[test]
fn a_lock_folder_that_others_can_write_to_or_that_is_a_link_is_not_trusted() {
    let made_up = MadeUp::new();
    made_up.file("run/elsewhere/x", "");
    symlink("elsewhere", made_up.root().join("run/edgemux")).unwrap();
    let refused = made_up.machine().locks().take(&source("jetson")).unwrap_err().to_string();
    assert!(refused.contains("run/edgemux") && refused.contains("jetson"), "{refused}");
    std::fs::remove_file(made_up.root().join("run/edgemux")).unwrap();
    made_up.file("run/edgemux/x", "");
    let folder = made_up.root().join("run/edgemux");
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    assert!(made_up.machine().locks().take(&source("jetson")).is_err());
}

fn configured(made_up: &MadeUp, sources: &[&str]) -> Config {
    let device = |source: &&str| {
        let name = source.replace(':', "-");
        format!(
            "[[device]]\nname = '{name}'\nkind = 'edgetpu'\nsource = '{source}'\nruntimes = ['edgetpu']\n"
        )
    };
    let text: String = sources.iter().map(device).collect();
    Config { device_root: made_up.root().to_owned(), ..toml::from_str(&text).unwrap() }
}

#[test]
fn hardware_found_by_number_stays_the_same_one_when_another_is_unplugged() {
    let made_up = MadeUp::new();
    made_up.file("run/x", "").usb("1-2", ("18d1", "9302"), 4).usb("1-3", ("18d1", "9302"), 5);
    let mut hardware = Hardware::take(&configured(&made_up, &["coral-usb:0", "coral-usb:1"])).unwrap();
    std::fs::remove_dir_all(made_up.root().join("sys/bus/usb/devices/1-2")).unwrap();
    let gone = Change::Gone("no Coral on USB port 1-2".into());
    assert_eq!(hardware.look(false), [gone, Change::None]);
    assert_eq!(hardware.look(false), [Change::None, Change::None], "news is told once");
    made_up.usb("1-2", ("1a6e", "089a"), 6);
    assert_eq!(hardware.look(false), [Change::Back, Change::None]);
    let sources: Vec<_> =
        hardware.watched().iter().filter_map(|one| Some(one.seen()?.source.to_string())).collect();
    assert_eq!(sources, ["coral-usb:1-2", "coral-usb:1-3"]);
}

#[test]
fn one_piece_of_hardware_by_two_names_is_refused() {
    let made_up = MadeUp::new();
    made_up.file("run/x", "").usb("1-2", ("18d1", "9302"), 4);
    let refused = Hardware::take(&configured(&made_up, &["coral-usb:0", "coral-usb:1-2"])).unwrap_err();
    assert!(refused.to_string().contains("the source of two devices"), "{refused}");
}

#[test]
fn firmware_that_does_not_come_up_in_time_is_hardware_that_is_gone() {
    let made_up = MadeUp::new();
    made_up.file("run/x", "").usb("1-2", ("1a6e", "089a"), 4);
    let mut hardware = Hardware::take(&configured(&made_up, &["coral-usb:0"])).unwrap();
    std::fs::remove_dir_all(made_up.root().join("sys/bus/usb/devices/1-2")).unwrap();
    assert!(matches!(&hardware.look(false)[..], [Change::Loading(_)]));
    let changes: Vec<_> = (0..22).flat_map(|_| hardware.look(false)).collect();
    let gone: Vec<_> = changes.iter().filter(|change| **change != Change::None).collect();
    assert!(matches!(gone[..], [Change::Gone(_)]), "{gone:?}");
    made_up.usb("1-2", ("18d1", "9302"), 5);
    assert_eq!(hardware.look(false), [Change::Back], "what drove it is gone by then");
}

#[test]
fn hardware_that_comes_late_and_is_somebody_elses_is_not_ours() {
    let made_up = MadeUp::new();
    made_up.file("run/x", "");
    let mut hardware = Hardware::take(&configured(&made_up, &["coral-pci:0"])).unwrap();
    let other = made_up.machine().locks().take(&source("coral-pci:0")).unwrap();
    std::fs::write(made_up.root().join("run/edgemux/coral-pci-0.lock"), "4194305\n").unwrap();
    made_up.file("dev/apex_0", "");
    let changes = hardware.look(false);
    assert!(matches!(&changes[..], [Change::Gone(why)] if why.contains("process 4194305")), "{changes:?}");
    drop(other);
    assert_eq!(hardware.look(false), [Change::Back]);
}
