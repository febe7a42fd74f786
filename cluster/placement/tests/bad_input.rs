//! What cannot be is an error that says so, or no place, and never a plan.

mod common;

use common::{CPU, EDGETPU, GPU, app, catalogue, corrected, policies};
use edgemux_calibration::units::{Hertz, Seconds};
use edgemux_placement::app::App;
use edgemux_placement::bound::{exact, relaxed};
use edgemux_placement::catalogue::{CatalogueError, ModelId};
use edgemux_placement::cluster::Cluster;
use edgemux_placement::plan::Refusal;
use edgemux_placement::policy::ours::Options;
use edgemux_placement::policy::{Ours, Policy};
use edgemux_placement::published;

#[test]
fn a_rate_or_a_latency_of_nothing_or_no_number_cannot_be_asked_for() {
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = Hertz::new(wrong).unwrap_err().to_string();
        assert!(error.contains("rate"), "{error}");
        // An objective of no time can be asked for; nobody keeps it.
        assert_eq!(Seconds::new(wrong).is_ok(), wrong == 0.0);
    }
    let knows_latency = |policy: &dyn Policy| !policy.name().contains("fit");
    for mut policy in policies().into_iter().filter(|policy| knows_latency(policy.as_ref())) {
        let mut cluster = Cluster::new(catalogue(), [EDGETPU, GPU, CPU]);
        let id = cluster.announce(app(0, 1.0, 0.0, false));
        let refused = policy.place(&cluster, id);
        assert!(matches!(refused, Err(Refusal::Full(_))), "{}: {refused:?}", policy.name());
    }
}

#[test]
fn a_cluster_without_nodes_hosts_nobody_and_says_why() {
    for mut policy in policies() {
        let mut cluster = Cluster::new(catalogue(), []);
        let id = cluster.announce(app(0, 1.0, 500.0, false));
        let refusal = policy.place(&cluster, id).unwrap_err();
        assert_eq!(refusal, Refusal::NoKind, "{}", policy.name());
        assert_eq!(refusal.to_string(), "its model runs on no node of this cluster");
        assert!(policy.rank(&cluster, id, 3).is_empty());
        assert!(policy.rebalance(&cluster).is_empty() && policy.consolidate(&cluster).is_empty());
    }
    let apps = [app(0, 1.0, 500.0, false)];
    assert_eq!(exact::most(&catalogue(), &[], &apps, &mut corrected(0.95), true).unwrap(), 0);
    assert_eq!(relaxed::most(&catalogue(), &[], &apps, 0.95).unwrap(), 0.0);
}

#[test]
fn of_no_applications_none_is_hosted() {
    assert_eq!(exact::most(&catalogue(), &[GPU], &[], &mut corrected(0.95), true).unwrap(), 0);
    assert_eq!(relaxed::most(&catalogue(), &[GPU], &[], 0.95).unwrap(), 0.0);
    let mut cluster = Cluster::new(catalogue(), [GPU]);
    Ours::new(Options::default()).place_all(&mut cluster, &[]);
    assert_eq!(cluster.hosted(), 0);
}

#[test]
fn a_model_that_no_catalogue_knows_runs_nowhere() {
    for mut policy in policies() {
        let mut cluster = Cluster::new(catalogue(), [EDGETPU, GPU, CPU]);
        let unknown = App { model: ModelId(99), ..app(0, 1.0, 500.0, false) };
        let id = cluster.announce(unknown);
        assert_eq!(policy.place(&cluster, id), Err(Refusal::NoKind), "{}", policy.name());
    }
}

#[test]
fn a_catalogue_that_does_not_fit_together_is_refused() {
    let mut short = catalogue();
    short.kinds[1].costs.pop();
    let error = short.check().unwrap_err();
    assert_eq!(error, CatalogueError::Costs { kind: "gpu".into(), given: 3, models: 4 });
    assert_eq!(error.to_string(), "gpu has 3 costs for 4 models");
    let mut timeless = catalogue();
    let cost = timeless.kinds[0].costs[0].as_mut().unwrap();
    cost.profile.service = edgemux_calibration::service::ServiceTime::constant(Seconds::ZERO);
    let error = timeless.check().unwrap_err().to_string();
    assert_eq!(error, "small takes no time on edgetpu");
}

#[test]
fn the_published_profiles_are_whole() {
    let catalogue = published::catalogue().unwrap();
    let count = |kind: usize| catalogue.kinds[kind].costs.iter().flatten().count();
    assert_eq!((count(0), count(1)), (9, 6));
    // As published: a MobileNet alone and its reload on a Coral, and a GoogLeNet's rate on a Nano.
    let cost = |kind: usize, model: &str| {
        let at = catalogue.models.iter().position(|name| name == model).unwrap();
        catalogue.kinds[kind].costs[at].as_ref().unwrap()
    };
    let mobilenet = cost(0, "mobilenet_v1");
    assert!((mobilenet.profile.service.mean() - 0.00455).abs() < 1e-9);
    assert!((mobilenet.profile.reload.unwrap().overhead.get() - 0.01512).abs() < 1e-9);
    assert!((1.0 / cost(1, "googlenet").profile.service.mean() - 72.0).abs() < 0.1);
}
