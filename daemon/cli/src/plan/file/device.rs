//! The host and the devices.

use std::num::NonZeroU32;

use edgemux_calibration::system::{Bus, Device, DeviceKind, Host, Mode, Slicing, SpeedUp};
use edgemux_calibration::units::{RangeError, Seconds};

use super::error::{FileError, Wrong};
use super::reader::Reader;
use super::wire;
use crate::plan::node::Choice;

/// An edgeTPU's on-chip memory: 8 MiB.
const ON_CHIP: u64 = 8 << 20;
/// A turn of the round robin, where the file names none.
const QUANTUM_MS: f64 = 10.0;

pub(super) fn host(reader: Reader<'_>, host: &wire::Host) -> Result<Host, FileError> {
    let cores = reader.count("cores", &host.cores, (1, 4096))?;
    let busy = host.busy_cores.as_ref().map_or(Ok(0.0), |busy| {
        reader.number("busy-cores", busy, |busy| match (0.0..=f64::from(cores)).contains(&busy) {
            true => Ok(busy),
            false => Err(RangeError { quantity: "number of cores", value: busy, want: "0 to `cores`" }),
        })
    })?;
    Ok(Host { busy, ..Host::idle(at_least_1(cores)) })
}

pub(super) fn device(reader: Reader<'_>, given: &wire::Device) -> Result<Choice, FileError> {
    let kind = given.kind.into();
    let mut device = Device::new(reader.name("name", &given.name)?, kind);
    if let Some(memory) = &given.memory_mb {
        device.memory = reader.mb("memory-mb", memory)?;
    }
    device.on_chip = match &given.on_chip_mb {
        Some(on_chip) => reader.mb("on-chip-mb", on_chip)?,
        None if kind == DeviceKind::EdgeTpu => ON_CHIP,
        None => 0,
    };
    if let Some(curve) = &given.speed_up {
        device.speed_up = SpeedUp::new(curve.get_ref().clone())
            .map_err(|cause| reader.wrong(&curve.span(), Wrong::System { key: "speed-up", cause }))?;
    }
    if let Some(bus) = &given.bus_mb_per_s {
        device.bus = Some(reader.number("bus-mb-per-s", bus, |mb| {
            Bus::new(mb * 1e6).map_err(|error| RangeError {
                value: mb,
                want: "0.000001 to 10000000 MB/s",
                ..error
            })
        })?);
    }
    let modes = modes(reader, given, &device)?;
    if let Some(first) = modes.first() {
        device.mode = *first;
    }
    Ok(Choice { device, modes })
}

/// What `multiplexing` allows, the plainest first.
fn modes(reader: Reader<'_>, given: &wire::Device, device: &Device) -> Result<Vec<Mode>, FileError> {
    let run_max = count(reader, "run-max", given.run_max.as_ref(), 1)?;
    let width = count(reader, "width", given.width.as_ref(), width_of(&device.speed_up))?;
    let quantum = match &given.quantum_ms {
        Some(quantum) => reader.ms_above_0("quantum-ms", quantum)?,
        None => Seconds::clamped(QUANTUM_MS / 1e3),
    };
    let one_at_a_time = device.kind == DeviceKind::EdgeTpu;
    let driver = given.slicing.as_ref().filter(|slicing| *slicing.get_ref() == wire::Slicing::Driver);
    if let Some(slicing) = driver
        && one_at_a_time
    {
        return Err(reader.wrong(&slicing.span(), Wrong::Contradiction(
            "slicing = \"driver\" on an edgetpu: its driver runs one request at a time; use \"round-robin\"",
        )));
    }
    let exclusive = Mode::Exclusive { run_max };
    let sliced = Mode::TimeSliced(match driver {
        Some(_) => Slicing::Driver,
        None => Slicing::RoundRobin { quantum },
    });
    let concurrent = Mode::Concurrent { width };
    let several = width.get() > 1;
    let at = given.multiplexing.span();
    match given.multiplexing.get_ref() {
        wire::Multiplexing::Exclusive => Ok(vec![exclusive]),
        wire::Multiplexing::TimeSliced => Ok(vec![sliced]),
        wire::Multiplexing::Concurrent if one_at_a_time => Err(reader.wrong(&at, Wrong::Contradiction(
            "multiplexing = \"concurrent\" on an edgetpu: it runs one request at a time; use \"exclusive\" or \
             \"time-sliced\"",
        ))),
        wire::Multiplexing::Concurrent if !several && given.width.is_none() => {
            Err(reader.wrong(&at, Wrong::Contradiction(
                "multiplexing = \"concurrent\" without `width`: say how many requests may be in service",
            )))
        }
        wire::Multiplexing::Concurrent => Ok(vec![concurrent]),
        wire::Multiplexing::Auto if one_at_a_time || !several => Ok(vec![exclusive, sliced]),
        wire::Multiplexing::Auto => Ok(vec![exclusive, concurrent, sliced]),
    }
}

/// Up to where running together gains something.
fn width_of(speed_up: &SpeedUp) -> u32 {
    u32::try_from(speed_up.len()).unwrap_or(u32::MAX)
}

fn count(
    reader: Reader<'_>,
    key: &'static str,
    given: Option<&wire::Count>,
    default: u32,
) -> Result<NonZeroU32, FileError> {
    given.map_or(Ok(default), |given| reader.count(key, given, (1, 1024))).map(at_least_1)
}

fn at_least_1(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

// === impl From<wire::Kind> ===

impl From<wire::Kind> for DeviceKind {
    fn from(kind: wire::Kind) -> Self {
        match kind {
            wire::Kind::EdgeTpu => Self::EdgeTpu,
            wire::Kind::Gpu => Self::Gpu,
            wire::Kind::Cpu => Self::Cpu,
        }
    }
}
