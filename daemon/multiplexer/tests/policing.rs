//! What a session may send, what becomes of the rest, and that a burst takes nobody's place.

mod common;

use std::time::Duration;

use common::*;
use edgemux_multiplexer::{
    Action, Event, Excess, Mode, Policing, Priority, RATE_TOLERANCE, Refusal, SMOOTH_BURST, Settings,
};

const SECOND: Duration = Duration::from_secs(1);

fn every(period: Duration, count: u32) -> Vec<Duration> {
    (0..count).map(|at| period * at).collect()
}

#[test]
fn requests_at_the_declared_rate_are_never_refused() {
    for rate_hz in [3.0, 29.97, 1000.0] {
        let mut bench = Bench::new(Mode::default(), &[policed(rate_hz, 1.0, Excess::Refuse)]);
        let arrivals = merge(&[every(Duration::from_secs_f64(1.0 / rate_hz), 20_000)]);
        assert_eq!(bench.run(&arrivals, |_, _| us(900)).refused, [], "{rate_hz}");
    }
}

#[test]
fn a_declared_burst_conforms_and_the_next_request_waits_for_its_token() {
    let mut bench = Bench::new(Mode::default(), &[policed(10.0, 4.0, Excess::Refuse)]);
    for request in 0..4 {
        assert!(!matches!(bench.arrive(request, 0)[..], [Action::Refuse(..)]));
    }
    let refused = bench.arrive(4, 0);
    let [Action::Refuse(4, Refusal::Excess { retry_after })] = refused[..] else { panic!("{refused:?}") };
    assert!((retry_after.as_secs_f64() * 10.0 * RATE_TOLERANCE - 1.0).abs() < 1e-6, "{retry_after:?}");
    bench.now += retry_after + us(1);
    assert_eq!(bench.arrive(5, 0), []);
    assert!(matches!(bench.arrive(6, 0)[..], [Action::Refuse(6, _)]));
}

#[test]
fn of_a_tenfold_flood_no_more_than_rate_and_burst_get_through_as_guaranteed() {
    let (rate_hz, burst) = (20.0, 7.0);
    for excess in [Excess::Refuse, Excess::BestEffort] {
        let mut bench = Bench::new(Mode::default(), &[policed(rate_hz, burst, excess)]);
        let arrivals = merge(&[Random(7).poisson(10.0 * rate_hz, 20_000)]);
        let mut conforming = 0.0;
        let mut seen = 0;
        for (request, &(at, session)) in (0..).zip(&arrivals) {
            bench.now = at;
            let actions = bench.arrive(request, session);
            let is_excess = actions.iter().any(|action| match action {
                Action::Demoted(_) => excess == Excess::BestEffort,
                Action::Refuse(_, Refusal::Excess { .. }) => excess == Excess::Refuse,
                _ => false,
            });
            conforming += f64::from(u8::from(!is_excess));
            seen += 1;
            let most = rate_hz * RATE_TOLERANCE * at.as_secs_f64() + burst;
            assert!(conforming <= most + 1e-6, "{conforming} of {seen}, at most {most}");
        }
        let time = arrivals.last().unwrap().0.as_secs_f64();
        assert!(conforming >= rate_hz * time, "and no fewer than it is entitled to");
    }
}

#[test]
fn excess_as_best_effort_delays_a_guaranteed_request_by_no_more_than_the_one_in_service() {
    let arrivals = merge(&[Random(2).poisson(30.0, 600), Random(1).poisson(200.0, 4000)]);
    // So few that wait that none waits for as long as starvation is.
    let flood = Settings { queue_limit: 60, ..policed(20.0, 10.0, Excess::BestEffort) };
    let sessions = [guaranteed(), flood];
    let service = |session, _| if session == 0 { ms(4) } else { ms(9) };
    let run = Bench::new(Mode::default(), &sessions).run(&arrivals, service);
    let (excess, within): (Vec<Served>, Vec<Served>) = run.served.iter().partition(|served| served.excess);
    assert!(excess.len() > 500, "best effort got something done");
    assert!(within.len() > 900);
    for served in within {
        let overtook = |other: &&Served| served.arrived < other.started && other.started < served.started;
        assert_eq!(excess.iter().find(overtook), None, "{served:?}");
    }
}

#[test]
fn a_burst_delays_another_session_by_no_more_than_a_few_of_its_requests() {
    let burst = policed(10.0, 50.0, Excess::Refuse);
    let mut arrivals = vec![(Duration::ZERO, 1); 50];
    arrivals.extend((1..40).map(|at| (ms(50) * at - ms(49), 0)));
    arrivals.sort_by_key(|&(at, _)| at);
    let service = |session, _| if session == 0 { ms(5) } else { ms(20) };
    let run = Bench::new(Mode::default(), &[guaranteed(), burst]).run(&arrivals, service);
    assert_eq!((run.of(1).len(), run.refused.len()), (50, 0));
    let most = ms(20) * (SMOOTH_BURST as u32 + 1) + ms(5);
    for served in run.of(0) {
        assert!(served.sojourn() <= most, "{served:?}");
    }
    // Without terms it would have been all fifty.
    let run = Bench::new(Mode::default(), &[guaranteed(); 2]).run(&arrivals, service);
    assert!(run.of(0)[0].sojourn() > ms(900));
}

#[test]
fn a_burst_of_a_session_that_is_served_first_delays_others_by_no_more_than_a_few_either() {
    let burst = Settings { priority: Priority::new(1), ..policed(10.0, 50.0, Excess::Refuse) };
    let mut arrivals = vec![(Duration::ZERO, 1); 50];
    arrivals.extend((1..40).map(|at| (ms(50) * at - ms(49), 0)));
    arrivals.sort_by_key(|&(at, _)| at);
    let service = |session, _| if session == 0 { ms(5) } else { ms(20) };
    let run = Bench::new(Mode::default(), &[guaranteed(), burst]).run(&arrivals, service);
    assert_eq!((run.of(1).len(), run.refused.len()), (50, 0));
    // The few at once; and at 12.5 per second, a quarter of the device's time, those that come due while they are served.
    let most = ms(20) * (SMOOTH_BURST as u32 + 1) * 4 / 3 + ms(20) + ms(5);
    for served in run.of(0) {
        assert!(served.sojourn() <= most, "{served:?}");
    }
}

#[test]
fn poisson_arrivals_at_the_declared_rate_are_hardly_ever_put_back() {
    // Whoever is put back is overtaken by a session without terms.
    let arrivals = merge(&[Random(3).poisson(20.0, 20_000), Random(4).poisson(20.0, 20_000)]);
    let sessions = [policed(20.0, 1000.0, Excess::Refuse), guaranteed()];
    let run = Bench::new(Mode::default(), &sessions).run(&arrivals, |_, _| ms(20));
    let mut latest = Duration::ZERO;
    let mut overtaken = 0;
    for served in &run.served {
        overtaken += usize::from(served.arrived < latest);
        latest = latest.max(served.arrived);
    }
    assert!(overtaken * 50 < arrivals.len(), "{overtaken} of {} were overtaken", arrivals.len());
}

#[test]
fn the_device_does_not_idle_for_the_order_of_a_burst() {
    let arrivals = [(Duration::ZERO, 0); 50];
    let mut bench = Bench::new(Mode::default(), &[policed(1.0, 50.0, Excess::Refuse)]);
    let run = bench.run(&arrivals, |_, _| ms(1));
    assert_eq!(run.served.last().unwrap().ended, ms(50));
}

/// A session that holds two, of which one beyond its terms, and one in service.
fn full() -> Bench {
    let settings = Settings { queue_limit: 3, ..policed(10.0, 2.0, Excess::BestEffort) };
    let mut bench = Bench::new(Mode::default(), &[settings]);
    assert_eq!(bench.arrive(1, 0), [starts(1)]);
    assert_eq!(bench.arrive(2, 0), []);
    // The newest has the best priority of its own, which does not save it.
    assert_eq!(bench.arrive(3, 0), [Action::Demoted(3)]);
    assert_eq!(bench.arrive_with(4, 0, 1, Some(9000)), [Action::Demoted(4)]);
    bench
}

#[test]
fn in_a_full_queue_the_newest_excess_gives_way_to_a_request_within_the_terms() {
    let mut bench = full();
    bench.now = SECOND / 10;
    let retry_after = ms(1);
    assert_eq!(bench.arrive(5, 0), [Action::Refuse(4, Refusal::QueueFull { retry_after })]);
    assert_eq!(bench.multiplexer.waiting(0), 3);
    bench.now = SECOND / 5;
    assert_eq!(bench.arrive(6, 0), [Action::Refuse(3, Refusal::QueueFull { retry_after })]);
    bench.now = 3 * SECOND / 10;
    assert_eq!(bench.arrive(7, 0), [Action::Refuse(7, Refusal::QueueFull { retry_after })]);
    assert_eq!(bench.run_down(), [2, 5, 6]);
}

#[test]
fn excess_finds_a_full_queue_full() {
    let mut bench = full();
    assert!(matches!(bench.arrive(5, 0)[..], [Action::Refuse(5, Refusal::QueueFull { .. })]));
}

#[test]
fn a_request_that_finds_the_queue_full_takes_no_token() {
    let settings = Settings { queue_limit: 1, ..policed(0.001, 3.0, Excess::Refuse) };
    let mut bench = Bench::new(Mode::default(), &[settings]);
    bench.arrive(1, 0);
    bench.arrive(2, 0);
    for request in 3..9 {
        assert!(matches!(bench.arrive(request, 0)[..], [Action::Refuse(_, Refusal::QueueFull { .. })]));
    }
    assert_eq!(bench.finish(1), [starts(2)]);
    assert_eq!(bench.arrive(9, 0), [], "the third token is still there");
    bench.finish(2);
    assert!(matches!(bench.arrive(10, 0)[..], [Action::Refuse(10, Refusal::Excess { .. })]));
}

#[test]
fn best_effort_of_a_session_has_the_session_s_priority() {
    let of =
        |priority| Settings { priority: Priority::new(priority), ..policed(1.0, 1.0, Excess::BestEffort) };
    let mut bench = Bench::new(Mode::default(), &[of(2), of(1), guaranteed()]);
    bench.arrive(1, 2);
    for (request, session) in [(2, 0), (3, 0), (4, 1), (5, 1), (6, 2)] {
        bench.arrive(request, session);
    }
    assert_eq!(bench.run_down(), [4, 2, 6, 5, 3]);
}

#[test]
fn nonsense_for_a_rate_polices_nothing_and_for_a_burst_is_one() {
    for rate_hz in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut bench = Bench::new(Mode::default(), &[policed(rate_hz, 1.0, Excess::Refuse)]);
        let started: Vec<_> = (0..99).flat_map(|request| bench.arrive(request, 0)).collect();
        assert_eq!(started, [starts(0)], "{rate_hz}");
    }
    for burst in [0.0, -5.0, f64::NAN] {
        let mut bench = Bench::new(Mode::default(), &[policed(1.0, burst, Excess::Refuse)]);
        bench.arrive(1, 0);
        assert!(matches!(bench.arrive(2, 0)[..], [Action::Refuse(2, Refusal::Excess { .. })]), "{burst}");
    }
}

#[test]
fn the_least_and_the_longest_that_numbers_can_say_break_nothing() {
    let forever = Duration::MAX;
    let settings = Settings {
        expected: Some(forever),
        batching: batched(3, forever).batching,
        ..policed(f64::MIN_POSITIVE / 4.0, 9.0, Excess::BestEffort)
    };
    for mode in [Mode::default(), runs_of(u32::MAX), Mode::TimeSliced { quantum: Duration::ZERO }] {
        let mut bench = Bench::new(mode, &[settings, guaranteed(), best_effort()]);
        for request in 0..60 {
            bench.arrive(request, (request % 3) as u32);
            if request == 30 {
                bench.now = forever;
            }
        }
        let mut done = bench.on_device().len();
        while let Some(&request) = bench.on_device().first() {
            done += bench.finish_after(request, forever).len();
        }
        bench.tell(Event::Changed { session: 0, settings: guaranteed() });
        done += bench.on_device().len() + bench.run_down().len();
        assert_eq!(done, 60, "{mode:?}");
    }
}

#[test]
fn an_account_goes_on_when_other_settings_change_and_begins_anew_with_other_terms() {
    let settings = policed(1.0, 1.0, Excess::Refuse);
    let mut bench = Bench::new(Mode::default(), &[settings]);
    bench.arrive(1, 0);
    bench.tell(Event::Changed { session: 0, settings: Settings { queue_limit: 9, ..settings } });
    assert!(matches!(bench.arrive(2, 0)[..], [Action::Refuse(2, Refusal::Excess { .. })]));
    let more = Policing { rate_hz: 2.0, burst: 1.0, excess: Excess::Refuse };
    bench.tell(Event::Changed { session: 0, settings: Settings { policing: Some(more), ..settings } });
    assert_eq!(bench.arrive(3, 0), []);
}
