//! Several in service at a time.

use std::sync::Arc;

use super::{Device, Precision, all_poisson, reloads, resident_load, same_rank, service_scv};
use crate::predict::known::KnownError;
use crate::predict::{Formula, PredictError, Stage};
use crate::queueing::fcfs::Class;
use crate::queueing::law::{Law, atoms};
use crate::queueing::processor_sharing::Sharing;
use crate::queueing::sharing::{self, Shared};
use crate::queueing::tail::Inverter;
use crate::system::{Mode, System};

/// Values by which a varying service time is taken; each is an equation to solve.
const ATOMS: f64 = 48.0;
/// Points of the exact distribution.
const POINTS: usize = 512;

pub(super) fn predict(
    system: &System,
    classes: &[Class<'_>],
    width: usize,
    inverter: &mut Inverter,
    precision: Precision,
) -> Result<Device, PredictError> {
    if reloads(classes) {
        return Err(PredictError::NoFormula("reloads on a device with several requests in service"));
    }
    let load = resident_load(classes);
    let speed_up = &system.device.speed_up;
    let most = speed_up.at(width.min(speed_up.len()));
    let utilisation = load / most;
    let Some(shared) = Shared::stationary(speed_up, width, load) else {
        return Err(PredictError::Unstable { stage: Stage::Device, utilisation });
    };
    // Sessions of several requests at once; the driver gives each session one.
    let several = !matches!(system.device.mode, Mode::TimeSliced(_));
    // Nobody waits for a place in service.
    let open = shared.waits < 1e-4;
    let plain = several && open && all_poisson(system);
    let bent = Bent::new(&shared, load, classes, inverter);
    let exact = (plain && speed_up.is_none() && precision == Precision::Full)
        .then(|| Sharing::new(classes.iter().map(|class| (class.rate, atoms(class.service, ATOMS)))))
        .flatten();
    let (laws, error) = match exact {
        Some(exact) => (classes.iter().map(|class| bent.exact(class, &exact)).collect(), KnownError::SHARING),
        None => {
            let error = if plain && speed_up.is_none() {
                KnownError::SHARING_QUICK
            } else if several && all_poisson(system) && (open || same_rank(system)) {
                let mean = if open { KnownError::SHARING.mean } else { KnownError::GUESS.mean };
                KnownError { mean, ..KnownError::GUESS }
            } else {
                KnownError::GUESS
            };
            (classes.iter().map(|class| bent.law(class)).collect(), error)
        }
    };
    let formula = if plain && speed_up.is_none() { Formula::Sharing } else { Formula::SharingBounded };
    Ok(Device { laws, utilisation, formula, error })
}

/// Sharing as if at constant speed, bent to the right means.
struct Bent {
    /// How much longer a request takes in service than alone, on average.
    stretch: f64,
    /// The load at which sharing at constant speed stretches as much, and the wait in order there.
    alike: f64,
    in_order: Option<crate::queueing::tail::Tail>,
    /// Wait for a place in service: mean and variance.
    wait: (f64, f64),
}

impl Bent {
    fn new(shared: &Shared, load: f64, classes: &[Class<'_>], inverter: &mut Inverter) -> Self {
        let rate: f64 = classes.iter().map(|c| c.rate).sum();
        let stretch = shared.in_service / load;
        let alike = 1.0 - 1.0 / stretch;
        let in_order = if alike > 1e-9 { sharing::wait_in_order(classes, alike, inverter) } else { None };
        let mean = shared.waiting / rate * (1.0 + service_scv(classes)) / 2.0;
        // As if those who wait did so for an exponential time.
        let variance = if shared.waits > 0.0 { mean * mean * (2.0 / shared.waits - 1.0) } else { 0.0 };
        Self { stretch, alike, in_order, wait: (mean, variance) }
    }

    /// Variance of the sojourn in service of a request of `service` s.
    fn variance(&self, service: f64) -> f64 {
        self.in_order.as_ref().map_or(0.0, |wait| sharing::variance(service, self.alike, wait))
    }

    /// Gamma of the right mean.
    fn law(&self, class: &Class<'_>) -> Law {
        let (wait, wait_variance) = self.wait;
        let mut law = Law::new(class.service.mean() * self.stretch + wait);
        for atom in atoms(class.service, ATOMS) {
            let excess = atom.at * (self.stretch - 1.0);
            law.add_gamma(atom.weight, atom.at, excess + wait, self.variance(atom.at) + wait_variance);
        }
        law
    }

    fn exact(&self, class: &Class<'_>, sharing: &Sharing) -> Law {
        let mut inverter = Inverter::new(POINTS);
        let mut law = Law::new(sharing.mean(class.service.mean()));
        for atom in atoms(class.service, ATOMS) {
            let excess = sharing.excess(atom.at, self.variance(atom.at).sqrt(), &mut inverter);
            law.add(atom.weight, atom.at, &Arc::new(excess));
        }
        law
    }
}
