//! What is asked first, and what a picture of a large cluster costs.

use std::collections::BTreeSet;
use std::sync::Arc;

use edgemux_cluster_api::node::{AcceleratorKind, AcceleratorNode};
use edgemux_cluster_api::session::{Placement, PlacementState};

use super::*;
use crate::identity;
use crate::samples::{accelerator, node, objective, profile, session, there};

fn nodes(objects: Vec<AcceleratorNode>, now: Instant) -> Nodes {
    let mut nodes = Nodes::new(Duration::from_secs(40));
    for object in objects {
        nodes.apply(Arc::new(object), now);
    }
    nodes
}

/// A node that runs `sessions` of somebody else's.
fn busy(name: &str, sessions: usize) -> AcceleratorNode {
    let mut object = node(name, "e", vec![accelerator("gpu")]);
    let status = object.status.as_mut().unwrap();
    for at in 0..sessions {
        let mut session = there("", "", "gpu");
        session.name = format!("other-{at}/1");
        session.rate_millihertz = 50_000;
        status.sessions.push(session);
    }
    object
}

fn place(uid: &str, node: &str, device: &str) -> Placement {
    Placement {
        replica: 0,
        state: PlacementState::Asking,
        node: node.into(),
        device: device.into(),
        endpoint: String::new(),
        session_name: String::new(),
        uid: identity::place_uid(uid, 0),
        generation: 1,
        reservation: String::new(),
        epoch: String::new(),
        prediction: None,
        at_risk: None,
    }
}

fn rank(ranking: &mut Ranking, nodes: &Nodes, session: &InferenceSession, not: &[&str]) -> Vec<String> {
    let not: BTreeSet<_> = not.iter().map(|&name| name.to_owned()).collect();
    ranking.rank(nodes, &Ask { session, not: &not, better: false }, Instant::now())
}

#[test]
fn one_expected_to_keep_it_comes_before_one_expected_to_refuse() {
    let now = Instant::now();
    // Four tenants of 50 requests per second that take 5 ms each are all that a device does.
    let nodes = nodes(vec![busy("a", 4), busy("b", 1), busy("c", 0)], now);
    let ranked = rank(&mut Ranking::default(), &nodes, &session("s"), &[]);
    assert_eq!(ranked.len(), 3);
    assert_eq!(ranked[2], "a", "{ranked:?}");
    let ranked = rank(&mut Ranking::default(), &nodes, &session("s"), &["b", "c"]);
    assert_eq!(ranked, ["a"]);
}

#[test]
fn kinds_labels_models_and_fences_are_respected() {
    let now = Instant::now();
    let tpu = node("tpu", "e", vec![accelerator("tpu")]);
    let mut gpu = node("gpu", "e", vec![accelerator("gpu")]);
    gpu.metadata.labels = Some([("zone".to_owned(), "north".to_owned())].into());
    let mut fenced = node("fenced", "e", vec![accelerator("gpu"), accelerator("cpu")]);
    fenced.status.as_mut().unwrap().accelerators[0].fenced = Some("hot".into());
    let mut without = node("without", "e", vec![accelerator("gpu")]);
    without.status.as_mut().unwrap().models = vec!["other/1".into()];
    let nodes = nodes(vec![tpu, gpu, fenced, without], now);
    let ranked = |change: &dyn Fn(&mut InferenceSession)| {
        let mut session = session("s");
        change(&mut session);
        let ranked = rank(&mut Ranking::default(), &nodes, &session, &[]);
        ranked.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(ranked(&|_| {}), ["fenced", "gpu", "tpu"]);
    assert_eq!(ranked(&|s| s.spec.kinds = vec![AcceleratorKind::EdgeTpu]), ["tpu"]);
    assert_eq!(ranked(&|s| s.spec.kinds = vec![AcceleratorKind::Gpu]), ["gpu"]);
    assert_eq!(ranked(&|s| s.spec.node_selector = [("zone".into(), "north".into())].into()), ["gpu"]);
    assert_eq!(ranked(&|s| s.spec.model.version = Some(1)), ["fenced", "gpu", "tpu"]);
    assert!(ranked(&|s| s.spec.model.version = Some(2)).is_empty());
    assert_eq!(ranked(&|s| s.spec.model.name = "other".into()), ["without"]);
}

#[test]
fn nodes_of_which_no_cost_is_known_come_by_load_after_those_that_are_expected_to_do() {
    let now = Instant::now();
    let unknown = |name: &str, load| {
        let mut object = node(name, "e", vec![accelerator("cpu")]);
        let status = object.status.as_mut().unwrap();
        status.profiles.clear();
        status.accelerators[0].load_permille = load;
        object
    };
    let nodes = nodes(vec![unknown("x", 300), unknown("y", 100), busy("b", 1), busy("c", 4)], now);
    assert_eq!(rank(&mut Ranking::default(), &nodes, &session("s"), &[]), ["b", "y", "x", "c"]);
    let mut best_effort = session("s");
    (best_effort.spec.rate_millihertz, best_effort.spec.objective) = (None, None);
    assert_eq!(rank(&mut Ranking::default(), &nodes, &best_effort, &[])[..2], ["y", "b"]);
}

#[test]
fn what_this_controller_has_just_asked_for_counts_before_it_is_published_and_only_once() {
    let now = Instant::now();
    let nodes = nodes(vec![busy("a", 1), busy("b", 1)], now);
    let mut ranking = Ranking::default();
    let heavy = |name: &str| {
        let mut session = session(name);
        session.spec.rate_millihertz = Some(100_000);
        session.spec.objective = Some(objective());
        session
    };
    let mut placed = Vec::new();
    for name in ["s", "t"] {
        let session = heavy(name);
        let first = rank(&mut ranking, &nodes, &session, &[])[0].clone();
        let status = InferenceSessionStatus {
            placements: vec![place(&format!("uid-of-{name}"), &first, "")],
            ..InferenceSessionStatus::default()
        };
        ranking.book(&session, &status);
        placed.push((session, first));
    }
    assert_ne!(placed[0].1, placed[1].1, "the second goes where the first is not");
    let picture = ranking.picture.as_ref().unwrap();
    let of = |name: &str| picture.load(picture.by_name(name));
    assert_eq!((of("a"), of("b")), (750, 750));
    // The publisher shows what was booked already.
    let (session, first) = &placed[0];
    let mut object = busy(first, 1);
    let mut shown = there(&identity::place_uid("uid-of-s", 0), "r-1", "gpu");
    shown.rate_millihertz = 100_000;
    object.status.as_mut().unwrap().sessions.push(shown);
    let mut nodes = nodes;
    nodes.apply(Arc::new(object), now);
    ranking.touched();
    ranking.picture = None;
    drop(rank(&mut ranking, &nodes, session, &[]));
    let picture = ranking.picture.as_ref().unwrap();
    assert_eq!(picture.load(picture.by_name(first)), 750, "once");
    // It is let go.
    ranking.book(session, &InferenceSessionStatus::default());
    let picture = ranking.picture.as_ref().unwrap();
    assert_eq!(picture.load(picture.by_name(first)), 250);
}

/// `EDGEMUX_TIMES=1 cargo test --release -p edgemux-controller --lib -- thousand --nocapture` shows how long it takes.
#[test]
fn two_hundred_sessions_over_a_thousand_nodes_spread_in_little_time() {
    let now = Instant::now();
    let kinds = ["gpu", "tpu", "cpu"];
    let objects = (0..1_000).map(|at| {
        let device = kinds[at % kinds.len()];
        let mut object = busy(&format!("n{at}"), 0);
        let status = object.status.as_mut().unwrap();
        status.accelerators = vec![accelerator(device)];
        status.profiles = vec![profile(device, 4_000 + 2_000 * (at % kinds.len()) as i64)];
        for tenant in 0..10 {
            let mut session = there("", "", device);
            session.name = format!("other-{tenant}/1");
            session.rate_millihertz = 1_000 + (at as i64 * 37 + tenant * 101) % 2_000;
            status.sessions.push(session);
        }
        object
    });
    let nodes = nodes(objects.collect(), now);
    let mut ranking = Ranking::default();
    let before = std::time::Instant::now();
    drop(rank(&mut ranking, &nodes, &session("first"), &[]));
    let drawn = before.elapsed();
    let before = std::time::Instant::now();
    let mut asked = BTreeSet::new();
    for at in 0..200 {
        let session = session(&format!("s{at}"));
        let ranked = rank(&mut ranking, &nodes, &session, &[]);
        let first = ranked[0].clone();
        let status = InferenceSessionStatus {
            placements: vec![place(&format!("uid-of-s{at}"), &first, "")],
            ..InferenceSessionStatus::default()
        };
        ranking.book(&session, &status);
        asked.insert(first);
    }
    let each = before.elapsed() / 200;
    if std::env::var_os("EDGEMUX_TIMES").is_some() {
        println!(
            "1,000 nodes, 10,000 tenants: drawn in {drawn:?}, then {each:?} a session, on {} nodes",
            asked.len()
        );
    }
    assert!(each < Duration::from_millis(200), "{each:?} a session");
}
