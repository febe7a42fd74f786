//! Searches that once did not end: they do, and soon, whatever the queue.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its queue has failed")]

use std::sync::mpsc;
use std::time::Duration;

use edgemux_calibration::queueing::fcfs::{Class, Fcfs};
use edgemux_calibration::queueing::sharing::Shared;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::SpeedUp;
use edgemux_calibration::units::{Scv, Seconds};

/// Far longer than any of it takes on a busy machine, far shorter than without end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `work` returns, if it does.
fn ends<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::sync_channel(1);
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"))
}

#[test]
fn a_device_of_almost_unbounded_width_is_solved_at_once() {
    for width in [u32::MAX as usize, usize::MAX] {
        for load in [0.0, 1e-300, 0.5, 1.0 - 1e-9, 1.0 - f64::EPSILON, 1.0] {
            let what = format!("width {width}, load {load}");
            let shared = ends(&what, move || Shared::stationary(&SpeedUp::none(), width, load));
            assert_eq!(shared.is_none(), load >= 1.0, "{what}");
            if let Some(shared) = shared {
                let bounded = [shared.in_service, shared.waiting, shared.waits];
                assert!(bounded.iter().all(|value| value.is_finite() && *value >= 0.0), "{what}: {shared:?}");
            }
        }
    }
    // Nobody ever waits for so many places: 1/(1 − ρ) − 1 in service.
    let shared = ends("half", || Shared::stationary(&SpeedUp::none(), u32::MAX as usize, 0.5)).unwrap();
    assert!((shared.in_service - 1.0).abs() < 1e-12 && shared.waiting == 0.0);
}

/// Service times of all kinds of extremes, in two reload groups of which one is hardly ever there.
fn solve_all(utilisation: f64) {
    let seconds = |s| Seconds::new(s).unwrap();
    let atoms = [(1.0, seconds(1e-6)), (1e-12, seconds(1e6))];
    let services = [
        ("constant", ServiceTime::constant(seconds(1.0))),
        ("hardly any spread", ServiceTime::gamma(seconds(1.0), Scv::new(1e-12).unwrap())),
        ("huge spread", ServiceTime::gamma(seconds(1.0), Scv::new(1e4).unwrap())),
        ("huge third moment", ServiceTime::from_moments(1.0, 1.01, 2.0).unwrap()),
        ("shortest", ServiceTime::constant(seconds(1e-300))),
        ("longest", ServiceTime::constant(seconds(1e6))),
        ("rare and long", ServiceTime::atoms(atoms).unwrap()),
    ];
    for (name, service) in services {
        for overhead in [0.0_f64, 1e-9, 1e6] {
            let (what, service) =
                (format!("{name}, ρ = {utilisation:e}, reload {overhead} s"), service.clone());
            let decay = ends(&what, move || {
                let short = ServiceTime::constant(Seconds::new(1e-9).unwrap());
                let rate = utilisation / (service.mean() + overhead.min(service.mean()));
                let class = |rate, service, group| Class { rate, service, overhead, group };
                let classes = [class(rate, &service, 0), class(rate * 1e-9, &short, 1)];
                Fcfs::solve(&classes).map(|queue| queue.decay())
            });
            if let Ok(Some(decay)) = decay {
                assert!(decay.rate > 0.0 && !decay.factor.is_nan(), "{what}: {decay:?}");
            }
        }
    }
}

#[test]
fn the_decay_of_an_extreme_queue_is_found_or_given_up() {
    [1e-300, 1e-9, 0.5, 1.0 - 1e-6, 1.0 - 1e-12].into_iter().for_each(solve_all);
}

#[test]
fn the_decay_of_a_queue_at_the_very_edge_is_given_up() {
    solve_all(1.0 - f64::EPSILON);
}
