//! Applications: their terms, and the devices they may use.

use edgemux_calibration::terms::{Objective, Priority, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Scv};

use super::error::{FileError, Wrong};
use super::reader::Reader;
use super::wire;
use crate::plan::node::Choice;

pub(super) fn terms(reader: Reader<'_>, given: &wire::Application) -> Result<Terms, FileError> {
    let rate = reader.number("rate-hz", &given.rate_hz, Hertz::new)?;
    let burst = given.burst.as_ref().map_or(Ok(1), |burst| reader.count("burst", burst, (1, 1_000_000)))?;
    let priority = given
        .priority
        .as_ref()
        .map_or(Ok(0), |priority| reader.count("priority", priority, (0, u32::MAX)))?;
    Ok(Terms {
        burst,
        arrivals: arrivals(reader, given)?,
        priority: Priority(priority),
        ..Terms::poisson(rate, objective(reader, given)?)
    })
}

fn arrivals(reader: Reader<'_>, given: &wire::Application) -> Result<Scv, FileError> {
    match (&given.arrivals, &given.arrivals_cv2) {
        (Some(word), Some(_)) => Err(reader.wrong(
            &word.span(),
            Wrong::Contradiction("both arrivals and arrivals-cv2: they say the same thing, give one of them"),
        )),
        (None, Some(cv2)) => reader.number("arrivals-cv2", cv2, Scv::new),
        (Some(word), None) => Ok(match word.get_ref() {
            wire::Arrivals::Poisson => Scv::ONE,
            wire::Arrivals::Periodic => Scv::ZERO,
        }),
        (None, None) => Ok(Scv::ONE),
    }
}

fn objective(reader: Reader<'_>, given: &wire::Application) -> Result<Option<Objective>, FileError> {
    let statistic = match &given.quantile {
        Some(quantile) => Statistic::Quantile(reader.number("quantile", quantile, Quantile::new)?),
        None => Statistic::Mean,
    };
    match (&given.latency_ms, &given.quantile) {
        (Some(latency), _) => {
            Ok(Some(Objective { statistic, latency: reader.ms_above_0("latency-ms", latency)? }))
        }
        (None, Some(quantile)) => Err(reader.wrong(
            &quantile.span(),
            Wrong::Contradiction("quantile without latency-ms: an objective needs both, best effort neither"),
        )),
        (None, None) => Ok(None),
    }
}

/// The places of the devices that an application may use.
pub(super) fn allowed(
    reader: Reader<'_>,
    given: &wire::Application,
    devices: &[Choice],
) -> Result<Vec<usize>, FileError> {
    let kinds: Option<Vec<_>> = given.devices.as_ref().map(|kinds| kinds.iter().map(|&k| k.into()).collect());
    let pinned = match &given.device {
        Some(name) => Some(place(reader, "device", name, devices)?),
        None => None,
    };
    let fits = |&at: &usize| {
        pinned.is_none_or(|pinned| pinned == at)
            && kinds.as_ref().is_none_or(|kinds| kinds.contains(&devices[at].device.kind))
    };
    Ok((0..devices.len()).filter(fits).collect())
}

fn place(
    reader: Reader<'_>,
    key: &'static str,
    name: &wire::Word,
    devices: &[Choice],
) -> Result<usize, FileError> {
    devices.iter().position(|choice| choice.device.name == *name.get_ref()).ok_or_else(|| {
        let known = super::listed(devices.iter().map(|choice| choice.device.name.as_str()));
        let given = super::shown(name.get_ref());
        reader.wrong(&name.span(), Wrong::Unknown { key, given, what: "device", known })
    })
}
