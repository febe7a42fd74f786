//! Everything that can go wrong, in any order: afterwards every session is placed once or refused, and nothing is held by
//! nobody.

use proptest::prelude::*;

use super::world::{Fault, World};

const NODES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Event {
    Step(Fault),
    Steps(u8),
    Pass(u8),
    Sweep,
    Restart(usize),
    Up(usize, bool),
    Listed(usize, bool),
    Takes(usize, bool),
    Loads(usize, bool),
    Risky(usize, bool),
    Unload(usize),
    Replicas(i64),
    Edit,
    Delete,
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES.len();
    let fault = prop_oneof![
        Just(Fault::None),
        Just(Fault::NotDone),
        Just(Fault::Unheard),
        Just(Fault::DiesBefore),
        Just(Fault::DiesAfter),
    ];
    prop_oneof![
        8 => fault.prop_map(Event::Step),
        6 => (1..8_u8).prop_map(Event::Steps),
        6 => (1..120_u8).prop_map(Event::Pass),
        1 => Just(Event::Sweep),
        1 => node.clone().prop_map(Event::Restart),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, up)| Event::Up(node, up)),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, listed)| Event::Listed(node, listed)),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, takes)| Event::Takes(node, takes)),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, loads)| Event::Loads(node, loads)),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, risky)| Event::Risky(node, risky)),
        1 => node.prop_map(Event::Unload),
        1 => (0..4_i64).prop_map(Event::Replicas),
        1 => Just(Event::Edit),
        1 => prop_oneof![9 => Just(Event::Edit), 1 => Just(Event::Delete)],
    ]
}

fn happen(world: &mut World, event: &Event) {
    match *event {
        Event::Step(fault) => _ = world.step(fault),
        Event::Steps(steps) => (0..steps).for_each(|_| _ = world.step(Fault::None)),
        Event::Pass(seconds) => world.pass(seconds.into()),
        Event::Sweep => world.sweep(),
        Event::Restart(node) => world.restart(NODES[node]),
        Event::Up(node, up) => world.daemon(NODES[node]).up = up,
        Event::Listed(node, listed) => world.daemon(NODES[node]).listed = listed,
        Event::Takes(node, takes) => world.daemon(NODES[node]).takes = takes,
        Event::Loads(node, loads) => world.daemon(NODES[node]).loads = loads,
        Event::Risky(node, risky) => world.daemon(NODES[node]).risky = risky,
        Event::Unload(node) => world.unload(NODES[node]),
        Event::Replicas(replicas) => world.edit(|session| session.spec.replicas = replicas),
        Event::Edit => world.edit(|session| *session.spec.rate_millihertz.as_mut().unwrap() += 1),
        Event::Delete => world.delete(),
    }
}

proptest! {
    // 256 of them, or as many as PROPTEST_CASES says.
    #[test]
    fn whatever_happens_it_ends_placed_once_or_refused_and_nothing_leaks(
        replicas in 1..3_i64,
        keeps in any::<bool>(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new(&NODES, replicas);
        NODES.iter().for_each(|node| world.daemon(node).keeps = keeps);
        for event in &events {
            happen(&mut world, event);
        }
        for node in NODES {
            let daemon = world.daemon(node);
            (daemon.up, daemon.listed, daemon.risky) = (true, true, false);
        }
        world.run_for(700);
        world.check();
    }
}
