//! How much more a node might take, by closed forms alone: a guess that puts nodes in order, cheap enough for a thousand.

use edgemux_calibration::queueing::allen_cunneen;
use edgemux_calibration::system::Mode;
use edgemux_calibration::terms::Statistic;

use crate::catalogue::Catalogue;
use crate::cluster::NodeId;
use crate::load::{Load, Setting};

/// Rounds of halving for a utilisation: a guess need not be finer.
const ROUNDS: u32 = 10;

/// How many times its mean the part of a shared latency beyond the service is at p99, roughly, with what the predictor's
/// quick formula is off.
const SHARED_TAIL: f64 = 5.5;

/// What was found of nodes, for as long as they stay as they are.
#[derive(Debug, Default)]
pub(super) struct Known {
    nodes: Vec<(u64, Headroom)>,
}

/// A node's headroom.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Headroom {
    /// As it runs.
    pub(super) own: f64,
    /// In its best setting.
    pub(super) best: f64,
}

impl Known {
    /// The headroom of a node.
    pub(super) fn of(&mut self, catalogue: &Catalogue, node: NodeId, load: &Load, most: f64) -> Headroom {
        let (at, print) = (node.0 as usize, load.print());
        if self.nodes.len() <= at {
            self.nodes.resize(at + 1, (0, Headroom::default()));
        }
        if self.nodes[at].0 != print {
            let own = headroom(catalogue, load, most);
            let settings = Setting::all(catalogue.kind(load.kind())).filter(|other| *other != load.setting());
            let others = settings.map(|setting| headroom(catalogue, &load.set(catalogue, setting), most));
            self.nodes[at] = (print, Headroom { own, best: others.fold(own, f64::max) });
        }
        self.nodes[at].1
    }
}

/// The utilisation up to which the objectives of a load would be kept if more of its mixture came, less its utilisation:
/// negative where they are broken already.
///
/// An objective leaves a budget for the wait, and the wait is r/(1 − ρ)·ρ on average, r being what is left of a service
/// that is met (Pollaczek and Khinchine), and as good as exponential where it is long. So a tight objective beside a long
/// service leaves little room, whoever has which.
pub(super) fn headroom(catalogue: &Catalogue, load: &Load, most: f64) -> f64 {
    if load.is_idle() {
        return most;
    }
    let kind = catalogue.kind(load.kind());
    let rate = load.rate();
    let alone = load.classes().len() == 1 || load.setting().together;
    let (mut first, mut second, mut arrivals) = (0.0, 0.0, 0.0);
    for class in load.classes() {
        let share = class.rate / rate;
        let (reloads, o) = if alone { (0.0, 0.0) } else { (1.0 - share, class.overhead) };
        let [m1, m2, _] = class.service.moments();
        first += share * (m1 + reloads * o);
        second += share * (m2 + reloads * (2.0 * m1 * o + o * o));
        arrivals += share * class.arrivals;
    }
    let burst = allen_cunneen::factor(arrivals, (second / (first * first) - 1.0).max(0.0));
    let residual = second / (2.0 * first) * burst;
    let speed = match load.setting().mode {
        Mode::Concurrent { width } => kind.device.speed_up.most(width),
        _ => 1.0,
    };
    let utilisation = rate * first / speed;
    let mut limit = most;
    for class in load.classes() {
        let share = class.rate / rate;
        let service = class.service.mean();
        for objective in &class.objectives {
            let wanted = objective.latency.get();
            let bearable = match load.setting().mode {
                Mode::Exclusive { .. } | Mode::TimeSliced(_) => {
                    let reloads = if alone { 0.0 } else { 1.0 - share };
                    match objective.statistic {
                        Statistic::Mean => {
                            let budget = wanted - service - reloads * class.overhead;
                            budget / (budget + residual)
                        }
                        Statistic::Quantile(q) => {
                            let beyond = 1.0 - q.get();
                            let reload = if reloads > beyond { class.overhead } else { 0.0 };
                            busiest(wanted - service - reload, residual, beyond)
                        }
                    }
                }
                Mode::Concurrent { .. } => {
                    let stretch = (wanted / service - 1.0) / burst;
                    let tail = match objective.statistic {
                        Statistic::Mean => 1.0,
                        Statistic::Quantile(_) => SHARED_TAIL,
                    };
                    (stretch.max(0.0) / (stretch.max(0.0) + tail)).powf(1.0 / speed)
                }
            };
            // Written so that NaN leaves no room.
            limit = if bearable > 0.0 { limit.min(bearable) } else { 0.0 };
        }
    }
    limit - utilisation
}

/// ρ at which all but `beyond` of an exponential wait, P(W > t) = ρ·e^{−(1 − ρ)t/r}, is within `budget`.
fn busiest(budget: f64, residual: f64, beyond: f64) -> f64 {
    if budget <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (beyond, 1.0);
    for _ in 0..ROUNDS {
        let middle = f64::midpoint(low, high);
        let wait = residual / (1.0 - middle) * (middle / beyond).ln();
        if wait <= budget { low = middle } else { high = middle }
    }
    low
}
