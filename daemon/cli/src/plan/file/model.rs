//! Models: what each costs on each kind of device.

use edgemux_calibration::profile::{Group, Memory, Profile, Reload, Uncertainty};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::DeviceKind;
use edgemux_calibration::units::{RangeError, Scv, Seconds};

use super::error::{FileError, Wrong};
use super::reader::Reader;
use super::wire::{Cost, Model, Number};

/// The spread of a service time where none is given: what classifiers show on an edgeTPU.
const SERVICE_CV: f64 = 0.03;

/// The names of groups, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<String>);

/// The costs that a model names.
pub(super) fn profiles(
    reader: Reader<'_>,
    model: &Model,
    groups: &mut Groups,
) -> Result<Vec<(DeviceKind, Profile)>, FileError> {
    let costs =
        [(DeviceKind::EdgeTpu, &model.edgetpu), (DeviceKind::Gpu, &model.gpu), (DeviceKind::Cpu, &model.cpu)];
    let profiles: Vec<_> = costs
        .into_iter()
        .filter_map(|(kind, cost)| Some((kind, cost.as_ref()?)))
        .map(|(kind, cost)| Ok((kind, profile(reader, cost, groups)?)))
        .collect::<Result<_, FileError>>()?;
    if profiles.is_empty() {
        return Err(reader.wrong(
            &model.name.span(),
            Wrong::Contradiction(
                "a model without costs: add [model.edgetpu], [model.gpu] or [model.cpu] with its service-ms",
            ),
        ));
    }
    Ok(profiles)
}

fn profile(reader: Reader<'_>, cost: &Cost, groups: &mut Groups) -> Result<Profile, FileError> {
    let mean = reader.ms_above_0("service-ms", &cost.service_ms)?;
    let spread = match &cost.service_cv {
        Some(cv) => scv(reader, cv)?,
        None => Scv::new(SERVICE_CV * SERVICE_CV).unwrap_or(Scv::ZERO),
    };
    let at_rest = size(reader, "memory-mb", cost.memory_mb.as_ref())?;
    let peak = match &cost.peak_mb {
        None => at_rest,
        Some(peak) => match reader.mb("peak-mb", peak)? {
            bytes if bytes >= at_rest => bytes,
            _ => {
                return Err(reader.wrong(
                    &peak.span(),
                    Wrong::Contradiction(
                        "peak-mb below memory-mb: the peak includes what the model holds while loaded",
                    ),
                ));
            }
        },
    };
    let group = cost.group.as_ref().map(|group| reader.name("group", group)).transpose()?;
    let group = group.map(|name| groups.number(name));
    let reload = match &cost.reload_ms {
        Some(overhead) => Some(Reload { overhead: reader.ms("reload-ms", Some(overhead))?, group }),
        None => group.map(|group| Reload { overhead: Seconds::ZERO, group: Some(group) }),
    };
    let uncertainty = match &cost.uncertainty {
        Some(error) => reader.number("uncertainty", error, |error| Uncertainty::new(error, error))?,
        None => Uncertainty::default(),
    };
    Ok(Profile {
        reload,
        cpu_before: ServiceTime::constant(reader.ms("cpu-before-ms", cost.cpu_before_ms.as_ref())?),
        cpu_after: ServiceTime::constant(reader.ms("cpu-after-ms", cost.cpu_after_ms.as_ref())?),
        bytes_moved: cost.kb_moved.as_ref().map_or(Ok(0), |moved| reader.kb("kb-moved", moved))?,
        memory: Memory { at_rest, peak },
        uncertainty,
        ..Profile::of(mean, spread)
    })
}

/// The square of a coefficient of variation, which itself is not negative.
fn scv(reader: Reader<'_>, cv: &Number) -> Result<Scv, FileError> {
    let error = |value| RangeError { quantity: "coefficient of variation", value, want: "0 to 100" };
    reader.number("service-cv", cv, |cv| match cv >= 0.0 {
        true => Scv::new(cv * cv).map_err(|_| error(cv)),
        false => Err(error(cv)),
    })
}

fn size(reader: Reader<'_>, key: &'static str, number: Option<&Number>) -> Result<u64, FileError> {
    number.map_or(Ok(0), |number| reader.mb(key, number))
}

// === impl Groups ===

impl Groups {
    fn number(&mut self, name: String) -> Group {
        let at = self.0.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        });
        Group(u32::try_from(at).unwrap_or(u32::MAX))
    }
}
