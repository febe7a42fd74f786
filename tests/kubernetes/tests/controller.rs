//! Whatever happens, every session ends placed once or refused with a reason, and the daemons hold exactly what the statuses say.

use std::time::{Duration, Instant};

use edgemux_cluster_api::session::PlacementState;
use edgemux_kubernetes_tests::{Ground, assets, session};
use edgemux_tests::echo;
use kube::api::{DeleteParams, ListParams};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// A bound on hanging, on a machine that does other things besides.
const SETTLED: Duration = Duration::from_secs(300);

fn sessions(prefix: &str, count: usize, rate_hz: u32) -> Vec<Value> {
    (0..count).map(|number| session(&format!("{prefix}-{number}"), rate_hz)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_are_each_placed_once_or_refused_with_a_reason() {
    let Some(assets) = assets("two_hundred_at_once_are_each_placed_once_or_refused_with_a_reason") else {
        return;
    };
    let ground = Ground::start(&assets, 4, 1).await;
    let begun = Instant::now();
    // 0.04 of a device each: eight devices in all, and there are four.
    ground.create(&sessions("s", 200, 10)).await;
    let created = begun.elapsed();
    let (placed, refused) = ground.settled(2 * SETTLED).await;
    println!(
        "200 sessions made in {created:.1?}, settled after {:.1?}: {placed} placed, {refused} refused",
        begun.elapsed()
    );
    assert_eq!(placed + refused, 200);
    // How many depends on how fast this machine is: what a device bears is measured.
    assert!(placed >= 4 && refused >= 4, "{placed} placed, {refused} refused");

    // A place is where it is said to be.
    let listed = ground.sessions().list(&ListParams::default()).await.unwrap().items;
    let place = listed.iter().find_map(|session| session.status.as_ref()?.placements.first()).unwrap();
    let node = ground.nodes.iter().find(|node| node.name() == place.node).unwrap();
    assert_eq!(place.endpoint, node.endpoint());
    node.client().await.infer(echo(&place.session_name, [1.0, 2.0, 3.0, 4.0])).await.unwrap();

    // Those that were refused come in when others leave.
    let mut left = 0;
    for session in
        listed.iter().filter(|session| session.status.as_ref().is_some_and(|s| !s.placements.is_empty()))
    {
        if left < placed / 2 {
            ground
                .sessions()
                .delete(session.metadata.name.as_ref().unwrap(), &DeleteParams::default())
                .await
                .unwrap();
            left += 1;
        }
    }
    let begun = Instant::now();
    let refused_then = loop {
        let (placed_then, refused_then) = ground.settled(2 * SETTLED).await;
        assert_eq!(placed_then + refused_then, 200 - left);
        if refused_then < refused {
            break refused_then;
        }
        assert!(begun.elapsed() < SETTLED, "{left} have left, and {refused_then} are refused still");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    println!("{left} left, {} came in after {:.1?}", refused - refused_then, begun.elapsed());
    ground.delete_all(SETTLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_has_its_sessions_placed_again() {
    let Some(assets) = assets("a_daemon_that_is_killed_has_its_sessions_placed_again") else { return };
    let mut ground = Ground::start(&assets, 3, 1).await;
    ground.create(&sessions("s", 24, 4)).await;
    assert_eq!(ground.settled(SETTLED).await, (24, 0));
    let busy = busiest(&ground).await;
    for _ in 0..2 {
        ground.nodes[busy].kill_daemon().await;
        ground.nodes[busy].start_daemon().await;
        // Its epoch is another: what the statuses say of it is not so.
        assert_eq!(ground.settled(SETTLED).await, (24, 0));
    }
    ground.delete_all(SETTLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_has_its_sessions_placed_elsewhere() {
    let Some(assets) = assets("a_node_that_is_gone_has_its_sessions_placed_elsewhere") else { return };
    let mut ground = Ground::start(&assets, 3, 1).await;
    ground.create(&sessions("s", 18, 4)).await;
    assert_eq!(ground.settled(SETTLED).await, (18, 0));
    let busy = busiest(&ground).await;
    ground.nodes[busy].kill().await;
    let gone = Instant::now();
    let name = ground.nodes[busy].name().to_owned();
    assert_eq!(ground.settled(SETTLED).await, (18, 0));
    println!("{name} gone, everything elsewhere after {:.1?}", gone.elapsed());
    let places = ground.placements().await;
    assert!(places.values().all(|place| !place.starts_with(&name)), "{places:?}");

    // It comes back, with nothing, and takes its part again.
    ground.nodes[busy].start_daemon().await;
    ground.nodes[busy].start_publisher();
    ground.create(&sessions("t", 6, 4)).await;
    assert_eq!(ground.settled(SETTLED).await, (24, 0));
    ground.delete_all(SETTLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_killed_at_any_moment_leaks_nothing() {
    let Some(assets) = assets("a_controller_that_is_killed_at_any_moment_leaks_nothing") else { return };
    let mut ground = Ground::start(&assets, 3, 1).await;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..10 {
        ground.create(&sessions(&format!("r{round}"), 6, 4)).await;
        if round > 0 {
            // Places are given back in the middle of it too.
            let some = format!("r{}-{}", round - 1, round % 6);
            ground.sessions().delete(&some, &DeleteParams::default()).await.unwrap();
        }
        match round % 3 {
            0 => ground.some_place(PlacementState::Asking, SETTLED).await,
            1 => ground.some_place(PlacementState::Reserved, SETTLED).await,
            _ => tokio::time::sleep(Duration::from_millis(random.random_range(0..4000))).await,
        }
        ground.kill_controller().await;
        ground.start_controller().await;
    }
    let (placed, refused) = ground.settled(SETTLED).await;
    assert_eq!((placed + refused, refused), (51, 0));
    ground.delete_all(SETTLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_controllers_one_acts_and_the_other_takes_over() {
    let Some(assets) = assets("of_two_controllers_one_acts_and_the_other_takes_over") else { return };
    let mut ground = Ground::start(&assets, 3, 2).await;
    ground.create(&sessions("a", 20, 4)).await;
    assert_eq!(ground.settled(SETTLED).await, (20, 0));
    // The first is frozen in the middle of work for longer than its Lease holds, and goes on beside the second.
    ground.create(&sessions("b", 15, 4)).await;
    let frozen = ground.freeze();
    tokio::time::sleep(Duration::from_secs(15)).await;
    ground.create(&sessions("c", 5, 4)).await;
    ground.thaw(frozen);
    assert_eq!(ground.settled(SETTLED).await, (40, 0));
    ground.create(&sessions("d", 10, 4)).await;
    ground.kill_controller().await;
    assert_eq!(ground.settled(SETTLED).await, (50, 0));
    ground.delete_all(SETTLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_for_a_minute_moves_nobody() {
    let Some(assets) = assets("an_api_server_that_is_away_for_a_minute_moves_nobody") else { return };
    // Of the silence ten seconds count, and publishers come back within ten more: lost is who is not heard of for longer. As
    // shipped it is a minute.
    let mut ground = Ground::start_with_grace(&assets, 3, 1, 30).await;
    ground.create(&sessions("s", 12, 4)).await;
    assert_eq!(ground.settled(SETTLED).await, (12, 0));
    let before = ground.placements().await;
    ground.control.stop_apiserver().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    ground.control.start_apiserver().await;
    ground.create(&sessions("t", 6, 4)).await;
    assert_eq!(ground.settled(SETTLED).await, (18, 0));
    // Nodes' Leases had run out long ago by everybody's clock.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(ground.settled(SETTLED).await, (18, 0));
    let after = ground.placements().await;
    for (name, place) in before {
        assert_eq!(after.get(&name), Some(&place), "{name} has moved");
    }
    ground.delete_all(SETTLED).await;
}

/// The node with most places.
async fn busiest(ground: &Ground) -> usize {
    let places = ground.placements().await;
    let of = |name: &str| places.values().filter(|place| place.starts_with(name)).count();
    let numbers = 0..ground.nodes.len();
    numbers.max_by_key(|&number| of(ground.nodes[number].name())).unwrap()
}
