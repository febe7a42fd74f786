//! What every policy promises, on random applications.

mod common;

use common::{apps, catalogue, corrected, fill, kinds, ours, policies};
use edgemux_calibration::units::Hertz;
use edgemux_placement::assess::{Assess, Limits, Paper as PaperJudge};
use edgemux_placement::cluster::Cluster;
use edgemux_placement::plan::{Refusal, Step};
use edgemux_placement::policy::{Order, Paper, Policy};
use proptest::prelude::*;

fn cluster() -> Cluster {
    Cluster::new(catalogue(), kinds())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_node_is_ever_over_its_memory(apps in apps(30)) {
        for mut policy in policies() {
            let mut cluster = cluster();
            fill(&mut cluster, policy.as_mut(), &apps);
            for (node, load) in cluster.nodes() {
                let most = 0.8 * cluster.catalogue().kind(load.kind()).device.memory as f64;
                prop_assert!(load.memory() as f64 <= most, "{}: {node:?} {}", policy.name(), load.memory());
            }
        }
    }

    #[test]
    fn whatever_is_hosted_is_hosted_at_its_whole_rate(apps in apps(30)) {
        for mut policy in policies() {
            let mut cluster = cluster();
            let hosted = fill(&mut cluster, policy.as_mut(), &apps);
            prop_assert_eq!(hosted.len(), cluster.hosted());
            for (id, app) in cluster.apps() {
                let (served, wanted) = (cluster.served(id), app.terms.rate.get());
                let whole = if hosted.contains(&id) { wanted } else { 0.0 };
                prop_assert!((served - whole).abs() < 1e-9 * wanted, "{}: {served} of {wanted}", policy.name());
            }
        }
    }

    #[test]
    fn every_node_keeps_its_objectives_by_the_policy_s_own_judge(apps in apps(24)) {
        let mut cluster = cluster();
        fill(&mut cluster, &mut ours(), &apps);
        for (node, load) in cluster.nodes().filter(|(_, load)| !load.is_idle()) {
            let outlook = corrected(0.95).assess(cluster.catalogue(), load);
            prop_assert!(outlook.is_ok_and(|outlook| outlook.slack >= 0.0), "ours: {node:?} {outlook:?}");
        }
        for order in [Order::DepthFirst, Order::BreadthFirst, Order::Heterogeneous] {
            let mut judge = PaperJudge { limits: Limits::PAPER };
            let mut cluster = Cluster::new(catalogue(), kinds());
            fill(&mut cluster, &mut Paper { order, judge, formulas: "paper" }, &apps);
            for (node, load) in cluster.nodes().filter(|(_, load)| !load.is_idle()) {
                let outlook = judge.assess(cluster.catalogue(), load);
                prop_assert!(outlook.is_ok(), "{order:?}: {node:?} {outlook:?}");
            }
        }
    }

    #[test]
    fn the_same_applications_give_the_same_placement(apps in apps(24)) {
        for (mut once, mut again) in policies().into_iter().zip(policies()) {
            let (mut first, mut second) = (cluster(), cluster());
            fill(&mut first, once.as_mut(), &apps);
            fill(&mut second, again.as_mut(), &apps);
            prop_assert!(first.nodes().eq(second.nodes()), "{}", once.name());
        }
    }

    #[test]
    fn in_which_order_nodes_are_listed_makes_no_difference_to_ours(
        apps in apps(24),
        order in Just(kinds()).prop_shuffle(),
    ) {
        let (mut one, mut other) = (cluster(), Cluster::new(catalogue(), order));
        let hosted = fill(&mut one, &mut ours(), &apps);
        prop_assert_eq!(hosted, fill(&mut other, &mut ours(), &apps));
        let contents = |cluster: &Cluster| {
            let mut all: Vec<String> = cluster.nodes().map(|(_, load)| format!("{load:?}")).collect();
            all.sort();
            all
        };
        prop_assert_eq!(contents(&one), contents(&other));
    }

    #[test]
    fn a_node_that_is_ranked_first_can_host_all_of_it(apps in apps(24)) {
        for mut policy in policies() {
            let mut cluster = cluster();
            let (last, before) = apps.split_last().unwrap();
            fill(&mut cluster, policy.as_mut(), before);
            let id = cluster.announce(last.clone());
            let ranked = policy.rank(&cluster, id, 3);
            prop_assert!(ranked.len() <= 3);
            match policy.place(&cluster, id) {
                Ok(plan) => {
                    if let ([first, ..], [.., Step::Host { node, rate, .. }]) = (&ranked[..], &plan.steps[..]) {
                        prop_assert_eq!(first, node, "{}", policy.name());
                        prop_assert_eq!(*rate, last.terms.rate.get());
                    }
                }
                Err(refusal) => {
                    prop_assert!(ranked.is_empty(), "{}: {refusal}", policy.name());
                    prop_assert!(matches!(refusal, Refusal::Full(_)));
                }
            }
        }
    }

    #[test]
    fn no_step_of_any_plan_leaves_a_hosted_application_with_less_than_its_rate(
        apps in apps(24),
        drifts in prop::collection::vec((0_usize..24, 0.3..3.0), 1..8),
    ) {
        let (mut cluster, mut policy) = (cluster(), ours());
        let step_by_step = |cluster: &mut Cluster, plan: &edgemux_placement::plan::Plan| {
            for step in &plan.steps {
                let whole: Vec<_> = cluster
                    .apps()
                    .filter(|(id, app)| cluster.served(*id) >= app.terms.rate.get() * (1.0 - 1e-9))
                    .map(|(id, _)| id)
                    .collect();
                cluster.step(step);
                for id in whole {
                    let (served, wanted) = (cluster.served(id), cluster.app(id).terms.rate.get());
                    prop_assert!(served >= wanted * (1.0 - 1e-9), "{step:?} leaves {served} of {wanted}");
                }
            }
            Ok(())
        };
        for app in &apps {
            let id = cluster.announce(app.clone());
            if let Ok(plan) = policy.place(&cluster, id) {
                step_by_step(&mut cluster, &plan)?;
            }
        }
        let hosted = cluster.hosted();
        for (at, factor) in drifts {
            let known: Vec<_> = cluster.apps().map(|(id, app)| (id, app.terms.rate.get())).collect();
            let (id, rate) = known[at % known.len()];
            cluster.drift(id, Hertz::new(rate * factor).unwrap());
        }
        let plan = policy.rebalance(&cluster);
        step_by_step(&mut cluster, &plan)?;
        prop_assert_eq!(cluster.hosted(), hosted);
        let plan = policy.consolidate(&cluster);
        let used = cluster.used();
        step_by_step(&mut cluster, &plan)?;
        prop_assert_eq!(cluster.hosted(), hosted);
        prop_assert!(cluster.used() <= used);
        for (id, app) in cluster.apps().filter(|(id, _)| !cluster.homes(*id).is_empty()) {
            let (served, wanted) = (cluster.served(id), app.terms.rate.get());
            prop_assert!((served / wanted - 1.0).abs() < 1e-9, "{served} of {wanted}");
        }
    }

    #[test]
    fn rebalancing_never_breaks_what_holds(
        apps in apps(24),
        drifts in prop::collection::vec((0_usize..24, 0.3..3.0), 1..8),
    ) {
        let (mut cluster, mut policy) = (cluster(), ours());
        let hosted = fill(&mut cluster, &mut policy, &apps);
        for (at, factor) in drifts {
            if let Some(&id) = hosted.get(at) {
                let rate = cluster.app(id).terms.rate.get() * factor;
                cluster.drift(id, Hertz::new(rate).unwrap());
            }
        }
        let holds = |cluster: &Cluster| -> Vec<bool> {
            let mut judge = corrected(0.95);
            cluster.nodes().map(|(_, load)| judge.assess(cluster.catalogue(), load).is_ok()).collect()
        };
        let before = holds(&cluster);
        let plan = policy.rebalance(&cluster);
        cluster.apply(&plan);
        let after = holds(&cluster);
        prop_assert!(before.iter().zip(&after).all(|(before, after)| *after || !*before), "{before:?} {after:?}");
        if before.iter().all(|holds| *holds) {
            prop_assert!(plan.is_empty(), "{plan:?}");
        }
    }
}
