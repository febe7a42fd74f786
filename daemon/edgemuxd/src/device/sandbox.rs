//! What a device's workers may touch.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::runtime::DeviceKind;
use edgemux_runtime_api::sandbox::{Files, Sandbox, VARIABLE};

use crate::config::{Device, SandboxKind};
use crate::discovery::Source;
use crate::runtimes::RuntimeKind;

/// Variables by which libraries are found: lists of folders, or a file.
const LIBRARIES: [&str; 3] = ["LD_LIBRARY_PATH", "EDGETPU_LIBRARY_PATH", "TFLITE_LIBRARY_PATH"];

/// Tells the worker that `command` starts what it is kept to.
pub(super) fn enclose(command: &mut WorkerCommand, device: &Device, runtime: RuntimeKind, models: &Path) {
    let files = match device.sandbox() {
        SandboxKind::None => return,
        SandboxKind::Network => None,
        SandboxKind::Files => {
            Some(Files { read: readable(command, device, runtime, models), devices: nodes(device) })
        }
    };
    // CUDA does not start without one. It asks for the daemon of its multi-process service, and goes on where it cannot.
    let unix_sockets = device.kind == DeviceKind::Gpu || files.is_none();
    let sandbox = Sandbox { files, unix_sockets, memory_bytes: device.worker_memory_bytes };
    command.environment.push((VARIABLE.into(), sandbox.to_json().into()));
}

fn readable(command: &WorkerCommand, device: &Device, runtime: RuntimeKind, models: &Path) -> Vec<PathBuf> {
    let beside = command.program.canonicalize().ok();
    let beside = beside.and_then(|program| program.parent().map(Path::to_owned));
    // A file that is named is read with those beside it: libraries come in several.
    let folder = |path: PathBuf| if path.is_dir() { Some(path) } else { path.parent().map(Path::to_owned) };
    let libraries = LIBRARIES.iter().filter_map(env::var_os).flat_map(|paths: OsString| {
        env::split_paths(&paths).filter(|path| path.is_absolute()).collect::<Vec<_>>()
    });
    let options = device.options(runtime).into_iter().flat_map(|options| options.values());
    let options =
        options.filter_map(|value| value.as_str()).map(PathBuf::from).filter(|path| path.is_absolute());
    let mut read = vec![models.to_owned()];
    read.extend(device.sandbox_read.iter().cloned());
    read.extend(beside);
    read.extend(libraries.chain(options).filter_map(folder));
    read.sort();
    read.dedup();
    read
}

/// The device's nodes, and what its driver writes to besides; none of the processor's.
fn nodes(device: &Device) -> Vec<PathBuf> {
    let nodes: &[&str] = match (&device.source, device.kind) {
        (Some(Source::CoralPci(index)), _) => return vec![PathBuf::from(format!("/dev/apex_{index}"))],
        // One on USB comes back under another number when its firmware is loaded.
        (Some(Source::CoralUsb(_)), _) => &["/dev/bus/usb"],
        (_, DeviceKind::Edgetpu) => {
            &["/dev/apex_0", "/dev/apex_1", "/dev/apex_2", "/dev/apex_3", "/dev/bus/usb"]
        }
        (_, DeviceKind::Gpu) => &[
            "/dev/nvidiactl",
            "/dev/nvidia0",
            "/dev/nvidia1",
            "/dev/nvidia2",
            "/dev/nvidia3",
            "/dev/nvidia-uvm",
            "/dev/nvidia-uvm-tools",
            "/dev/nvidia-caps",
            "/dev/nvhost-gpu",
            "/dev/nvhost-ctrl-gpu",
            "/dev/nvhost-ctrl",
            "/dev/nvmap",
            "/dev/nvgpu",
            "/dev/dri",
            // CUDA names its threads, and does not start where it cannot.
            "/proc/self/task",
        ],
        (_, DeviceKind::Cpu) => &[],
    };
    nodes.iter().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn told(device: &str) -> Option<Sandbox> {
        let config: Config = toml::from_str(&format!("[[device]]\nname = 'a'\n{device}")).unwrap();
        let mut command = WorkerCommand::new("/nowhere/worker");
        enclose(&mut command, &config.device[0], RuntimeKind::Edgetpu, Path::new("/models"));
        let said = command.environment.iter().find(|(name, _)| name == VARIABLE)?.1.clone();
        Some(serde_json::from_slice(said.as_encoded_bytes()).unwrap())
    }

    #[test]
    fn a_worker_reads_models_and_libraries_and_uses_its_own_device() {
        let sandbox = told(
            "kind = 'edgetpu'\nsource = 'coral-pci:1'\nruntimes = ['edgetpu']\nsandbox-read = ['/data']\n\
             worker-memory-bytes = 100000000\n[device.edgetpu]\ndelegate = '/vendor/libedgetpu.so.1'",
        )
        .unwrap();
        let files = sandbox.files.unwrap();
        for path in ["/models", "/data", "/vendor"] {
            assert!(files.read.contains(&PathBuf::from(path)), "{path}: {files:?}");
        }
        assert_eq!(files.devices, [PathBuf::from("/dev/apex_1")]);
        assert_eq!((sandbox.unix_sockets, sandbox.memory_bytes), (false, Some(100_000_000)));
        let cpu = told("kind = 'cpu'\nruntimes = ['onnx']").unwrap();
        assert_eq!(cpu.files.unwrap().devices, Vec::<PathBuf>::new());
    }

    #[test]
    fn a_gpus_worker_is_kept_from_the_network_and_one_may_be_kept_from_nothing() {
        let gpu = "kind = 'gpu'\nruntimes = ['torch']\n";
        assert_eq!(told(gpu), Some(Sandbox { unix_sockets: true, ..Sandbox::default() }));
        assert_eq!(told(&format!("{gpu}sandbox = 'none'")), None);
        let strict = told(&format!("{gpu}sandbox = 'files'")).unwrap();
        assert!(strict.unix_sockets);
        assert!(strict.files.is_some_and(|files| files.devices.contains(&"/dev/nvidiactl".into())));
    }
}
