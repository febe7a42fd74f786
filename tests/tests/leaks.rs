//! Many requests, clients and loads leave the daemon and its workers as they were.

use edgemux_tests::{Client, Daemon, Emulated, Held, Setup, echo, eventually_equal};

/// A request, then what the daemon and the worker of `gpu0` hold: buffers that are kept for reuse are there by then.
async fn held(daemon: &Daemon, client: &Client) -> (Held, Held) {
    client.infer(echo("model", [1.0; 4])).await.unwrap();
    (daemon.held(), Held::by(daemon.worker(client, "gpu0").await))
}

/// A daemon with an emulated model, and a client; every worker is up, those that have no model too.
async fn start() -> (Daemon, Client) {
    let daemon = Setup::default().emulated("model", Emulated::new(0.0)).start().await;
    let client = daemon.client().await;
    for device in ["cpu0", "gpu0", "tpu0"] {
        daemon.worker(&client, device).await;
    }
    (daemon, client)
}

async fn requests(daemon: &Daemon, clients: usize, requests: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let client = daemon.client().await;
        tasks.spawn(async move {
            for _ in 0..requests / clients {
                client.infer(echo("model", [1.0; 4])).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn twenty_thousand_requests_gain_no_descriptor_no_thread_and_hardly_memory() {
    let (daemon, client) = start().await;
    // Buffers, connections' and the allocator's own memory reach their size first.
    requests(&daemon, 8, 4_000).await;
    let worker = daemon.worker(&client, "gpu0").await;
    let before = held(&daemon, &client).await;
    println!("daemon, worker: {before:?}");
    let resident = || [daemon.process(), worker].map(|process| process.resident_bytes() as i64);
    let mut seen = vec![resident()];
    for _ in 0..4 {
        requests(&daemon, 8, 5_000).await;
        seen.push(resident());
    }
    eventually_equal("what daemon and worker hold", before, async || held(&daemon, &client).await).await;
    println!("resident bytes of daemon and worker after every 5,000 requests: {seen:?}");
    for process in 0..2 {
        // An allocator takes a step now and then; a leak grows every time: here by 13 bytes per request.
        let growth: Vec<_> = seen.windows(2).map(|pair| pair[1][process] - pair[0][process]).collect();
        assert!(
            growth.iter().sum::<i64>() < 4 << 20 && growth.iter().any(|&bytes| bytes < 64 << 10),
            "{seen:?}"
        );
    }
    daemon.stop().await;
}

#[tokio::test]
async fn clients_that_come_and_go_and_models_loaded_again_leave_nothing() {
    let (daemon, client) = start().await;
    client.load("model").await.unwrap();
    let before = held(&daemon, &client).await;
    for _ in 0..50 {
        let other = daemon.client().await;
        // One of them is gone before its answer.
        other.spawn(echo("model", [1.0; 4])).abort();
        other.infer(echo("model", [1.0; 4])).await.unwrap();
        client.load("model").await.unwrap();
    }
    eventually_equal("what daemon and worker hold", before.clone(), async || held(&daemon, &client).await)
        .await;
    daemon.stop().await;
}
