//! Several equal servers: Erlang's formulas (A. K. Erlang 1917).

use std::num::NonZeroU32;

/// Erlang B: probability that all `servers` are busy when whoever finds them so leaves, at an offered load of `load`
/// (rate times service time, 0 or more). Exact for Poisson arrivals and any service time.
#[must_use]
pub fn blocking(servers: NonZeroU32, load: f64) -> f64 {
    let mut blocked = 1.0;
    for k in 1..=servers.get() {
        blocked = load * blocked / (f64::from(k) + load * blocked);
    }
    blocked
}

/// Erlang C: probability that an arrival has to wait for one of `servers`, at an offered load below their number; 1 from
/// there on. Exact for Poisson arrivals and exponential service times.
#[must_use]
pub fn waiting(servers: NonZeroU32, load: f64) -> f64 {
    let per_server = load / f64::from(servers.get());
    if per_server >= 1.0 {
        return 1.0;
    }
    let blocked = blocking(servers, load);
    blocked / (1.0 - per_server * (1.0 - blocked))
}

/// Mean sojourn in s of M/G/c under processor sharing (n requests share c cores, none runs on more than one):
/// E\[T\] = 1/μ + C/(cμ − λ). Exact for Poisson arrivals, and insensitive to the distribution of service. Infinite from a
/// load of `servers` on.
#[must_use]
pub fn sharing_sojourn(servers: NonZeroU32, rate: f64, mean_service: f64) -> f64 {
    let c = f64::from(servers.get());
    let load = rate * mean_service;
    if load >= c {
        return f64::INFINITY;
    }
    mean_service * (1.0 + waiting(servers, load) / (c - load))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(servers: u32) -> NonZeroU32 {
        NonZeroU32::new(servers).unwrap()
    }

    #[test]
    fn agrees_with_published_tables() {
        // Erlang B: load in erlang at which `servers` block one call in a hundred (every traffic table has these).
        for (servers, load) in
            [(1, 0.0101), (2, 0.1526), (5, 1.3608), (10, 4.4612), (20, 12.0306), (50, 37.9014)]
        {
            assert!((blocking(n(servers), load) - 0.01).abs() < 2e-5, "{servers} servers");
        }
        // Erlang C: M/M/1 waits with probability ρ; M/M/2 at ρ = .5 with 1/3; the textbook's (Gross and Harris) M/M/3 at
        // a = 2 with 4/9.
        assert!((waiting(n(1), 0.7) - 0.7).abs() < 1e-12);
        assert!((waiting(n(2), 1.0) - 1.0 / 3.0).abs() < 1e-12);
        assert!((waiting(n(3), 2.0) - 4.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn the_published_processor_stage() {
        // Four cores at ρ = .48, 24 ms each: the paper's one fast server says 46 ms.
        let sojourn = sharing_sojourn(n(4), 4.0 * 0.48 / 0.024, 0.024);
        assert!((sojourn - 0.0257).abs() < 1e-4, "{sojourn}");
        let paper = crate::queueing::paper::cpu_sojourn(4, 4.0 * 0.48 / 0.024, 0.024);
        assert!((paper - 0.0462).abs() < 1e-4, "{paper}");
        assert_eq!(sharing_sojourn(n(4), 200.0, 0.025), f64::INFINITY);
    }
}
