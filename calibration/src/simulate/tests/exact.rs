//! Where the answer is known in closed form.

use super::*;
use crate::system::SpeedUp;
use crate::terms::Priority;

/// Erlang's probability of waiting with `a` offered to c servers.
fn erlang_c(c: u32, a: f64) -> f64 {
    let blocked = (1..=c).fold(1.0, |b, k| a * b / (f64::from(k) + a * b));
    let c = f64::from(c);
    blocked / (1.0 - a / c * (1.0 - blocked))
}

#[test]
fn a_markovian_queue_has_its_mean_and_its_quantiles() {
    for rho in [0.5, 0.8, 0.9] {
        let seen = run(&system(Mode::FIRST_COME, [varied(rho / 0.01, 0.01, 1.0)]));
        let session = &seen.sessions[0];
        let mean = 0.01 / (1.0 - rho);
        mean_is(session, mean);
        for (q, error) in [(0.5, session.errors.p50), (0.95, session.errors.p95), (0.99, session.errors.p99)]
        {
            let want = -mean * f64::ln(1.0 - q);
            let bucket = want / 2048.0;
            let seen = session.sojourn.quantile(q);
            assert!(
                (seen - want).abs() <= 4.0 * error + bucket,
                "{q} at {rho}: {seen} ± {error}, expected {want}"
            );
        }
        assert!((seen.utilisation - rho).abs() < 0.01 && seen.in_service == seen.utilisation);
        // E[T²] of an exponential sojourn.
        assert!((session.sojourn.second_moment() / (2.0 * mean * mean) - 1.0).abs() < 0.1);
        assert!(seen.stable);
    }
}

#[test]
fn constant_service_waits_as_pollaczek_and_khinchine_say() {
    for rho in [0.3, 0.7, 0.9] {
        let seen = run(&system(Mode::FIRST_COME, [poisson(rho / 0.02, 0.02)]));
        mean_is(&seen.sessions[0], 0.02 * (1.0 + rho / (2.0 * (1.0 - rho))));
    }
}

#[test]
fn sharing_does_not_see_the_service_distribution() {
    let sessions = [poisson(40.0, 0.005), varied(10.0, 0.02, 1.0), varied(12.0, 0.025, 4.0)];
    let seen = run(&system(SHARED, sessions));
    let rho = 0.7;
    for (session, service) in seen.sessions.iter().zip([0.005, 0.02, 0.025]) {
        mean_is(session, service / (1.0 - rho));
    }
    // Geometric: E[N] = ρ/(1−ρ).
    assert!((seen.in_service / (rho / (1.0 - rho)) - 1.0).abs() < 0.05, "{}", seen.in_service);
}

#[test]
fn equal_servers_are_a_speed_up_curve() {
    let cores = NonZeroU32::new(4).unwrap();
    let (service, a) = (0.04, 3.2);
    let mean = service * (1.0 + erlang_c(4, a) / (4.0 - a));
    // First come first served, and shared: the same mean for exponential times.
    for mode in [Mode::Concurrent { width: cores }, SHARED] {
        let mut system = system(mode, [varied(a / service, service, 1.0)]);
        system.device.speed_up = SpeedUp::cores(cores);
        let seen = run(&system);
        mean_is(&seen.sessions[0], mean);
        if mode != SHARED {
            assert!((seen.in_service / a - 1.0).abs() < 0.01, "{}", seen.in_service);
        }
    }
}

#[test]
fn the_pool_of_cores_shares_equally() {
    let mut session = poisson(80.0, 1e-6);
    session.profile.cpu_before = ServiceTime::exponential(seconds(0.02));
    session.profile.cpu_after = ServiceTime::exponential(seconds(0.02));
    let seen = run(&system(SHARED, [session]));
    // Two visits to a pool that is insensitive: each takes its share of the mean.
    mean_is(&seen.sessions[0], 0.04 * (1.0 + erlang_c(4, 3.2) / (4.0 - 3.2)) + 1e-6);
}

#[test]
fn a_busy_host_has_fewer_cores() {
    let mut session = poisson(80.0, 1e-6);
    session.profile.cpu_before = ServiceTime::exponential(seconds(0.02));
    let mut system = system(SHARED, [session]);
    system.host.busy = 2.0;
    mean_is(&run(&system).sessions[0], 0.02 * (1.0 + erlang_c(2, 1.6) / (2.0 - 1.6)) + 1e-6);
}

#[test]
fn priorities_wait_as_cobham_says() {
    let mut sessions = [varied(30.0, 0.01, 0.5), poisson(10.0, 0.04)];
    sessions[0].terms.priority = Priority(1);
    sessions[1].terms.priority = Priority(2);
    let seen = run(&system(Mode::FIRST_COME, sessions));
    let (first, both) = (0.3, 0.7);
    let residual = (30.0 * 0.01_f64.powi(2) * 1.5 + 10.0 * 0.04_f64.powi(2)) / 2.0;
    mean_is(&seen.sessions[0], 0.01 + residual / (1.0 - first));
    mean_is(&seen.sessions[1], 0.04 + residual / ((1.0 - first) * (1.0 - both)));
}

/// Mean sojourn where everyone who waits is served at once, in `alpha` each and `tau` together. The sizes of successive
/// batches are a Markov chain: those who arrive during one are the next, or the one who comes after it when nobody did. On
/// average they wait for half the batch under way and then for their own.
fn batch_service(rate: f64, alpha: f64, tau: f64) -> f64 {
    const SIZES: usize = 200;
    let time = |size: usize| alpha * size as f64 + tau;
    let arrivals = |size: usize| {
        let mean = rate * time(size);
        let after = move |&(n, chance): &(usize, f64)| Some((n + 1, chance * mean / (n + 1) as f64));
        std::iter::successors(Some((0, (-mean).exp())), after).take(SIZES)
    };
    let mut sizes = vec![1.0 / SIZES as f64; SIZES];
    for _ in 0..500 {
        let mut next = vec![0.0; SIZES];
        for (size, weight) in sizes.iter().enumerate() {
            arrivals(size).for_each(|(n, chance)| next[n.max(1)] += weight * chance);
        }
        sizes = next;
    }
    let (mut sojourns, mut requests) = (0.0, 0.0);
    for (size, weight) in sizes.iter().enumerate() {
        for (n, chance) in arrivals(size) {
            let waited = if n == 0 { 0.0 } else { time(size) / 2.0 };
            let n = n.max(1);
            sojourns += weight * chance * n as f64 * (waited + time(n));
            requests += weight * chance * n as f64;
        }
    }
    sojourns / requests
}

#[test]
fn batches_of_any_size_take_as_long_as_their_chain_says() {
    let (alpha, tau) = (0.004, 0.01);
    for load in [0.3, 0.6, 0.9] {
        let rate = load / alpha;
        let session = batched(poisson(rate, 1.0), u32::MAX, tau, alpha, 0.0);
        let seen = run(&system(Mode::FIRST_COME, [session]));
        mean_is(&seen.sessions[0], batch_service(rate, alpha, tau));
        // Inoue's bound.
        let (la, lt) = (load, rate * tau);
        let first = (alpha + tau) / (2.0 * (1.0 - la)) * (1.0 + 2.0 * lt + (1.0 - lt) / (1.0 + la));
        let second = 1.5 * tau / (1.0 - la) + alpha / 2.0 * (la + 2.0) / (1.0 - la * la);
        let off = first.min(second) / seen.sessions[0].sojourn.mean() - 1.0;
        println!("Inoue at {load}: {off:+.4}");
        assert!((-0.01..0.1).contains(&off), "at {load}: {off:+.4}");
    }
}

#[test]
fn standard_errors_are_what_other_seeds_show() {
    let system = system(Mode::FIRST_COME, [varied(60.0, 0.01, 1.0)]);
    let runs = 200;
    let square: f64 = (0..runs)
        .map(|seed| {
            let seen = simulate(&Scenario { seed, ..Scenario::new(&system, 20_000) }).unwrap();
            let session = &seen.sessions[0];
            ((session.sojourn.mean() - 0.025) / session.errors.mean).powi(2)
        })
        .sum();
    // Student's t of 15 degrees of freedom has variance 1.15.
    let variance = square / runs as f64;
    assert!((0.8..1.7).contains(&variance), "{variance}");
}
