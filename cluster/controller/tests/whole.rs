//! The whole controller, on an API server and nodes in memory, while things break.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::api::{Fault, Server};
use common::fleet::Fleet;
use common::{check, create, edit, key, phases, session, start, until};
use http::Method;

fn world(nodes: usize, capacity: usize) -> (Server, Fleet, Arc<AtomicBool>) {
    let (server, fleet) = (Server::new(), Fleet::new(nodes, capacity));
    let away = Arc::new(AtomicBool::new(false));
    fleet.publish(&server);
    tokio::spawn(fleet.clone().publish_on(server.clone(), Arc::clone(&away)));
    (server, fleet, away)
}

fn in_phase(server: &Server, phase: &str) -> usize {
    phases(server).get(phase).copied().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_sessions_created_at_once_are_all_placed_once() {
    let (server, fleet, _) = world(20, 12);
    let controller = start(&server, &fleet, "one");
    until("nobody leads", 10, || controller.leads()).await;
    for at in 0..200 {
        create(&server, &format!("s{at}"));
    }
    until("not all are ready", 120, || in_phase(&server, "Ready") == 200).await;
    check(&server, &fleet);
    // Who asks well is hardly refused.
    let calls = fleet.calls();
    assert!(calls < 2 * 200 + 100, "{calls} calls for 200 sessions");
    for at in 0..200 {
        server.delete(&key(&format!("s{at}")));
    }
    until("not all are gone", 120, || server.all("inferencesessions").is_empty()).await;
    assert!(fleet.held().is_empty());
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_refused_with_reasons_until_there_is_some() {
    let (server, fleet, _) = world(2, 3);
    let controller = start(&server, &fleet, "one");
    for at in 0..8 {
        create(&server, &format!("s{at}"));
    }
    until("not as many as fit", 60, || in_phase(&server, "Ready") == 6 && in_phase(&server, "Refused") == 2)
        .await;
    let refused = (0..8).filter_map(|at| session(&server, &format!("s{at}")));
    let refused = refused.filter_map(|session| session.status).find(|status| status.placements.is_empty());
    let rejections = refused.unwrap().rejections;
    assert_eq!(rejections.len(), 2, "{rejections:?}");
    assert!(rejections.iter().all(|rejection| rejection.reason == "Objective"));
    let placed =
        (0..8).find(|at| !session(&server, &format!("s{at}")).unwrap().status.unwrap().placements.is_empty());
    server.delete(&key(&format!("s{}", placed.unwrap())));
    until("room that has come about is not used", 60, || {
        in_phase(&server, "Ready") == 6 && in_phase(&server, "Refused") == 1
    })
    .await;
    fleet.add("n9", 3);
    until("a new node is not used", 90, || in_phase(&server, "Ready") == 7).await;
    check(&server, &fleet);
    let events = server.all("events");
    assert!(events.iter().any(|event| event["reason"] == "Refused" && event["type"] == "Warning"));
    assert!(events.iter().any(|event| event["reason"] == "Admitted"));
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_in_the_middle_is_followed_by_another_and_nothing_is_held_twice() {
    for milliseconds in [0, 10, 25, 35, 50, 70, 90, 200, 1_000] {
        let (server, fleet, _) = world(8, 10);
        let first = start(&server, &fleet, "one");
        until("nobody leads", 10, || first.leads()).await;
        let second = start(&server, &fleet, "two");
        for at in 0..40 {
            create(&server, &format!("s{at}"));
        }
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        assert!(first.leads() && !second.leads());
        first.task.abort();
        until("the second does not lead", 60, || second.leads()).await;
        until("not all are ready", 120, || in_phase(&server, "Ready") == 40).await;
        // What the first had only reserved ends by itself.
        tokio::time::sleep(Duration::from_secs(130)).await;
        check(&server, &fleet);
        second.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_hands_over_at_once() {
    let (server, fleet, _) = world(2, 10);
    let first = start(&server, &fleet, "one");
    until("nobody leads", 10, || first.leads()).await;
    let second = start(&server, &fleet, "two");
    tokio::time::sleep(Duration::from_secs(20)).await;
    first.stop().await;
    until("the second waits", 6, || second.leads()).await;
    create(&server, "s");
    until("it is not placed", 30, || in_phase(&server, "Ready") == 1).await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_gone_lose_their_sessions_to_others() {
    let (server, fleet, _) = world(4, 10);
    let controller = start(&server, &fleet, "one");
    for at in 0..20 {
        create(&server, &format!("s{at}"));
    }
    until("not all are ready", 60, || in_phase(&server, "Ready") == 20).await;
    fleet.change("n0", |node| node.up = false);
    let away = |server: &Server| {
        let sessions = server.all("inferencesessions");
        sessions.iter().all(|object| {
            let places = object["status"]["placements"].as_array().unwrap();
            places.iter().any(|place| place["state"] == "Ready" && place["node"] != "n0")
        })
    };
    until("its sessions are still there", 150, || away(&server)).await;
    fleet.change("n0", |node| node.up = true);
    until("it holds them still", 120, || fleet.held().iter().all(|(node, ..)| node != "n0")).await;
    check(&server, &fleet);
    fleet.restart("n1");
    until("a daemon that started anew is empty", 60, || {
        in_phase(&server, "Ready") == 20 && fleet.held().len() == 20
    })
    .await;
    check(&server, &fleet);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_away_nothing_is_lost_and_afterwards_all_goes_on() {
    let (server, fleet, away) = world(4, 20);
    let controller = start(&server, &fleet, "one");
    for at in 0..20 {
        create(&server, &format!("s{at}"));
    }
    until("not all are ready", 60, || in_phase(&server, "Ready") == 20).await;
    let before = fleet.held();
    for (at, fault) in [Fault::Hangs, Fault::Refused(503)].into_iter().enumerate() {
        away.store(true, Ordering::Relaxed);
        server.fail(move |_, _| fault);
        server.break_watches();
        create(&server, &format!("late{at}"));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!controller.leads(), "it cannot know that it leads");
        away.store(false, Ordering::Relaxed);
        server.fail(|_, _| Fault::None);
        until("it does not go on", 400, || in_phase(&server, "Ready") == 21 + at).await;
    }
    let after = fleet.held();
    assert!(before.iter().all(|place| after.contains(place)), "somebody had to move");
    assert!(server.all("events").iter().all(|event| event["reason"] != "Lost"));
    check(&server, &fleet);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_break_conflicts_and_refusals_only_delay() {
    let (server, fleet, _) = world(6, 20);
    let mut count = 0_u32;
    server.fail(move |method, path| {
        count = count.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let lease = path.contains("/leases/");
        match (count >> 16) % 12 {
            0 if *method == Method::GET => Fault::Gone,
            1 if *method == Method::GET => Fault::Closed,
            2 if !lease => Fault::Refused(500),
            3 if *method == Method::PATCH && !lease => Fault::Refused(409),
            4 if *method == Method::PATCH && !lease => Fault::Unheard,
            _ => Fault::None,
        }
    });
    let controller = start(&server, &fleet, "one");
    for at in 0..60 {
        create(&server, &format!("s{at}"));
        if at % 10 == 0 {
            server.break_watches();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    until("not all are ready", 600, || in_phase(&server, "Ready") == 60).await;
    for at in 0..30 {
        edit(&server, &format!("s{at}"), 2_000);
        server.break_watches();
    }
    let edited = |server: &Server| {
        (0..30).all(|at| {
            let session = session(server, &format!("s{at}")).unwrap();
            session.status.unwrap().placements.iter().all(|place| place.generation == 2)
        })
    };
    until("not all are edited", 600, || edited(&server) && in_phase(&server, "Ready") == 60).await;
    server.fail(|_, _| Fault::None);
    for at in 0..10 {
        server.delete(&key(&format!("s{at}")));
    }
    until("not all are gone", 600, || server.all("inferencesessions").len() == 50).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    check(&server, &fleet);
    controller.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_remembers_is_let_go_and_what_somebody_else_has_is_not() {
    let (server, fleet, _) = world(2, 10);
    let controller = start(&server, &fleet, "one");
    create(&server, "kept");
    create(&server, "forced");
    until("not all are ready", 60, || in_phase(&server, "Ready") == 2).await;
    // Somebody removes the finaliser by hand.
    server.change(&key("forced"), |object| object["metadata"]["finalizers"] = serde_json::json!([]));
    server.delete(&key("forced"));
    until("the orphan is there still", 200, || fleet.held().len() == 1).await;
    check(&server, &fleet);
    controller.stop().await;
}
