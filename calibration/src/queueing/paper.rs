//! The formulas of the source paper as published, for comparison only: Liang, Hanafy, Ali-Eldin, Shenoy, *Model-driven
//! Cluster Resource Management for AI Workloads in Edge Clouds*, ACM TAAS 18(1), 2023. Nothing else in the crate uses
//! them; what is wrong with them is said at each.

use super::fcfs::Class;

/// GPU under processor sharing: R_i = s_i + (1/(μ − Λ) − 1/μ), μ the rate of the mean service. True is s_i/(1 − ρ): at
/// ρ = .8 this is 30 % short for the largest model and 56 % long for the smallest. s; infinite for ρ ≥ 1.
#[must_use]
pub fn gpu_sojourn(classes: &[Class<'_>], class: usize) -> f64 {
    let rate: f64 = classes.iter().map(|c| c.rate).sum();
    let mean: f64 = classes.iter().map(|c| c.rate / rate * c.service.mean()).sum();
    if rate * mean >= 1.0 {
        return f64::INFINITY;
    }
    classes[class].service.mean() + 1.0 / (1.0 / mean - rate) - mean
}

/// edgeTPU, first come first served: W = Λ·Σp_i·s'_i²/(2(1 − ρ)), s'_i = s_i + (1 − p_i)·o_i. The second moment of a
/// coin's mean is not that of the coin, and wait and service are correlated: up to a third short. s; infinite for ρ ≥ 1.
#[must_use]
pub fn edgetpu_wait(classes: &[Class<'_>]) -> f64 {
    let rate: f64 = classes.iter().map(|c| c.rate).sum();
    let (mut load, mut second) = (0.0, 0.0);
    for class in classes {
        let service = edgetpu_service(classes, class, rate);
        load += class.rate * service;
        second += class.rate / rate * service * service;
    }
    if load >= 1.0 { f64::INFINITY } else { rate * second / (2.0 * (1.0 - load)) }
}

/// edgeTPU: W + s'_i, s.
#[must_use]
pub fn edgetpu_sojourn(classes: &[Class<'_>], class: usize) -> f64 {
    let rate: f64 = classes.iter().map(|c| c.rate).sum();
    edgetpu_wait(classes) + edgetpu_service(classes, &classes[class], rate)
}

fn edgetpu_service(classes: &[Class<'_>], class: &Class<'_>, rate: f64) -> f64 {
    debug_assert!(!classes.is_empty(), "a class of a queue");
    class.service.mean() + (1.0 - class.rate / rate) * class.overhead
}

/// Processor stage of c cores as one server c times as fast, M/G/1 under processor sharing: E\[S\]/(1 − ρ) of the stage's
/// whole service. True is [`super::erlang::sharing_sojourn`]. s; infinite for a load of c or more.
#[must_use]
pub fn cpu_sojourn(cores: u32, rate: f64, mean_service: f64) -> f64 {
    let rho = rate * mean_service / f64::from(cores);
    if rho >= 1.0 { f64::INFINITY } else { mean_service / (1.0 - rho) }
}
