//! First come, first served, one request at a time, Poisson arrivals: the exact distribution of every session's latency,
//! parameter reloads included.
//!
//! Requests of session b arrive at rate λ_b, Λ = Σλ_b, p_b = λ_b/Λ. A request takes S_b, and o_b more when a request of
//! another reload group has run since the session's last. So service times depend on one another, and on the waiting
//! time, through the requests before; the Pollaczek–Khinchine formula holds only without reloads. But the order of types is independent
//! from request to request, which leaves the waiting time W and the previous request's group J to be solved for jointly.
//! With Φ_h(s) = E\[e^{−sW}; J = h\], Lindley's recursion over an exponential time between arrivals gives
//!
//! > Φ_h(s)·D_h(s) = Λ·F(s)·q_h(s) − s·v_h, F = Σ_h Φ_h,
//! > D_h(s) = Λ − s − Λ·(r_h(s) − q_h(s)),
//!
//! where q_h = Σ_{b∈h} p_b·E\[e^{−s(S_b+o_b)}\], r_h the same for a request that follows one of its own group, and
//! v_h = P(W = 0, J = h). Summed,
//! F = −s·A/(1 − B) with A = Σ v_h/D_h, B = Λ·Σ q_h/D_h. The v_h follow from F being finite for Re s > 0: A has to vanish
//! where B = 1. D_h falls through zero once in (0, Λ], and between two such zeros B passes from −∞ to +∞, so these points
//! are real, one between each pair of neighbours; with Σv_h = 1 − ρ that is one linear equation for each v_h.
//!
//! With one group this is Pollaczek–Khinchine. It holds for Poisson arrivals, ρ < 1, and service in order of arrival, and
//! is exact there where every session is a group of its own. In a group of several a session that follows one of its group
//! may still have to reload, if it has not run since the group came in; that is decided by a coin of the right mean. (The structure is that of a queue with semi-Markov service: Neuts, *Structured Stochastic Matrices
//! of M/G/1 Type*, 1989; the solution by real roots is particular to reloads.)

mod groups;
mod idle;
mod spectrum;

use groups::{Group, Member, gather};

use super::root::bisect;
use super::series::Series;
use super::tail::{Decay, Inverter, Tail};
use crate::service::ServiceTime;

/// Requests of one session.
#[derive(Clone, Copy, Debug)]
pub struct Class<'a> {
    /// Arrivals per second, Poisson.
    pub rate: f64,
    /// Time on the device without reload.
    pub service: &'a ServiceTime,
    /// Extra time after a request of another group, s.
    pub overhead: f64,
    /// Reload group, numbered from 0 without large gaps.
    pub group: usize,
}

impl Class<'_> {
    /// Work per second if every request reloaded.
    fn longest_work(&self) -> f64 {
        self.rate * (self.service.mean() + self.overhead)
    }
}

/// A stable queue, solved.
#[derive(Clone, Debug)]
pub struct Fcfs<'a> {
    classes: &'a [Class<'a>],
    rate: f64,
    utilisation: f64,
    groups: Vec<Group>,
    resident: Vec<Resident>,
    wait: Series,
    decay: Option<Decay>,
}

/// When a class finds its parameters in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resident {
    /// When the request before was of this group, with `probability`: see [`Waits::groups`].
    Group {
        /// Place in [`Waits::groups`].
        group: usize,
        /// Of finding them.
        probability: f64,
        /// Of finding them, given that the request before was of the group.
        kept: f64,
    },
    /// With this probability, whatever the wait.
    Coin(f64),
}

/// Tails of the waiting time.
#[derive(Clone, Debug)]
pub struct Waits {
    /// P(W > t).
    pub all: Tail,
    /// P(W > t, the request before was of the group).
    pub groups: Vec<Tail>,
}

/// More work than time.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the device would be busy {utilisation:.3} of the time: queues grow without end")]
pub struct Unstable {
    /// ρ, at least 1.
    pub utilisation: f64,
}

/// Probability that a request is of each group.
fn group_shares(classes: &[Class<'_>]) -> Vec<f64> {
    let total: f64 = classes.iter().map(|class| class.rate).sum();
    let count = classes.iter().map(|class| class.group + 1).max().unwrap_or(0);
    let mut shares = vec![0.0; count];
    for class in classes {
        shares[class.group] += class.rate / total;
    }
    shares
}

/// Probability that a request of each class finds its parameters in place: that its own last request is less far back
/// than the last of another group, λ_i/(Λ − Λ_g + λ_i).
#[must_use]
pub fn resident_probabilities(classes: &[Class<'_>]) -> Vec<f64> {
    let total: f64 = classes.iter().map(|class| class.rate).sum();
    let shares = group_shares(classes);
    let several = classes.iter().any(|class| class.group != classes[0].group);
    let resident = classes.iter().map(|class| {
        let own = class.rate / total;
        // Without others nothing is ever dropped, whatever rounding leaves of their share.
        if several { own / ((1.0 - shares[class.group]).max(0.0) + own) } else { 1.0 }
    });
    resident.collect()
}

/// ρ: share of time that the device is busy.
#[must_use]
pub fn utilisation(classes: &[Class<'_>]) -> f64 {
    let resident = resident_probabilities(classes);
    let loads =
        classes.iter().zip(resident).map(|(c, p)| c.rate * (c.service.mean() + (1.0 - p) * c.overhead));
    loads.sum()
}

impl<'a> Fcfs<'a> {
    /// Solves the queue.
    ///
    /// # Errors
    /// [`Unstable`] at a utilisation of 1 or more.
    pub fn solve(classes: &'a [Class<'a>]) -> Result<Self, Unstable> {
        let utilisation = utilisation(classes);
        if utilisation >= 1.0 || utilisation.is_nan() {
            return Err(Unstable { utilisation });
        }
        let rate: f64 = classes.iter().map(|class| class.rate).sum();
        let probabilities = resident_probabilities(classes);
        let mut groups = gather(classes, rate, &probabilities);
        let mut resident = vec![Resident::Coin(1.0); classes.len()];
        for (at, group) in groups.iter().enumerate() {
            for member in &group.members {
                let &Member { resident: probability, kept, .. } = member;
                resident[member.class] = if group.rest {
                    Resident::Coin(probability)
                } else {
                    Resident::Group { group: at, probability, kept }
                };
            }
        }
        let idle = idle::find(classes, &groups, rate, utilisation);
        for (group, idle) in groups.iter_mut().zip(idle) {
            group.idle = idle;
        }
        let wait = expand(&mut groups, rate);
        let mut queue = Self { classes, rate, utilisation, groups, resident, wait, decay: None };
        queue.decay = queue.find_decay();
        Ok(queue)
    }

    /// ρ.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.utilisation
    }

    /// E\[W\], s: the wait before the device turns to a request, the same for every session.
    #[must_use]
    pub fn mean_wait(&self) -> f64 {
        self.wait.mean()
    }

    /// E\[W²\], s².
    #[must_use]
    pub fn second_moment_wait(&self) -> f64 {
        self.wait.second()
    }

    /// When a class finds its parameters in place.
    #[must_use]
    pub fn resident(&self, class: usize) -> Resident {
        self.resident[class]
    }

    /// E\[W + S_i\] of a class, s.
    #[must_use]
    pub fn mean_sojourn(&self, class: usize) -> f64 {
        let Class { service, overhead, .. } = self.classes[class];
        let (Resident::Coin(resident) | Resident::Group { probability: resident, .. }) = self.resident[class];
        self.wait.mean() + service.mean() + (1.0 - resident) * overhead
    }

    /// How P(W > t) falls for large t (the Cramér–Lundberg asymptote); none where nothing waits.
    #[must_use]
    pub fn decay(&self) -> Option<Decay> {
        self.decay
    }

    /// B(−u) − 1: negative from 0 up to the pole of F.
    fn excess(&self, u: f64) -> f64 {
        let terms = self.groups.iter().map(|group| group.at(self.classes, self.rate, u));
        let b: f64 = terms.map(|(d, q)| self.rate * q / d).sum();
        if b.is_nan() { f64::INFINITY } else { b - 1.0 }
    }

    /// The pole of F nearest to 0, where B = 1 again, and the residue there.
    fn find_decay(&self) -> Option<Decay> {
        if self.wait.mean() <= 0.0 {
            return None;
        }
        // Halved until it lies before the pole, then doubled until beyond; a pole at 0 or beyond all numbers is none.
        let is_before = |u: f64| u > 0.0 && u.is_finite() && self.excess(u) < 0.0;
        let mut low = 1e-3 / self.wait.mean();
        for _ in 0..40 {
            if is_before(low) {
                break;
            }
            low /= 2.0;
        }
        if !is_before(low) {
            return None;
        }
        let mut high = low * 2.0;
        while self.excess(high) < 0.0 {
            (low, high) = (high, high * 2.0);
            if !high.is_finite() {
                return None;
            }
        }
        let rate = bisect(low, high, |u| self.excess(u) < 0.0);
        let h = rate * 1e-6;
        let slope = (self.excess(rate + h) - self.excess(rate - h)) / (2.0 * h);
        let a: f64 = self.groups.iter().map(|g| g.idle / g.at(self.classes, self.rate, rate).0).sum();
        let factor = a / slope;
        (slope.is_finite() && factor > 0.0).then_some(Decay { rate, factor })
    }

    /// P(W > t), and for each group P(W > t, J = group).
    #[must_use]
    pub fn waits(&self, inverter: &mut Inverter) -> Waits {
        let shares = self.groups.iter().map(|group| group.share);
        let Some(decay) = self.decay else {
            return Waits { all: Tail::zero(1.0), groups: shares.map(Tail::zero).collect() };
        };
        let longest = self.classes.iter().map(|c| c.service.mean() + c.overhead).fold(0.0, f64::max);
        let length = 15.0 / decay.rate + 4.0 * longest;
        let joint: Vec<usize> = (0..self.groups.len()).filter(|&h| !self.groups[h].rest).collect();
        let spectra = spectrum::of(self, inverter, length, &joint);
        let mut tails = inverter.invert_all(length, &spectra).into_iter();
        let all = tails.next().unwrap_or_else(|| Tail::zero(1.0));
        let mut groups: Vec<Tail> = shares.map(Tail::zero).collect();
        for (h, tail) in joint.into_iter().zip(tails) {
            groups[h] = tail;
        }
        Waits { all, groups }
    }
}

/// F up to the third order, and Φ_h of every group.
fn expand(groups: &mut [Group], rate: f64) -> Series {
    let (mut a, mut b) = (Series::ZERO, Series::ZERO);
    for group in groups.iter() {
        let d = group.denominator(rate);
        a = a.plus(Series::constant(group.idle).over(d));
        b = b.plus(group.with_reload.scaled(rate).over(d));
    }
    // 1 − B begins with u: F = u·A/(1 − B).
    let mut wait = a.over(Series::constant(1.0).minus(b).shifted());
    // Σv_h = 1 − ρ has made this 1 but for rounding.
    wait.0[0] = 1.0;
    for group in groups {
        let after_others = wait.times(group.with_reload).scaled(rate);
        group.wait = after_others.plus(Series([0.0, group.idle, 0.0, 0.0])).over(group.denominator(rate));
    }
    wait
}
