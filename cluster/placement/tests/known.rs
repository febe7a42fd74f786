//! Cases whose answer is known.

mod common;

use common::{CPU, EDGETPU, GPU, app, catalogue, corrected, fill, ours, policies};
use edgemux_calibration::units::Hertz;
use edgemux_placement::app::App;
use edgemux_placement::assess::{Assess, Limits, Paper as PaperJudge};
use edgemux_placement::bound::{BoundError, exact, relaxed};
use edgemux_placement::catalogue::KindId;
use edgemux_placement::cluster::{Cluster, NodeId};
use edgemux_placement::load::{Load, Setting, Tenant};
use edgemux_placement::plan::{Refusal, Step};
use edgemux_placement::policy::ours::Options;
use edgemux_placement::policy::{Fit, Knapsack, Ours, Policy};

fn cluster(kinds: &[KindId]) -> Cluster {
    Cluster::new(catalogue(), kinds.iter().copied())
}

#[test]
fn knapsacks_fit_first_best_and_worst() {
    // 60 MB beside 120 MB, then one that fits both nodes.
    let apps = [app(2, 0.1, 1e3, false), app(0, 0.1, 1e3, false), app(0, 0.1, 1e3, false)];
    let go = |fit| {
        let mut cluster = cluster(&[GPU, GPU]);
        let mut policy = Knapsack { fit, utilisation: false, limits: Limits::PAPER };
        // The first two on nodes of their own.
        for (node, app) in [(1, &apps[0]), (0, &apps[1])] {
            let id = cluster.announce(app.clone());
            cluster.step(&Step::Host { app: id, node: NodeId(node), rate: app.terms.rate.get() });
        }
        let id = cluster.announce(apps[2].clone());
        policy.rank(&cluster, id, 1)[0]
    };
    assert_eq!(go(Fit::First), NodeId(0));
    assert_eq!(go(Fit::Best), NodeId(1));
    assert_eq!(go(Fit::Worst), NodeId(0));
}

#[test]
fn a_model_that_runs_nowhere_is_refused_with_that_reason() {
    for mut policy in policies() {
        let mut cluster = cluster(&[EDGETPU, CPU]);
        let id = cluster.announce(app(3, 1.0, 500.0, false));
        assert_eq!(policy.place(&cluster, id), Err(Refusal::NoKind), "{}", policy.name());
        assert!(policy.rank(&cluster, id, 5).is_empty());
    }
}

#[test]
fn models_compiled_together_share_the_chip_and_reload_nothing() {
    let catalogue = catalogue();
    let alone = Setting::of(catalogue.kind(EDGETPU));
    let together = Setting { together: true, ..alone };
    let load = |setting| {
        let mut cluster = Cluster::new(catalogue.clone(), [EDGETPU]);
        let mut load = Load::idle(EDGETPU, setting);
        // 4 and 7 MB on a chip of 8: the more frequent one stays whole.
        for app in [app(0, 10.0, 500.0, false), app(1, 4.0, 500.0, false)] {
            let id = cluster.announce(app.clone());
            load.push(&catalogue, Tenant::whole(id, &app));
        }
        load
    };
    let (alone, together) = (load(alone), load(together));
    let services = |load: &Load| load.classes().iter().map(|c| c.service.mean() * 1e3).collect::<Vec<_>>();
    let near = |seen: f64, wanted: f64| assert!((seen - wanted).abs() < 1e-9, "{seen} for {wanted}");
    near(services(&together)[0], 5.0);
    near(services(&together)[1], 18.0 + 23.0 * 3.0 / 7.0);
    // Alone each is reloaded after one of the other: p = 10/14, 4/14.
    near(alone.work(), 10.0 * (0.005 + 4.0 / 14.0 * 0.013) + 4.0 * (0.018 + 10.0 / 14.0 * 0.023));
    near(together.work(), 10.0 * 0.005 + 4.0 * (0.018 + 0.023 * 3.0 / 7.0));
    assert_eq!(alone.set(&catalogue, together.setting()), together);
}

#[test]
fn the_paper_s_formula_lets_in_what_breaks_an_objective_and_ours_does_not() {
    // 18 ms sharing with 60 ms: the paper has no tail.
    let catalogue = catalogue();
    let apps = [app(1, 6.0, 120.0, true), app(2, 6.0, 400.0, true)];
    let mut load = Load::idle(EDGETPU, Setting::of(catalogue.kind(EDGETPU)));
    let mut cluster = cluster(&[EDGETPU]);
    for app in &apps {
        let id = cluster.announce(app.clone());
        load.push(&catalogue, Tenant::whole(id, app));
    }
    assert!(PaperJudge { limits: Limits::PAPER }.assess(&catalogue, &load).is_ok());
    assert!(corrected(0.95).assess(&catalogue, &load).is_err());
}

#[test]
fn an_application_too_large_for_any_node_is_divided() {
    let mut cluster = cluster(&[GPU, GPU, GPU]);
    // 30 ms forty times a second.
    let large = app(2, 40.0, 300.0, false);
    let id = cluster.announce(large);
    assert!(Ours::new(Options { parts: 1, ..Options::default() }).place(&cluster, id).is_err());
    let plan = ours().place(&cluster, id).unwrap();
    cluster.apply(&plan);
    assert_eq!(cluster.homes(id).len(), 2);
    assert!((cluster.served(id) - 40.0).abs() < 1e-9);
}

#[test]
fn a_tenant_makes_way_for_one_that_can_go_nowhere_else() {
    let mut cluster = cluster(&[GPU, EDGETPU]);
    let movable = app(0, 30.0, 40.0, false);
    let id = cluster.announce(movable);
    cluster.step(&Step::Host { app: id, node: NodeId(0), rate: 30.0 });
    // Runs on a graphics processor only, and there is one.
    let bound = cluster.announce(app(3, 30.0, 40.0, false));
    let plan = ours().place(&cluster, bound).unwrap();
    cluster.apply(&plan);
    assert_eq!(cluster.homes(id), [NodeId(1)]);
    assert_eq!(cluster.homes(bound), [NodeId(0)]);
    assert_eq!(plan.moves(), 1);
}

#[test]
fn a_node_that_drift_has_broken_is_relieved() {
    let mut cluster = cluster(&[GPU, GPU]);
    let mut policy = ours();
    let hosted = fill(&mut cluster, &mut policy, &[app(0, 10.0, 60.0, false), app(1, 5.0, 90.0, false)]);
    assert_eq!(cluster.used(), 1, "both fit on one node");
    cluster.drift(hosted[1], Hertz::new(40.0).unwrap());
    let mut judge = corrected(0.95);
    let holds = |cluster: &Cluster, judge: &mut dyn Assess| {
        cluster.nodes().all(|(_, load)| judge.assess(cluster.catalogue(), load).is_ok())
    };
    assert!(!holds(&cluster, &mut judge));
    let plan = policy.rebalance(&cluster);
    cluster.apply(&plan);
    assert!(holds(&cluster, &mut judge), "{plan:?}");
    assert_eq!(cluster.hosted(), 2);
    // And back: one node is enough again.
    cluster.drift(hosted[1], Hertz::new(5.0).unwrap());
    let plan = policy.consolidate(&cluster);
    cluster.apply(&plan);
    assert_eq!(cluster.used(), 1);
}

#[test]
fn the_exact_bound_is_what_trying_everything_gives() {
    let catalogue = catalogue();
    let kinds = [EDGETPU, GPU];
    let apps: Vec<App> = (0..6)
        .map(|at| app(at % 4, 4.0 + 5.0 * f64::from(at), 90.0 + 40.0 * f64::from(at % 3), at % 2 == 0))
        .collect();
    let mut judge = corrected(0.95);
    let bound = exact::most(&catalogue, &kinds, &apps, &mut judge, true).unwrap();
    // Every application on the first node, the second, or nowhere.
    let mut best = 0;
    for choice in 0..3_usize.pow(6) {
        let place = |at: usize| choice / 3_usize.pow(at as u32) % 3;
        let bears = (0..2).all(|node| {
            let mut cluster = Cluster::new(catalogue.clone(), kinds);
            Setting::all(catalogue.kind(kinds[node])).any(|setting| {
                let mut load = Load::idle(kinds[node], setting);
                for (at, app) in apps.iter().enumerate().filter(|(at, _)| place(*at) == node) {
                    if catalogue.kind(kinds[node]).cost(app.model).is_none() {
                        return false;
                    }
                    let id = cluster.announce(apps[at].clone());
                    load.push(&catalogue, Tenant::whole(id, app));
                }
                judge.assess(&catalogue, &load).is_ok()
            })
        });
        if bears {
            best = best.max((0..6).filter(|&at| place(at) < 2).count());
        }
    }
    assert_eq!(bound, best);
    assert!(best < 6, "some do not fit, else nothing is shown");
    assert!(relaxed::most(&catalogue, &kinds, &apps, 0.95).unwrap() >= best as f64 - 1e-6);
}

#[test]
fn no_bound_is_guessed_for_too_many() {
    let apps: Vec<App> = (0..17).map(|_| app(0, 1.0, 100.0, false)).collect();
    let bound = exact::most(&catalogue(), &[GPU], &apps, &mut corrected(0.95), false);
    assert!(matches!(bound, Err(BoundError::TooMany(17))));
}
