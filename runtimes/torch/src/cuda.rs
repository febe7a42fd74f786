//! CUDA, if there is any.
//!
//! This binary links against libtorch's part for the processor alone. What drives CUDA is a library of its own, which makes
//! itself known to the other part when it is opened; that must come before any other call of libtorch, because at its
//! first call libtorch looks once and for all whether there is CUDA.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::sys::{self, Device};

const LIBRARY: &str = "libtorch_cuda.so";
/// What the drivers of NVIDIA's cards, of Jetsons and of WSL show of themselves.
const DRIVERS: [&str; 4] = ["/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvmap", "/dev/dxg"];

/// What can be said of CUDA here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// There is a device, and what is needed to drive it.
    Usable,
    /// There is no device, or a libtorch without CUDA.
    None,
    /// There should be one, but.
    Broken(String),
}

/// What was found when the library was opened; it is opened at most once.
static OPENED: OnceLock<Result<usize, String>> = OnceLock::new();

/// Opens the library and counts the devices.
fn devices() -> &'static Result<usize, String> {
    OPENED.get_or_init(|| {
        // SAFETY: its initialisers are those of libtorch, of the same release as the part we link against: another
        // release's would miss symbols and not open.
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.map_err(|error| match std::error::Error::source(&error) {
            Some(said) => said.to_string(),
            None => error.to_string(),
        })?;
        // It stays for as long as the process.
        std::mem::forget(library);
        Ok(sys::device_count())
    })
}

/// Takes charge of CUDA device `index`; the error says why it cannot.
pub(crate) fn open(index: u8) -> Result<Device, String> {
    match devices() {
        Err(error) => Err(format!("libtorch finds no CUDA: {error}")),
        Ok(0) => Err("libtorch finds no CUDA device; is there a driver, and a new enough one?".into()),
        Ok(count) if usize::from(index) >= *count => {
            Err(format!("there is no CUDA device {index}, the node has {count}"))
        }
        Ok(_) => Ok(Device::Cuda(index)),
    }
}

/// Opens the library if there is reason to hope: for a process that is only to find out.
pub(crate) fn look() {
    if may_be_there() {
        let _ = devices();
    }
}

/// What is known, without touching a device that was not touched before: a worker on the processor does not open half a
/// gigabyte of CUDA to say hello.
pub(crate) fn presence() -> Presence {
    match OPENED.get() {
        Some(Ok(1..)) => Presence::Usable,
        Some(Ok(0)) => Presence::Broken("its driver shows no device to libtorch".into()),
        Some(Err(error)) => Presence::Broken(error.clone()),
        None if may_be_there() => Presence::Usable,
        None => Presence::None,
    }
}

fn may_be_there() -> bool {
    DRIVERS.iter().any(|driver| Path::new(driver).exists())
        && beside_libtorch().is_some_and(|library| library.exists())
}

/// Where the library lies if this libtorch has it.
fn beside_libtorch() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find_map(|line| {
        let path = &line[line.find('/')?..];
        path.ends_with("/libtorch_cpu.so").then_some(path)
    })?;
    Some(Path::new(path).with_file_name(LIBRARY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_looked_for_beside_the_libtorch_in_use() {
        sys::version();
        let library = beside_libtorch().unwrap();
        assert!(library.with_file_name("libtorch_cpu.so").exists());
    }
}
