//! Of several controllers one acts, whatever becomes of their ways to the API server.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::api::{Fault, Server};
use common::fleet::LEASES;
use common::{LEASE, until};
use edgemux_controller::leader::Candidate;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use tokio::sync::{oneshot, watch};

type Link = Arc<Mutex<Vec<Fault>>>;

struct One {
    leads: watch::Receiver<bool>,
    /// What happens to its requests, by turns.
    link: Link,
    stop: oneshot::Sender<()>,
}

fn candidate(server: &Server, identity: &str) -> One {
    let link = Link::default();
    let (turns, mut turn) = (Arc::clone(&link), 0);
    let client = server.client_through(move |_, _| {
        let turns = turns.lock().unwrap();
        turn += 1;
        if turns.is_empty() { Fault::None } else { turns[turn % turns.len()] }
    });
    let (sender, leads) = watch::channel(false);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut candidate = Candidate::new(Api::<Lease>::namespaced(client, LEASES), "lease", identity, LEASE);
    tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        candidate.run(&sender, stopped).await;
        candidate.release().await;
    });
    One { leads, link, stop }
}

fn leading(all: &[One]) -> usize {
    all.iter().filter(|one| *one.leads.borrow()).count()
}

#[tokio::test(start_paused = true)]
async fn two_never_lead_at_once_and_somebody_does_when_the_way_is_free() {
    let server = Server::new();
    let all: Vec<_> = ["a", "b", "c"].map(|name| candidate(&server, name)).into();
    let mut seed = 7_u64;
    let mut random = |of: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % of
    };
    let (mut handovers, mut led, mut last) = (0, 0_u32, None);
    for _ in 0..400 {
        for one in &all {
            let turns = (0..1 + random(4)).map(|_| match random(9) {
                0 | 1 => Fault::Hangs,
                2 => Fault::Unheard,
                3 => Fault::Refused(500),
                4 => Fault::Refused(409),
                5 => Fault::Slow(Duration::from_millis(random(20_000))),
                6 => Fault::SlowAnswer(Duration::from_millis(random(20_000))),
                _ => Fault::None,
            });
            *one.link.lock().unwrap() = turns.collect();
        }
        for _ in 0..150 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(leading(&all) <= 1, "two lead");
            let leader = all.iter().position(|one| *one.leads.borrow());
            led += u32::from(leader.is_some());
            if leader.is_some() && leader != last {
                handovers += 1;
                last = leader;
            }
        }
    }
    assert!(
        handovers > 20 && led > 10_000,
        "{handovers} handovers, led for {led} of 60000 tenths of a second"
    );
    for one in &all {
        one.link.lock().unwrap().clear();
    }
    // Whatever hangs still ends, and then a Lease may have to run out.
    until("nobody leads", 120, || leading(&all) == 1).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(leading(&all), 1);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_before_another_begins() {
    let server = Server::new();
    let first = candidate(&server, "a");
    until("nobody leads", 5, || *first.leads.borrow()).await;
    let second = candidate(&server, "b");
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.link.lock().unwrap().push(Fault::Hangs);
    let cut = tokio::time::Instant::now();
    until("the first goes on", 15, || !*first.leads.borrow()).await;
    let stopped = cut.elapsed();
    assert!(stopped <= LEASE * 2 / 3, "it went on for {stopped:?}");
    until("nobody follows", 40, || *second.leads.borrow()).await;
    let gap = cut.elapsed() - stopped;
    assert!(gap >= Duration::from_secs(1), "a gap of {gap:?}");
}

#[tokio::test(start_paused = true)]
async fn who_stops_gives_its_lease_back() {
    let server = Server::new();
    let first = candidate(&server, "a");
    until("nobody leads", 5, || *first.leads.borrow()).await;
    let second = candidate(&server, "b");
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(first.stop);
    until("the second waits for the Lease to run out", 6, || *second.leads.borrow()).await;
    let lease = server.get(&format!("leases/{LEASES}/lease")).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "b");
    assert!(lease["spec"]["leaseTransitions"].as_i64().unwrap() >= 1);
    assert!(!*first.leads.borrow());
}
