//! The story in which other servers fail: A takes 5 ms at 40/s and is promised a p99 of 60 ms; B takes 20 ms, asks for ever
//! more, and then sends ten times what it declared.
//!
//! `COLOCATION_REQUESTS=5000 EDGEMUX_QUIET=1 cargo test --release -p edgemux-tests --test colocation -- --nocapture` is the run of
//! `docs/admission.md`.

use edgemux_proto::edgemux::v1::{Excess, Terms};
use edgemux_tests::{Client, Daemon, Emulated, Poisson, Seen, Setup, echo, is_quiet, terms};

const OBJECTIVE_MS: f64 = 60.0;

fn requests() -> usize {
    std::env::var("COLOCATION_REQUESTS").ok().and_then(|value| value.parse().ok()).unwrap_or(600)
}

async fn start(multiplexing: &str) -> (Daemon, Client) {
    let device = format!(
        "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = '{multiplexing}'\n"
    );
    let daemon = Setup::bare(&device)
        .emulated("a", Emulated::new(5.0).not_at_start())
        .emulated("b", Emulated::new(20.0).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    client.admit(&a()).await;
    (daemon, client)
}

fn a() -> Terms {
    Terms { priority: 1, ..terms("a", 40.0, 0.99, OBJECTIVE_MS) }
}

/// A as declared, beside B at this rate.
async fn drive(client: &Client, b_hz: f64) -> (Seen, Seen) {
    let count = requests();
    let a = Poisson { request: echo("a", [1.0; 4]), rate_hz: 40.0, count, seed: 1 };
    let beside = (count as f64 * b_hz / 40.0) as usize;
    let b = Poisson { request: echo("b", [1.0; 4]), rate_hz: b_hz, count: beside, seed: 2 };
    tokio::join!(a.run(client.clone()), b.run(client.clone()))
}

/// What A promised holds, and A itself was held back by nothing else.
fn assert_kept(what: &str, a: &Seen) {
    let p99 = a.quantile(0.99) * 1e3;
    println!(
        "{what}: A's p50 {:.1}, p99 {p99:.1} ms, {} of {} refused",
        a.quantile(0.5) * 1e3,
        a.refused,
        requests()
    );
    assert_eq!(a.failed, Vec::<String>::new(), "{what}");
    assert!(a.refused * 100 <= requests(), "{what}: {} refused", a.refused);
    // The quantile that was promised, at this sample size; elsewhere what other servers miss by far.
    let (share, latency) = if is_quiet() { (0.01, OBJECTIVE_MS) } else { (0.10, 2.0 * OBJECTIVE_MS) };
    let most = (share * requests() as f64).ceil() as usize + 3;
    assert!(a.longer_than(latency / 1e3) <= most, "{what}: p99 {p99} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeps_its_objective_whatever_b_asks_for() {
    for asked in [10.0, 25.0, 35.0] {
        let (daemon, client) = start("auto").await;
        let b = terms("b", asked, 0.99, 500.0);
        let reserved = client.reserve("b", &b).await.unwrap();
        let verdict = reserved.verdict.expect("a verdict");
        let largest = verdict.largest_admissible_rate_hz;
        println!(
            "B asks for {asked}/s: {} under {:?} by {}, largest rate {largest:.1}/s",
            if verdict.admitted { "admitted" } else { "refused" },
            verdict.multiplexing(),
            verdict.method,
        );
        let rate = if verdict.admitted {
            client.commit(&reserved.reservation).await.unwrap();
            asked
        } else {
            assert!(!verdict.reasons.is_empty());
            // It takes what it is offered instead.
            assert!(largest > 0.0 && largest < asked);
            client.admit(&terms("b", largest, 0.99, 500.0)).await;
            largest
        };
        let (seen, _) = drive(&client, rate).await;
        assert_kept(&format!("B at {rate:.1}/s"), &seen);
        assert!(daemon.log().contains("gpu0"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeps_its_objective_when_b_sends_ten_times_what_it_declared() {
    for excess in [Excess::Refuse, Excess::BestEffort] {
        let (_daemon, client) = start("auto").await;
        let mut b = terms("b", 10.0, 0.99, 500.0);
        b.set_excess(excess);
        let verdict = client.admit(&b).await;
        let (kept, _) = drive(&client, 10.0).await;
        assert_kept(&format!("{excess:?}: B keeps its terms under {:?}", verdict.multiplexing()), &kept);
        let (flooded, b) = drive(&client, 100.0).await;
        assert_kept(&format!("{excess:?}: B sends ten times as much"), &flooded);
        let session = client.session("b").await;
        println!(
            "B: {} answered, {} refused, {} as best effort",
            b.latencies.len(),
            b.refused,
            session.excess_best_effort
        );
        match excess {
            Excess::BestEffort => assert!(session.excess_best_effort > 0),
            _ => assert!(b.refused > 0 && session.excess_refused > 0),
        }
    }
}
