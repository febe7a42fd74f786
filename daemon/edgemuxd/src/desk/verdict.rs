//! What was decided about a newcomer, and why.

use edgemux_calibration::admission::{self, Alternative, Summary};
use edgemux_calibration::predict::Method;
use edgemux_calibration::system::Mode;
use edgemux_calibration::terms::Statistic;

use super::system::{Place, Tenant};
use crate::access::Caller;
use crate::terms::{Terms, statistic_name};

/// A decision with everything it rests on.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether the newcomer may come in.
    pub admitted: bool,
    /// Whether it runs without a guarantee.
    pub best_effort: bool,
    /// The device; of a refusal the one that came nearest, empty if none can run it.
    pub device: String,
    /// How the device is then shared.
    pub mode: Mode,
    /// Every guaranteed tenant of the device, the newcomer last.
    pub tenants: Vec<TenantView>,
    /// Bytes that all models need at the peak.
    pub memory_bytes: u64,
    /// Bytes that there are; none where they are not limited.
    pub memory_capacity_bytes: Option<u64>,
    /// Share of time that the device would be busy under the declared rates.
    pub utilisation: f64,
    /// How the prediction was made; empty where nobody has an objective.
    pub method: String,
    /// Least relative distance of a latency from its objective; infinite where nobody has one.
    pub slack: f64,
    /// Why not, of every device that was looked at; empty if admitted.
    pub reasons: Vec<Reason>,
    /// The largest rate at which it would be admitted, requests per second.
    pub largest_rate_hz: Option<f64>,
    /// What else could be had.
    pub alternatives: Vec<Alternative>,
}

/// One guaranteed tenant before and after.
#[derive(Clone, Debug)]
pub struct TenantView {
    /// `MODEL/VERSION`.
    pub session: String,
    /// What it declared.
    pub terms: Terms,
    /// Latency without the newcomer; none for the newcomer itself.
    pub before: Option<Summary>,
    /// Latency with it; none where the device would not keep up.
    pub after: Option<Summary>,
    /// Whether its objective holds with the margin.
    pub holds: bool,
    /// The objective's statistic with the margin that has to fit, s.
    pub with_margin: Option<f64>,
    /// The longest that its requests should wait for others to run with, s.
    pub batch_delay: Option<f64>,
}

/// Kinds of reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// An objective would break.
    Objective,
    /// Memory does not suffice.
    Memory,
    /// A stage would be too busy.
    Stability,
    /// The model's cost could not be measured.
    NoProfile,
    /// Neither formula nor simulation decides.
    Undecided,
    /// The device is fenced.
    Fenced,
}

/// Why a newcomer is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Its kind.
    pub why: Why,
    /// On which device; empty for the whole node.
    pub device: String,
    /// Whose objective; empty otherwise.
    pub session: String,
    /// Milliseconds, bytes or a share of time.
    pub wanted: f64,
    /// The same.
    pub predicted: f64,
    /// In words.
    pub message: String,
}

impl Why {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Objective => "objective",
            Self::Memory => "memory",
            Self::Stability => "stability",
            Self::NoProfile => "no_profile",
            Self::Undecided => "undecided",
            Self::Fenced => "fenced",
        }
    }
}

impl Verdict {
    /// What `caller` is told of it: of other tenants only that an objective of one would break.
    pub(crate) fn seen_by(&self, caller: &Caller) -> Self {
        let mut seen = self.clone();
        seen.tenants.retain(|tenant| caller.may_see(&tenant.session));
        for reason in &mut seen.reasons {
            if !reason.session.is_empty() && !caller.may_see(&reason.session) {
                let message = "the objective of another tenant would break".into();
                *reason = Reason::plain(reason.why, &reason.device, message);
            }
        }
        seen
    }
}

impl Reason {
    /// One that is about no number.
    pub fn plain(why: Why, device: &str, message: String) -> Self {
        Self { why, device: device.to_owned(), session: String::new(), wanted: 0.0, predicted: 0.0, message }
    }

    fn new(reason: &admission::Reason, device: &str) -> Self {
        let plain = |why, message| Self::plain(why, device, message);
        match reason {
            admission::Reason::Objective { session, statistic, wanted, predicted, with_margin } => {
                let statistic = statistic_name(match statistic {
                    Statistic::Mean => None,
                    Statistic::Quantile(quantile) => Some(quantile.get()),
                });
                let message = format!(
                    "{session}: its {statistic} would be {:.1} ms ({:.1} ms with the margin of the prediction); \
                     its objective is {:.1} ms",
                    predicted * 1e3,
                    with_margin * 1e3,
                    wanted * 1e3
                );
                Self {
                    session: session.clone(),
                    wanted: wanted * 1e3,
                    predicted: with_margin * 1e3,
                    ..plain(Why::Objective, message)
                }
            }
            admission::Reason::Memory { needed, capacity } => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                let (need, have) = (mib(*needed), mib(*capacity));
                let message =
                    format!("the models would need {need:.1} MiB of the {have:.1} MiB that are there");
                Self { wanted: *capacity as f64, predicted: *needed as f64, ..plain(Why::Memory, message) }
            }
            admission::Reason::Utilisation { stage, utilisation, most } => {
                let message = format!(
                    "the {stage} would be busy {:.1} % of the time; {:.1} % is the most",
                    utilisation * 100.0,
                    most * 100.0
                );
                Self { wanted: *most, predicted: *utilisation, ..plain(Why::Stability, message) }
            }
            admission::Reason::Undecided(problem) => plain(Why::Undecided, problem.clone()),
        }
    }
}

impl Verdict {
    /// On a device with `tenants`, the newcomer last, by what calibration decided.
    pub(super) fn new(place: &Place, tenants: &[Tenant], decided: &admission::Verdict) -> Self {
        let views = decided.tenants.iter().map(|outlook| {
            let tenant = tenants.iter().find(|tenant| tenant.name == outlook.session);
            TenantView {
                session: outlook.session.clone(),
                terms: tenant.map(|tenant| tenant.terms.clone()).unwrap_or_default(),
                before: outlook.before,
                after: outlook.after,
                holds: outlook.holds,
                with_margin: outlook.with_margin,
                batch_delay: outlook.batch_delay().map(|delay| delay.get()),
            }
        });
        let beside = tenants.iter().filter(|tenant| !tenant.is_guaranteed());
        let best_effort: u64 =
            beside.filter_map(|tenant| tenant.profile.as_ref()).map(|profile| profile.memory.peak).sum();
        let method = match decided.prediction.as_ref().map(|prediction| prediction.method) {
            Some(Method::Formula(formula)) => formula.name().to_owned(),
            Some(Method::Simulation { requests }) => format!("simulation of {requests} requests"),
            None => String::new(),
        };
        Self {
            admitted: decided.admitted,
            best_effort: tenants.last().is_some_and(|newcomer| !newcomer.is_guaranteed()),
            device: place.name.clone(),
            mode: decided.mode,
            tenants: views.collect(),
            memory_bytes: decided.memory.peak.saturating_add(best_effort),
            memory_capacity_bytes: place.memory,
            utilisation: decided.utilisation,
            method,
            slack: decided.slack,
            reasons: decided.reasons.iter().map(|reason| Reason::new(reason, &place.name)).collect(),
            largest_rate_hz: decided.largest_rate.map(|rate| rate.get()),
            alternatives: decided.alternatives.clone(),
        }
    }

    /// Admitted without a prediction: nobody on the device has an objective.
    pub(super) fn unguaranteed(place: &Place, mode: Mode, tenants: &[Tenant]) -> Self {
        let memory = tenants.iter().filter_map(|tenant| tenant.profile.as_ref());
        let memory_bytes = memory.map(|profile| profile.memory.peak).fold(0, u64::saturating_add);
        let mut reasons = Vec::new();
        if let Some(capacity) = place.memory.filter(|&capacity| capacity < memory_bytes) {
            let reason = admission::Reason::Memory { needed: memory_bytes, capacity };
            reasons.push(Reason::new(&reason, &place.name));
        }
        Self {
            admitted: reasons.is_empty(),
            best_effort: true,
            memory_bytes,
            memory_capacity_bytes: place.memory,
            mode,
            ..Self::refused(&place.name, reasons)
        }
    }

    /// Refused without having been predicted.
    pub(super) fn refused(device: &str, reasons: Vec<Reason>) -> Self {
        Self {
            admitted: false,
            best_effort: false,
            device: device.to_owned(),
            mode: Mode::FIRST_COME,
            tenants: Vec::new(),
            memory_bytes: 0,
            memory_capacity_bytes: None,
            utilisation: 0.0,
            method: String::new(),
            slack: f64::INFINITY,
            reasons,
            largest_rate_hz: None,
            alternatives: Vec::new(),
        }
    }

    /// Is it better than another: does it admit, or leave more slack?
    pub(super) fn beats(&self, other: &Self) -> bool {
        (self.admitted, self.slack) > (other.admitted, other.slack)
    }

    /// A refusal says why every device refuses.
    pub(super) fn with_reasons_of(mut self, other: Self) -> Self {
        if !self.admitted {
            self.reasons.extend(other.reasons);
        }
        self
    }

    /// The reasons in one line.
    pub fn why_not(&self) -> String {
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|reason| match reason.device.as_str() {
                "" => reason.message.clone(),
                device => format!("{device}: {}", reason.message),
            })
            .collect();
        reasons.join("; ")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::desk) fn admitted() -> Verdict {
        Verdict { admitted: true, ..Verdict::refused("d", Vec::new()) }
    }

    #[test]
    fn the_better_of_two_admits_and_refusals_keep_all_reasons() {
        let reason = |device: &str| Reason::plain(Why::Memory, device, format!("{device} is full"));
        let near = Verdict { slack: -0.1, ..Verdict::refused("near", vec![reason("near")]) };
        let far = Verdict { slack: -0.9, ..Verdict::refused("far", vec![reason("far")]) };
        assert!(near.beats(&far) && !far.beats(&near));
        let both = near.with_reasons_of(far);
        assert_eq!(
            (both.device.as_str(), both.why_not().as_str()),
            ("near", "near: near is full; far: far is full")
        );
        let tight = Verdict { slack: -5.0, ..admitted() };
        assert!(tight.beats(&both) && tight.clone().with_reasons_of(both).reasons.is_empty());
        assert!(Verdict { slack: 0.5, ..admitted() }.beats(&tight));
    }
}
