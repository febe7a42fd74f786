//! What taking nearly constant service times as constant does to a prediction.

use std::num::NonZeroU32;

use edgemux_calibration::predict::{Effort, Predictor};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Session, System};
use edgemux_calibration::terms::Terms;
use edgemux_calibration::units::{Hertz, Quantile, Scv, Seconds};

#[test]
fn a_spread_of_three_per_cent_moves_p99_by_less_than_half_a_per_cent() {
    let mut predictor = Predictor::new(Effort::Quick);
    for mode in [Mode::FIRST_COME, Mode::Concurrent { width: NonZeroU32::MAX }] {
        for utilisation in [0.2, 0.5, 0.8] {
            let mut p99 = |cv: f64| -> Vec<f64> {
                let session = |ms: f64| Session {
                    name: String::new(),
                    profile: Profile::of(Seconds::from_ms(ms).unwrap(), Scv::new(cv * cv).unwrap()),
                    terms: Terms::poisson(Hertz::new(utilisation / ms * 1e3 / 3.0).unwrap(), None),
                };
                let device = Device { mode, ..Device::new("", DeviceKind::Gpu) };
                let sessions = vec![session(5.0), session(20.0), session(60.0)];
                let system = System { device, host: Host::idle(NonZeroU32::MIN), sessions };
                let prediction = predictor.predict(&system).unwrap();
                prediction.sessions.iter().map(|latency| latency.quantile(Quantile::P99)).collect()
            };
            for (steady, spread) in p99(0.0).into_iter().zip(p99(0.03)) {
                assert!((steady / spread - 1.0).abs() < 0.005, "{mode:?} {utilisation}: {steady} {spread}");
            }
        }
    }
}
