//! Random applications.

use edgemux_calibration::terms::{Objective as Kept, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, RangeError, Scv, Seconds};
use edgemux_placement::app::App;
use edgemux_placement::catalogue::{Catalogue, Kind, ModelId};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::setting::{Objective, Setting};

/// What an application asks for, drawn anew for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// Share of the time that it keeps its fastest device busy, reloads aside: from, to; its logarithm is uniform.
    pub(super) busy: (f64, f64),
    /// Its objective over the time that the model takes with a reload where it takes longest: from, to.
    pub(super) mean: (f64, f64),
    /// The same for p99.
    pub(super) p99: (f64, f64),
}

impl Demand {
    pub(super) const USUAL: Self = Self { busy: (0.02, 0.3), mean: (1.5, 5.0), p99: (3.0, 10.0) };
}

/// `count` applications in the order in which they come, the same for the same seed.
pub(super) fn draw(
    catalogue: &Catalogue,
    setting: Setting,
    demand: Demand,
    count: usize,
    seed: u64,
) -> Result<Vec<App>, RangeError> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let kinds = setting.kinds();
    let kinds: Vec<&Kind> = catalogue
        .kinds
        .iter()
        .enumerate()
        .filter(|(at, _)| kinds.iter().any(|kind| kind.0 as usize == *at))
        .map(|(_, kind)| kind)
        .collect();
    let models: Vec<ModelId> = (0..catalogue.models.len() as u32)
        .map(ModelId)
        .filter(|&model| kinds.iter().any(|kind| kind.cost(model).is_some()))
        .collect();
    let mut apps = Vec::with_capacity(count);
    for at in 0..count {
        let model = models[rng.random_range(0..models.len())];
        let (mut fastest, mut slowest) = (f64::INFINITY, 0.0_f64);
        for cost in kinds.iter().filter_map(|kind| kind.cost(model)) {
            let service = cost.profile.service.mean();
            let reload = cost.profile.reload.map_or(0.0, |reload| reload.overhead.get());
            (fastest, slowest) = (fastest.min(service), slowest.max(service + reload));
        }
        let busy = demand.busy.0 * (demand.busy.1 / demand.busy.0).powf(rng.random::<f64>());
        let (statistic, (from, to)) = match setting.objective {
            Objective::Mean => (Statistic::Mean, demand.mean),
            Objective::P99 => (Statistic::Quantile(Quantile::P99), demand.p99),
        };
        let latency = slowest * (from + (to - from) * rng.random::<f64>());
        let objective = Kept { statistic, latency: Seconds::new(latency)? };
        let terms = Terms::poisson(Hertz::new(busy / fastest)?, Some(objective));
        let terms = Terms { arrivals: Scv::new(setting.arrivals.scv())?, ..terms };
        let name = format!("{}-{at}", catalogue.models[model.0 as usize]);
        apps.push(App { name, model, terms });
    }
    Ok(apps)
}
