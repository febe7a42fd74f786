//! Sessions in turn, by device time.

mod common;

use std::time::Duration;

use common::*;
use edgemux_multiplexer::{Action, Excess, Mode, Priority, Settings};
use proptest::prelude::*;

fn sliced(quantum: Duration) -> Mode {
    Mode::TimeSliced { quantum }
}

/// Runs sessions that always have something to run, until one has nothing left. Returns, at the end of each request, how much
/// device time each has had, s.
fn saturated(
    quantum: Duration,
    sessions: &[Settings],
    mut service: impl FnMut(usize) -> Duration,
) -> Vec<Vec<f64>> {
    const EACH: usize = 60;
    let arrivals = merge(&vec![vec![Duration::ZERO; EACH]; sessions.len()]);
    let run = Bench::new(sliced(quantum), sessions).run(&arrivals, |session, _| service(session as usize));
    let mut had = vec![0.0; sessions.len()];
    let mut count = vec![0; sessions.len()];
    let mut shares = vec![had.clone()];
    for served in &run.served {
        let session = served.session as usize;
        had[session] += (served.ended - served.started).as_secs_f64();
        count[session] += 1;
        shares.push(had.clone());
        if count[session] == EACH - 1 {
            break;
        }
    }
    shares
}

/// The most by which the device times of two sessions differ over any interval.
fn difference(shares: &[Vec<f64>], i: usize, j: usize) -> f64 {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for share in shares {
        least = least.min(share[i] - share[j]);
        most = most.max(share[i] - share[j]);
    }
    most - least
}

fn tenth_ms() -> impl Strategy<Value = Duration> {
    (3..200_u64).prop_map(|tenths| us(100 * tenths))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Shreedhar and Varghese, 1996, lemma 2 and theorem 3: over any interval in which both always have something to run,
    /// a session that is visited m times gets mQ, but for its longest request, and visits differ by one. So two
    /// sessions' times differ by at most Q and the longest request of each.
    #[test]
    fn device_times_differ_by_no_more_than_a_quantum_and_a_request_of_each(
        quantum in tenth_ms(),
        services in proptest::collection::vec(tenth_ms(), 2..5),
    ) {
        let of = |&service| Settings { expected: Some(service), ..guaranteed() };
        let sessions: Vec<_> = services.iter().map(of).collect();
        let shares = saturated(quantum, &sessions, |session| services[session]);
        for (i, one) in services.iter().enumerate() {
            for (j, other) in services.iter().enumerate().skip(i + 1) {
                let bound = (quantum + *one + *other).as_secs_f64();
                let seen = difference(&shares, i, j);
                prop_assert!(seen <= bound + 1e-9, "{} of {}", seen, bound);
            }
        }
    }

    /// Where requests do not cost what was expected the deficit may fall as far below zero as it may rise above it: each
    /// session's longest request counts twice.
    #[test]
    fn what_requests_really_cost_is_what_is_shared(
        quantum in tenth_ms(),
        longest in proptest::collection::vec(tenth_ms(), 2..5),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let service = |session: usize| us(300 + random.below(longest[session].as_micros() as u64 - 299));
        let shares = saturated(quantum, &vec![guaranteed(); longest.len()], service);
        for (i, one) in longest.iter().enumerate() {
            for (j, other) in longest.iter().enumerate().skip(i + 1) {
                let bound = (quantum + 2 * *one + 2 * *other).as_secs_f64();
                let seen = difference(&shares, i, j);
                prop_assert!(seen <= bound + 1e-9, "{} of {}", seen, bound);
            }
        }
    }
}

#[test]
fn sessions_take_turns_in_device_time_not_in_requests() {
    let of = |service| Settings { expected: Some(service), ..guaranteed() };
    let shares = saturated(ms(4), &[of(ms(1)), of(ms(4))], |session| [ms(1), ms(4)][session]);
    let last = shares.last().unwrap();
    assert!((last[0] - last[1]).abs() <= 0.009, "{last:?}");
}

#[test]
fn a_better_class_has_all_its_turns_first() {
    let of = |priority| Settings { priority: Priority::new(priority), ..guaranteed() };
    let mut bench = Bench::new(sliced(ms(5)), &[of(2), of(1), best_effort()]);
    bench.arrive(1, 2);
    for (request, session) in [(2, 2), (3, 0), (4, 1), (5, 0), (6, 1)] {
        bench.arrive(request, session);
    }
    assert_eq!(bench.run_down(), [4, 6, 3, 5, 2]);
}

#[test]
fn what_is_beyond_the_terms_takes_turns_of_its_own() {
    let policed = Settings { expected: Some(ms(5)), ..policed(1.0, 1.0, Excess::BestEffort) };
    let best_effort = Settings { expected: Some(ms(5)), ..best_effort() };
    let mut bench = Bench::new(sliced(ms(5)), &[policed, best_effort]);
    assert_eq!(bench.arrive(0, 1), [starts(0)]);
    assert_eq!(bench.arrive(1, 0), [], "within the terms");
    for request in 2..=4 {
        assert_eq!(bench.arrive(request, 0), [Action::Demoted(request)]);
    }
    for request in 5..=7 {
        bench.arrive(request, 1);
    }
    assert_eq!(bench.run_down(), [1, 2, 5, 3, 6, 4, 7]);
}

#[test]
fn one_that_took_long_is_paid_for_and_does_not_make_the_next_ones_wait_for_as_much_again() {
    let of = |service| Settings { expected: Some(service), ..guaranteed() };
    let mut bench = Bench::new(sliced(ms(5)), &[of(ms(5)), of(ms(5))]);
    bench.arrive(0, 1);
    for request in 1..60 {
        bench.arrive(request, u32::from(request > 9));
    }
    let mut order = Vec::new();
    let mut next = bench.finish(0);
    while let [Action::Dispatch { request, .. }] = next[..] {
        order.push(u8::from(request > 9));
        next = bench.finish_after(request, if request == 1 { ms(85) } else { ms(5) });
    }
    let long = order.iter().position(|&session| session == 0).unwrap();
    let (others, rest) = order[long + 1..].split_at(18);
    assert!(others.iter().all(|&session| session == 1), "16 turns for what was too much: {order:?}");
    // A few more while it is expected to take 10 ms; then in turn again.
    assert!(rest[..15].windows(3).all(|turns| turns.contains(&0) && turns.contains(&1)), "{order:?}");
}
