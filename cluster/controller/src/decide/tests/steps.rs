//! What is done in which case, and that it does not matter where the controller dies.

use super::world::{Fault, World};

fn placed(nodes: &[&str], replicas: i64) -> World {
    let mut world = World::new(nodes, replicas);
    world.run();
    world.check();
    world
}

#[test]
fn a_session_is_placed_on_the_first_node_that_takes_it() {
    let mut world = World::new(&["a", "b"], 1);
    world.daemon("a").takes = false;
    world.run();
    assert_eq!(world.places(), ["b Ready 1"]);
    let status = world.status();
    assert_eq!(status.rejections.len(), 1);
    assert_eq!((status.rejections[0].node.as_str(), status.rejections[0].reason.as_str()), ("a", "Memory"));
    assert_eq!(world.condition("Admitted"), "True Admitted");
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.condition("SLOAtRisk"), "False AsPredicted");
    assert_eq!(world.notes, ["Admitted", "Serving"]);
    // Finaliser, asking a, asking b, reserved, ready.
    assert_eq!(world.writes, 5);
    world.check();
    let writes = world.writes;
    world.run_for(600);
    assert_eq!(world.writes, writes, "nothing is written where nothing happens");
}

#[test]
fn wherever_the_controller_dies_the_next_one_ends_in_a_place_that_is_held_once() {
    for replicas in [1, 2] {
        for fault in [Fault::DiesBefore, Fault::DiesAfter, Fault::NotDone, Fault::Unheard] {
            for at in 0..12 {
                let mut world = World::new(&["a", "b", "c"], replicas);
                world.daemon("a").takes = false;
                for _ in 0..at {
                    world.step(Fault::None);
                }
                world.step(fault);
                world.run();
                world.run_for(60);
                world.check();
                world.delete();
                for _ in 0..at % 4 {
                    world.step(Fault::None);
                }
                world.step(fault);
                world.run();
                world.run_for(60);
                world.check();
                assert!(world.session.is_none(), "{fault:?} at {at}");
            }
        }
    }
}

#[test]
fn replicas_go_to_different_nodes_and_what_is_too_much_is_given_back() {
    let mut world = placed(&["a", "b", "c"], 3);
    assert_eq!(world.places(), ["a Ready 1", "b Ready 1", "c Ready 1"]);
    world.edit(|session| session.spec.replicas = 4);
    world.run();
    assert_eq!(world.places().len(), 3, "there are three nodes");
    assert_eq!(world.condition("Admitted"), "False NoNode");
    world.edit(|session| session.spec.replicas = 1);
    world.run();
    assert_eq!(world.places(), ["a Ready 3"]);
    world.check();
    world.edit(|session| session.spec.replicas = 0);
    world.run();
    world.check();
    assert!(world.places().is_empty());
}

#[test]
fn one_that_nobody_takes_is_refused_with_reasons_and_asked_for_again() {
    let mut world = World::new(&["a", "b"], 1);
    world.daemon("a").takes = false;
    world.daemon("b").takes = false;
    world.run();
    assert_eq!(world.condition("Admitted"), "False Refused");
    assert_eq!(world.status().rejections.len(), 2);
    world.check();
    world.run_for(300);
    let writes = world.writes;
    world.run_for(600);
    assert!(world.writes - writes < 20, "{} writes in ten minutes", world.writes - writes);
    assert_eq!(world.notes, ["Refused"], "told once");
    world.daemon("b").takes = true;
    world.run_for(310);
    assert_eq!(world.places(), ["b Ready 1"]);
    assert_eq!(world.notes, ["Refused", "Admitted", "Serving"]);
    world.check();
}

#[test]
fn without_any_node_it_says_so() {
    let mut world = World::new(&[], 1);
    world.run();
    assert_eq!(world.condition("Admitted"), "False NoNode");
    world.check();
}

#[test]
fn a_new_spec_is_asked_for_on_the_same_node_first_and_what_serves_goes_on_where_it_is_refused() {
    let mut world = placed(&["a", "b"], 1);
    world.edit(|session| session.spec.rate_millihertz = Some(20_000));
    world.run();
    assert_eq!(world.places(), ["a Ready 2"]);
    world.check();
    world.daemon("a").takes = false;
    world.edit(|session| session.spec.rate_millihertz = Some(30_000));
    world.run();
    assert_eq!(world.places(), ["b Ready 3"], "the other node takes it");
    world.check();
    world.daemon("b").takes = false;
    world.edit(|session| session.spec.rate_millihertz = Some(40_000));
    world.run();
    assert_eq!(world.places(), ["b Ready 3"], "it serves under its old terms");
    assert_eq!(world.condition("Admitted"), "False Refused");
    assert_eq!(world.condition("Ready"), "True Serving");
    world.check();
}

#[test]
fn a_lost_nodes_session_is_placed_elsewhere_and_let_go_when_the_node_is_back() {
    let mut world = placed(&["a", "b"], 1);
    world.daemon("a").up = false;
    world.run_for(60);
    assert_eq!(world.places(), ["a Ready 1"], "it may come back");
    world.run_for(60);
    assert_eq!(world.places(), ["a Leaving 1", "b Ready 1"]);
    assert!(world.notes.contains(&"Lost".to_owned()));
    world.daemon("a").up = true;
    world.run_for(60);
    assert_eq!(world.places(), ["b Ready 1"]);
    world.check();
}

#[test]
fn a_lost_node_that_nobody_stands_in_for_serves_again_when_it_is_back() {
    let mut world = placed(&["a"], 1);
    world.daemon("a").up = false;
    world.run_for(120);
    assert_eq!(world.condition("Admitted"), "False NoNode");
    assert_eq!(world.places(), ["a Leaving 1"]);
    world.daemon("a").up = true;
    world.run_for(30);
    assert_eq!(world.places(), ["a Ready 1"]);
    world.check();
}

#[test]
fn a_daemon_that_started_anew_gets_its_sessions_back() {
    let mut world = placed(&["a", "b"], 1);
    world.restart("a");
    world.run_for(5);
    assert_eq!(world.places(), ["a Ready 1"]);
    world.check();
    world.restart("a");
    world.daemon("a").takes = false;
    world.run_for(5);
    assert_eq!(world.places(), ["b Ready 1"], "if it takes them");
    world.check();
}

#[test]
fn at_risk_for_long_it_moves_only_if_somebody_else_takes_it_and_serves_meanwhile() {
    let mut world = placed(&["a", "b"], 1);
    world.daemon("a").risky = true;
    world.daemon("b").takes = false;
    world.run_for(50);
    assert_eq!(world.condition("SLOAtRisk"), "True AtRisk");
    world.run_for(600);
    assert_eq!(world.places(), ["a Ready 1"], "nobody takes it");
    assert_eq!(world.condition("SLOAtRisk"), "True AtRisk");
    world.daemon("b").takes = true;
    for _ in 0..400 {
        world.pass(5);
        while world.step(Fault::None) {
            let ready = world.places().iter().any(|place| place.contains("Ready"));
            assert!(ready, "{:?}", world.places());
        }
    }
    assert_eq!(world.places(), ["b Ready 1"]);
    assert_eq!(world.condition("SLOAtRisk"), "False AsPredicted");
    assert_eq!(world.notes, ["Admitted", "Serving", "AtRisk", "Migrated"]);
    world.check();
}

#[test]
fn a_risk_that_passes_moves_nobody() {
    let mut world = placed(&["a", "b"], 1);
    for _ in 0..10 {
        world.daemon("a").risky = true;
        world.run_for(40);
        world.daemon("a").risky = false;
        world.run_for(10);
    }
    assert_eq!(world.places(), ["a Ready 1"]);
    world.check();
}

#[test]
fn what_somebody_else_has_unloaded_comes_back() {
    let mut world = placed(&["a", "b"], 1);
    world.unload("a");
    world.run_for(120);
    assert_eq!(world.places(), ["a Ready 1"]);
    world.check();
}

#[test]
fn what_cannot_be_loaded_goes_elsewhere() {
    let mut world = World::new(&["a", "b"], 1);
    world.daemon("a").loads = false;
    world.run();
    assert_eq!(world.places(), ["b Ready 1"]);
    assert_eq!(world.status().rejections[0].reason, "LoadFailed");
    world.check();
}

#[test]
fn a_deleted_session_waits_for_its_node_but_not_for_a_lost_one() {
    let mut world = placed(&["a", "b"], 1);
    world.daemon("a").up = false;
    world.delete();
    world.run_for(30);
    assert!(world.session.is_some(), "the node holds it still");
    world.run_for(90);
    assert!(world.session.is_none());
    world.daemon("a").up = true;
    world.run_for(65);
    world.check();
}

#[test]
fn a_node_taken_out_of_the_cluster_and_put_back_holds_nothing_of_it() {
    let mut world = placed(&["a", "b"], 1);
    world.daemon("a").listed = false;
    world.run_for(10);
    assert_eq!(world.places(), ["b Ready 1"]);
    world.daemon("a").listed = true;
    world.run_for(65);
    world.check();
}
