//! Time is an argument here: every figure below can be worked out by hand.

use super::*;

const MS: f64 = 1e6;

fn work(service_ms: f64) -> Work {
    Work { service_ns: service_ms * MS, group: Group(0), reload_ns: 0.0 }
}

fn cached(service_ms: f64, group: u64, reload_ms: f64) -> Work {
    Work { service_ns: service_ms * MS, group: Group(group), reload_ns: reload_ms * MS }
}

fn together(speed_up: &[f64]) -> Schedule {
    Schedule::new(Sharing::Together { speed_up: speed_up.to_vec() })
}

/// Milliseconds at which each ends if nobody else comes, to a thousandth.
fn ends(schedule: &Schedule, tickets: &[Ticket]) -> Vec<f64> {
    tickets.iter().map(|&ticket| rounded(schedule.predict(ticket, 0.0))).collect()
}

fn rounded(ns: f64) -> f64 {
    (ns / MS * 1e3).round() / 1e3
}

#[test]
fn exclusive_serves_in_order_of_arrival_back_to_back() {
    let mut device = Schedule::new(Sharing::Exclusive);
    let first = device.arrive(0.0, work(5.0));
    let second = device.arrive(1.0 * MS, work(1.0));
    let third = device.arrive(2.0 * MS, work(3.0));
    assert_eq!(ends(&device, &[first, second, third]), [5.0, 6.0, 9.0]);
    // Nobody looked for a long time; the times are those of the device all the same.
    device.advance(100.0 * MS);
    assert_eq!(device.collect(third), Some(Spent { service_ns: 3.0 * MS, reload_ns: 0.0 }));
    assert_eq!(device.collect(second), Some(Spent { service_ns: 1.0 * MS, reload_ns: 0.0 }));
    assert_eq!(device.collect(first), Some(Spent { service_ns: 5.0 * MS, reload_ns: 0.0 }));
    assert_eq!(device.collect(first), None);
    // After an idle time the next starts when it comes.
    let fourth = device.arrive(200.0 * MS, work(1.0));
    assert_eq!(ends(&device, &[fourth]), [201.0]);
}

#[test]
fn a_late_look_starts_the_next_when_the_device_became_free() {
    let mut device = Schedule::new(Sharing::Exclusive);
    let tickets: Vec<_> = (0..10).map(|_| device.arrive(0.0, work(5.0))).collect();
    // The waiting threads wake 0.3 ms late each time: the lateness must not add up.
    for n in 1..=10 {
        device.advance(f64::from(n) * 5.0 * MS + 0.3 * MS);
    }
    assert!(tickets.iter().all(|&ticket| device.collect(ticket).unwrap().service_ns == 5.0 * MS));
    let next = device.arrive(50.3 * MS, work(5.0));
    assert_eq!(ends(&device, &[next]), [55.3]);
}

#[test]
fn equal_jobs_share_the_processor_equally() {
    let mut device = together(&[1.0]);
    let tickets = [5.0; 4].map(|ms| device.arrive(0.0, work(ms)));
    assert_eq!(ends(&device, &tickets), [20.0; 4]);
    device.advance(20.0 * MS);
    for ticket in tickets {
        assert_eq!(rounded(device.collect(ticket).unwrap().service_ns), 20.0);
    }
}

/// Three processes of a Jetson Nano submitted together: equal sharing predicts 78.3, 86.3 and 139.1 ms.
#[test]
fn unequal_jobs_leave_one_by_one() {
    let mut device = together(&[1.0]);
    let tickets = [26.1, 30.1, 82.9].map(|ms| device.arrive(0.0, work(ms)));
    assert_eq!(ends(&device, &tickets), [78.3, 86.3, 139.1]);
}

#[test]
fn a_newcomer_slows_the_others_from_then_on() {
    let mut device = together(&[1.0]);
    let first = device.arrive(0.0, work(10.0));
    let second = device.arrive(4.0 * MS, work(3.0));
    // 6 and 3 left at 4 ms; the second is done at 10, the first has 3 left and the processor alone.
    assert_eq!(ends(&device, &[first, second]), [13.0, 10.0]);
}

#[test]
fn a_speed_up_curve_makes_company_cheap() {
    let mut device = together(&[1.0, 1.6, 1.9]);
    let pair = [8.0; 2].map(|ms| device.arrive(0.0, work(ms)));
    assert_eq!(ends(&device, &pair), [10.0; 2]);
    let mut device = together(&[1.0, 1.6, 1.9]);
    let five = [1.9; 5].map(|ms| device.arrive(0.0, work(ms)));
    assert_eq!(ends(&device, &five), [5.0; 5]);
}

#[test]
fn alternating_models_reload_and_runs_of_one_do_not() {
    let mut device = Schedule::new(Sharing::Exclusive);
    let order = [1, 1, 2, 1, 1, 2, 2];
    let tickets = order.map(|group| device.arrive(0.0, cached(5.0, group, 15.0)));
    device.advance(1000.0 * MS);
    let reloads = tickets.map(|ticket| device.collect(ticket).unwrap().reload_ns / MS);
    assert_eq!(reloads, [15.0, 0.0, 15.0, 15.0, 0.0, 15.0, 0.0]);
}

#[test]
fn a_group_keeps_its_parameters_and_a_model_without_any_drops_them() {
    let mut device = Schedule::new(Sharing::Exclusive);
    // Two models of group 1, one of group 2 that keeps nothing on the chip.
    let order = [cached(5.0, 1, 15.0), cached(7.0, 1, 10.0), cached(5.0, 2, 0.0), cached(7.0, 1, 10.0)];
    let tickets = order.map(|work| device.arrive(0.0, work));
    device.advance(1000.0 * MS);
    let spent = tickets.map(|ticket| device.collect(ticket).unwrap());
    assert_eq!(spent.map(|spent| spent.reload_ns / MS), [15.0, 0.0, 0.0, 10.0]);
    assert_eq!(spent.map(|spent| spent.service_ns / MS), [20.0, 7.0, 5.0, 17.0]);
}

#[test]
fn one_that_is_given_up_makes_room() {
    let mut device = Schedule::new(Sharing::Exclusive);
    let tickets = [5.0, 5.0, 5.0].map(|ms| device.arrive(0.0, work(ms)));
    device.abandon(2.0 * MS, tickets[0]);
    assert_eq!(ends(&device, &tickets[1..]), [7.0, 12.0]);
    device.abandon(2.0 * MS, tickets[1]);
    assert_eq!(ends(&device, &tickets[2..]), [7.0]);
    let mut device = together(&[1.0]);
    let pair = [5.0; 2].map(|ms| device.arrive(0.0, work(ms)));
    device.abandon(2.0 * MS, pair[0]);
    assert_eq!(ends(&device, &pair[1..]), [6.0]);
}

#[test]
fn one_that_hangs_holds_an_exclusive_device_and_its_share_of_another() {
    let mut device = Schedule::new(Sharing::Exclusive);
    let hung = device.arrive(0.0, work(f64::INFINITY));
    let waiting = device.arrive(0.0, work(1.0));
    device.advance(1000.0 * MS);
    assert_eq!(ends(&device, &[hung, waiting]), [f64::INFINITY; 2]);
    let mut device = together(&[1.0]);
    device.arrive(0.0, work(f64::INFINITY));
    let other = device.arrive(0.0, work(1.0));
    assert_eq!(ends(&device, &[other]), [2.0]);
    device.advance(2.0 * MS);
    assert!(device.collect(other).is_some());
}

#[test]
fn responses_in_between_are_predicted_by_the_work_that_is_left() {
    let mut device = together(&[1.0]);
    let first = device.arrive(0.0, work(10.0));
    let second = device.arrive(0.0, work(2.0));
    let at = |device: &Schedule, left_ms: f64| rounded(device.predict(first, left_ms * MS));
    assert_eq!([9.0, 8.0, 5.0, 0.0].map(|left| at(&device, left)), [2.0, 4.0, 7.0, 12.0]);
    device.advance(7.0 * MS);
    assert!(device.collect(second).is_some());
    assert_eq!(at(&device, 9.0), 7.0);
}

#[test]
fn work_of_no_time_is_over_on_arrival() {
    let mut device = Schedule::new(Sharing::Exclusive);
    let ticket = device.arrive(3.0 * MS, work(0.0));
    assert_eq!(device.collect(ticket), Some(Spent::default()));
    // But not before those ahead of it.
    let ahead = device.arrive(3.0 * MS, work(1.0));
    let behind = device.arrive(3.0 * MS, work(0.0));
    assert_eq!(ends(&device, &[ahead, behind]), [4.0, 4.0]);
    assert_eq!(device.collect(behind), None);
}

/// A year on, thirds of a processor must still add up.
#[test]
fn rounding_leaves_nobody_behind() {
    let mut device = together(&[1.0]);
    let mut now_ns = 365.0 * 24.0 * 3600.0 * 1e9;
    for _ in 0..1000 {
        let tickets = [1.1, 2.3, 3.7].map(|ms| device.arrive(now_ns, work(ms)));
        let last = device.predict(tickets[2], 0.0);
        device.advance(last + 10.0);
        assert!(tickets.iter().all(|&ticket| device.collect(ticket).is_some()));
        now_ns = last + 10.0;
    }
    assert!(device.jobs.is_empty() && device.finished.is_empty());
}
