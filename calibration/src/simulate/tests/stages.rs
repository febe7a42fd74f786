//! The way of a request through cores, bus and device.

use super::*;
use crate::system::Bus;

#[test]
fn stages_follow_one_another_as_by_hand() {
    let mut session = poisson(1.0, 0.5);
    session.profile.cpu_before = ServiceTime::constant(seconds(1.0));
    session.profile.cpu_after = ServiceTime::constant(seconds(0.25));
    session.profile.bytes_moved = 300;
    let mut system = system(Mode::FIRST_COME, [session]);
    system.host = Host::idle(NonZeroU32::MIN);
    system.device.bus = Some(Bus::new(1000.0).unwrap());
    exactly(replay(&system, &[trace([2.0])]).sessions[0].sojourn.mean(), 1.0 + 0.3 + 0.5 + 0.25);
    // Two at once share the one core until 2; the bus takes them one after the other, until 2.3 and 2.6; the device until
    // 2.8 and 3.3.
    exactly(replay(&system, &[trace([0.0, 0.0])]).sessions[0].sojourn.mean(), (3.05 + 3.55) / 2.0);
}

#[test]
fn a_bus_is_a_queue_of_its_own() {
    let mut session = poisson(70.0, 0.001);
    session.profile.bytes_moved = 10_000;
    let mut system = system(Mode::FIRST_COME, [session]);
    system.device.bus = Some(Bus::new(1e6).unwrap());
    // What comes 10 ms apart never waits for a device of 1 ms.
    mean_is(&run(&system).sessions[0], 0.01 * (1.0 + 0.7 / 0.6) + 0.001);
}

#[test]
fn a_session_alone_that_is_periodic_never_waits() {
    let mut session = poisson(90.0, 0.011);
    session.terms.arrivals = Scv::ZERO;
    let seen = run(&system(Mode::FIRST_COME, [session]));
    exactly(seen.sessions[0].sojourn.max(), 0.011);
    exactly(seen.sessions[0].sojourn.mean(), 0.011);
}

#[test]
fn a_year_later_microseconds_are_as_fine_as_at_first() {
    let mut session = poisson(1e-3, 1e-6);
    session.terms.arrivals = Scv::ZERO;
    for mode in [Mode::FIRST_COME, SHARED] {
        let seen = run(&system(mode, [session.clone()]));
        let sojourn = &seen.sessions[0].sojourn;
        assert!((sojourn.mean() / 1e-6 - 1.0).abs() < 1e-7, "{}", sojourn.mean());
        assert!((sojourn.max() / 1e-6 - 1.0).abs() < 1e-6, "{}", sojourn.max());
    }
}

#[test]
fn a_busy_period_over_many_epochs_is_shared_exactly() {
    // Two of 3000 s that begin 1000 s apart share from then on: ends at 5000 and 6000.
    let system = system(SHARED, [poisson(1.0, 3000.0)]);
    let seen = replay(&system, &[trace([500.0, 1500.0])]);
    exactly(seen.sessions[0].sojourn.mean(), 5000.0);
    exactly(seen.in_service, (1000.0 + 2.0 * 4000.0 + 1000.0) / 6000.0);
}

#[test]
fn bursts_bring_their_mean_load() {
    let system = system(Mode::FIRST_COME, [poisson(1.0, 0.01)]);
    let arrivals = [Arrivals::OnOff {
        rate_on: Hertz::new(150.0).unwrap(),
        on_mean: seconds(0.2),
        off_mean: seconds(0.4),
    }];
    let seen = simulate(&Scenario { arrivals: &arrivals, ..Scenario::new(&system, 1_000_000) }).unwrap();
    assert!((seen.utilisation - 0.5).abs() < 0.005, "{}", seen.utilisation);
    assert!(seen.stable);
    // Far longer than Poisson arrivals at this rate wait.
    assert!(seen.sessions[0].sojourn.mean() > 0.03);
}
