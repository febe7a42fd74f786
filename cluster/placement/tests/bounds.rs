//! Nobody hosts more than the bounds say.

mod common;

use common::{apps, catalogue, corrected, fill};
use edgemux_placement::bound::{exact, relaxed};
use edgemux_placement::catalogue::KindId;
use edgemux_placement::cluster::Cluster;
use edgemux_placement::policy::Ours;
use edgemux_placement::policy::ours::Options;
use proptest::prelude::*;

const KINDS: [KindId; 2] = [common::EDGETPU, common::GPU];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn ours_is_never_above_the_bounds(apps in apps(9), factor in 1.0..8.0) {
        let apps: Vec<_> = apps.into_iter().map(|mut app| {
            let rate = app.terms.rate.get() * factor;
            app.terms.rate = edgemux_calibration::units::Hertz::new(rate).unwrap();
            app
        }).collect();
        let mut judge = corrected(0.95);
        let most = exact::most(&catalogue(), &KINDS, &apps, &mut judge, true).unwrap();
        let above = relaxed::most(&catalogue(), &KINDS, &apps, 0.95).unwrap();
        prop_assert!(most as f64 <= above + 1e-6, "{most} of {above}");
        let mut policy = Ours::new(Options { parts: 1, ..Options::default() });
        let mut cluster = Cluster::new(catalogue(), KINDS);
        let one_by_one = fill(&mut cluster, &mut policy, &apps).len();
        let mut cluster = Cluster::new(catalogue(), KINDS);
        let ids: Vec<_> = apps.iter().map(|app| cluster.announce(app.clone())).collect();
        policy.place_all(&mut cluster, &ids);
        prop_assert!(one_by_one <= most && cluster.hosted() <= most, "{one_by_one}, {} of {most}", cluster.hosted());
    }
}
