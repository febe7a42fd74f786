//! The published profiles, and the nodes that they are of.

use std::num::NonZeroU32;

use edgemux_calibration::profile::{Memory, Profile};
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode};
use edgemux_calibration::units::{Scv, Seconds};
use edgemux_placement::catalogue::{Catalogue, Cost, Kind, KindId};

use super::ClusterError;

const PUBLISHED: &str = include_str!("../../../../../cluster/placement/data/published.csv");

/// A Coral Dev Board, by its place in the catalogue.
pub(super) const EDGETPU: KindId = KindId(0);
/// A Jetson Nano.
pub(super) const NANO: KindId = KindId(1);

const MB: f64 = 1e6;
const GIB: u64 = 1 << 30;
/// What classifiers show in the published traces.
const CV: f64 = 0.03;
/// What an application needs besides its parameters: buffers for inputs, outputs and what lies between. An assumption.
const WORKING_MB: [f64; 2] = [16.0, 64.0];

/// One line of the table.
struct Row<'a> {
    kind: &'a str,
    model: &'a str,
    service_ms: f64,
    reload_ms: f64,
    on_chip_mb: f64,
    parameters_mb: f64,
}

/// Kinds and models.
pub(super) fn published() -> Result<Catalogue, ClusterError> {
    let lines = PUBLISHED.lines().filter(|line| !line.starts_with('#')).skip(1);
    let rows: Vec<Row<'_>> = lines.map(row).collect::<Result<_, _>>()?;
    let mut models: Vec<String> = Vec::new();
    for row in &rows {
        if !models.iter().any(|model| model == row.model) {
            models.push(row.model.to_owned());
        }
    }
    let costs = |kind: KindId, name: &str| -> Result<Vec<Option<Cost>>, ClusterError> {
        let cost = |model: &String| {
            let row = rows.iter().find(|row| row.kind == name && row.model == model);
            row.map(|row| cost(kind, row)).transpose()
        };
        models.iter().map(cost).collect()
    };
    let kinds = vec![
        Kind { costs: costs(EDGETPU, "edgetpu")?, ..edgetpu() },
        Kind { costs: costs(NANO, "nano")?, ..nano() },
    ];
    let catalogue = Catalogue { models, kinds };
    catalogue.check().map_err(|error| ClusterError::Data(error.to_string()))?;
    Ok(catalogue)
}

/// 8 MiB on the chip; one request at a time, whoever shares it.
fn edgetpu() -> Kind {
    let device = Device { on_chip: 8 << 20, memory: GIB, ..Device::new("edgetpu", DeviceKind::EdgeTpu) };
    Kind {
        name: "Coral".to_owned(),
        modes: vec![device.mode],
        device,
        host: Host::idle(cores()),
        costs: Vec::new(),
    }
}

/// Applications in processes of their own share its GPU equally, and gain nothing by it; one multiplexer in front of it
/// can let them run one after the other.
fn nano() -> Kind {
    let shared = Mode::Concurrent { width: NonZeroU32::MAX };
    let device = Device { mode: shared, memory: 4 * GIB, ..Device::new("nano", DeviceKind::Gpu) };
    Kind {
        name: "Nano".to_owned(),
        device,
        modes: vec![shared, Mode::FIRST_COME],
        host: Host::idle(cores()),
        costs: Vec::new(),
    }
}

fn cores() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(3)
}

fn cost(kind: KindId, row: &Row<'_>) -> Result<Cost, ClusterError> {
    let range = |error: edgemux_calibration::units::RangeError| ClusterError::Data(error.to_string());
    let service = Seconds::from_ms(row.service_ms).map_err(range)?;
    let profile = Profile::of(service, Scv::new(CV * CV).map_err(range)?);
    let bytes = ((row.parameters_mb + WORKING_MB[kind.0 as usize]) * MB) as u64;
    let profile = Profile { memory: Memory { at_rest: bytes, peak: bytes }, ..profile };
    let profile = match row.reload_ms {
        0.0 => profile,
        ms => profile.with_reload(Seconds::from_ms(ms).map_err(range)?, None),
    };
    Ok(Cost { profile, on_chip: (row.on_chip_mb * MB) as u64 })
}

fn row(line: &'static str) -> Result<Row<'static>, ClusterError> {
    let bad = || ClusterError::Data(format!("not a profile: {line}"));
    let cells: Vec<&'static str> = line.split(',').collect();
    let [kind, model, numbers @ ..] = cells.as_slice() else { return Err(bad()) };
    let numbers: Vec<f64> =
        numbers.iter().map(|cell| cell.parse()).collect::<Result<_, _>>().map_err(|_| bad())?;
    let [service_ms, reload_ms, on_chip_mb, parameters_mb] = numbers[..] else { return Err(bad()) };
    Ok(Row { kind, model, service_ms, reload_ms, on_chip_mb, parameters_mb })
}
