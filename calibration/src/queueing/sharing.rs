//! Requests that share the device: processor sharing, with a speed that depends on how many there are, and with a bound on
//! how many are in service.
//!
//! With n in service the device's total speed is φ(n), an equal part each. At most k are in service, the rest wait in order.
//!
//! | case | mean | source, and where it holds |
//! |---|---|---|
//! | φ = 1, no bound | s/(1 − ρ) | exact for any service time; Kleinrock 1967, Sakata, Noguchi and Oizumi 1971 |
//! | any φ, no bound | s·E\[N\]/ρ, π_n ∝ ρⁿ/∏φ(j) | exact for any service time; Cohen, *The multiple phase service network*, Acta Informatica 12, 1979 |
//! | bound k | the same in service; the wait of exponential service times m₂/(2m₁²) | exact for exponential service; else an approximation, up to 8 % off in the skewed mixes of `tests/grid.rs`; Avi-Itzhak and Halfin 1988 |
//!
//! All for Poisson arrivals. Where the slow-down depends on *which* models run together, none of this holds.

use super::fcfs::{Class, Fcfs};
use super::tail::{Inverter, Tail};
use crate::system::SpeedUp;

/// A device shared by everything in service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shared {
    /// E\[number in service\].
    pub in_service: f64,
    /// E\[number waiting\] if service were exponential.
    pub waiting: f64,
    /// Probability that an arrival has to wait.
    pub waits: f64,
}

impl Shared {
    /// The stationary distribution at an offered load of `load` = Λ·m₁ with at most `width` in service; none from a load
    /// of φ(`width`) on.
    #[must_use]
    pub fn stationary(speed_up: &SpeedUp, width: usize, load: f64) -> Option<Self> {
        let width = width.max(1);
        // From here on φ no longer changes.
        let flat = speed_up.len().min(width);
        let ratio = load / speed_up.at(flat);
        if ratio >= 1.0 || ratio.is_nan() {
            return None;
        }
        let (mut weight, mut total) = (1.0, 1.0);
        let (mut in_service, mut waiting, mut waits) = (0.0, 0.0, 0.0);
        for n in 1..=flat {
            weight *= load / speed_up.at(n);
            total += weight;
            in_service += weight * n as f64;
        }
        if flat == width {
            waits += weight;
        }
        // Up to the bound the number in service still grows: weight·ratio^j for j = 1, 2, … as many as there are places.
        let places = (width - flat) as f64;
        let last = ratio.powf(places);
        let sum = geometric(ratio, places, last);
        total += weight * sum;
        in_service += weight * (flat as f64 * sum + weighed(ratio, places, last));
        if flat < width {
            waits += weight * last;
        }
        // Beyond it: the same without end, and those above it wait.
        let beyond = weight * last * ratio / (1.0 - ratio);
        if beyond > 0.0 {
            total += beyond;
            in_service += beyond * width as f64;
            waiting += beyond / (1.0 - ratio);
            waits += beyond;
        }
        Some(Self { in_service: in_service / total, waiting: waiting / total, waits: waits / total })
    }
}

/// Σ rʲ for j = 1 to n, given rⁿ; r below 1.
fn geometric(r: f64, n: f64, last: f64) -> f64 {
    if n * (1.0 - r) < 1e-4 { n } else { r * (1.0 - last) / (1.0 - r) }
}

/// Σ j·rʲ for j = 1 to n, given rⁿ; r below 1.
fn weighed(r: f64, n: f64, last: f64) -> f64 {
    if n * (1.0 - r) < 1e-4 {
        n * (n + 1.0) / 2.0
    } else if last == 0.0 {
        r / (1.0 - r).powi(2)
    } else {
        r * (1.0 - last * (1.0 + n * (1.0 - r))) / (1.0 - r).powi(2)
    }
}

/// Variance in s² of the sojourn of a request that needs `service` s under processor sharing of speed 1 with the others'
/// load: 2/(1 − ρ)² ∫₀ˣ (x − t)·P(W > t) dt, W the wait of the same requests served in order. Exact for Poisson arrivals
/// (Yashkov 1983, Ott 1984).
#[must_use]
pub fn variance(service: f64, utilisation: f64, wait: &Tail) -> f64 {
    2.0 / (1.0 - utilisation).powi(2) * wait.weighted_integral(service)
}

/// The tail of the wait that [`variance`] asks for, at a load of `utilisation` made by the classes in their proportions.
///
/// None if nothing can be said: a utilisation of 1 or more.
#[must_use]
pub fn wait_in_order(classes: &[Class<'_>], utilisation: f64, inverter: &mut Inverter) -> Option<Tail> {
    let load: f64 = classes.iter().map(|c| c.rate * c.service.mean()).sum();
    let scaled: Vec<Class<'_>> = classes
        .iter()
        .map(|c| Class { rate: c.rate * utilisation / load, overhead: 0.0, group: 0, ..*c })
        .collect();
    Some(Fcfs::solve(&scaled).ok()?.waits(inverter).all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn constant_speed_is_insensitive_sharing() {
        let shared = Shared::stationary(&SpeedUp::none(), usize::MAX, 0.8).unwrap();
        assert!((shared.in_service - 4.0).abs() < 1e-9);
        assert_eq!(shared.waiting, 0.0);
    }

    #[test]
    fn one_at_a_time_is_the_single_server() {
        let shared = Shared::stationary(&SpeedUp::none(), 1, 0.8).unwrap();
        assert!((shared.in_service - 0.8).abs() < 1e-12);
        assert!((shared.waiting - 3.2).abs() < 1e-9);
        assert!((shared.waits - 0.8).abs() < 1e-12);
    }

    #[test]
    fn cores_are_erlangs_servers() {
        let cores = NonZeroU32::new(4).unwrap();
        let (load, waiting) = (2.6, crate::queueing::erlang::waiting(cores, 2.6));
        // Bounded by the cores: M/M/c.
        let bounded = Shared::stationary(&SpeedUp::cores(cores), 4, load).unwrap();
        assert!((bounded.waits - waiting).abs() < 1e-12);
        assert!((bounded.waiting - waiting * load / (4.0 - load)).abs() < 1e-12);
        // Unbounded: M/G/c under processor sharing.
        let open = Shared::stationary(&SpeedUp::cores(cores), usize::MAX, load).unwrap();
        let sojourn = crate::queueing::erlang::sharing_sojourn(cores, load, 1.0);
        assert!((open.in_service / load - sojourn).abs() < 1e-12);
    }

    #[test]
    fn nominal_overload_is_stable_where_sharing_speeds_up() {
        let speed_up = SpeedUp::new(vec![1.0, 1.4, 1.6]).unwrap();
        let at = |load| Shared::stationary(&speed_up, usize::MAX, load);
        assert!(at(1.2).unwrap().in_service > 1.2);
        assert!(at(1.6).is_none());
    }
}
