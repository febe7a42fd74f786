//! A worker that dies under load costs the requests it had, is back within a second, and leaks nothing.

use std::time::{Duration, Instant};

use edgemux_tests::{
    Client, Daemon, Emulated, Held, Load, PATIENCE, Process, Setup, echo, eventually, eventually_equal,
    keywords, shared_objects,
};
use rustix::process::Signal;
use tonic::Code;

/// Waits until `device` has another worker than `old` and `model` is ready in it.
async fn until_replaced(
    client: &Client,
    daemon: &Daemon,
    device: &str,
    model: &str,
    old: Process,
) -> Process {
    eventually(&format!("the worker of {device} is replaced"), PATIENCE, async || {
        let worker = daemon.worker(client, device).await;
        (worker != old && client.is_ready(model).await).then_some(worker)
    })
    .await
}

#[tokio::test]
async fn a_worker_killed_under_load_costs_the_requests_it_had_and_is_back_within_a_second() {
    let daemon = Setup::default().keywords("keywords").start().await;
    let client = daemon.client().await;
    let load = Load::start(&daemon, &keywords("keywords"), 4).await;
    load.until_succeeded(50).await;

    let worker = daemon.worker(&client, "cpu0").await;
    let killed = Instant::now();
    worker.signal(Signal::KILL);
    until_replaced(&client, &daemon, "cpu0", "keywords", worker).await;
    let ready = killed.elapsed();
    load.until_succeeded(50).await;
    let outcomes = load.stop().await;

    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.code != Code::Ok).collect();
    // At most one per client: those that it did not have wait for the new worker.
    assert!((1..=4).contains(&failed.len()), "{failed:?}");
    for outcome in &failed {
        assert_eq!(outcome.code, Code::Unavailable, "{outcome:?}");
        assert!(outcome.message.contains("died under the request"), "{outcome:?}");
    }
    let refused = failed.iter().map(|outcome| outcome.answered).max().expect("one failed") - killed;
    let served = outcomes.iter().filter(|outcome| outcome.sent > killed && outcome.code == Code::Ok);
    let served = served.map(|outcome| outcome.answered).min().expect("requests succeed again") - killed;
    println!(
        "{} in flight answered UNAVAILABLE after {refused:?}; ready after {ready:?}, first success {served:?}",
        failed.len()
    );
    assert!(refused < Duration::from_secs(1) && ready < Duration::from_secs(1), "{refused:?}, {ready:?}");
    assert!(served < Duration::from_secs(1), "{served:?}");
    let device = client.device("cpu0").await;
    assert_eq!((device.workers[0].restarts, device.queued, device.in_service), (1, 0, 0));
    assert_eq!(client.session("keywords").await.crashes, 0);
    daemon.stop().await;
}

/// The waits between restarts double, so that the kills are spread over three workers.
#[tokio::test]
async fn twenty_kills_under_load_leak_nothing() {
    let models = [("cpu0", "keywords"), ("gpu0", "gpu"), ("tpu0", "tpu")];
    let daemon = Setup::default()
        .keywords("keywords")
        .emulated("gpu", Emulated::new(0.5))
        .emulated("tpu", Emulated::new(0.5).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    let held = async || {
        let mut held = Vec::new();
        for (device, _) in models {
            held.push(Held::by(daemon.worker(&client, device).await));
        }
        // Last: by now the daemon has taken the client's connection.
        held.push(daemon.held());
        held
    };
    let (before, objects) = (held().await, shared_objects());

    let mut loads = Vec::new();
    for (_, model) in models {
        let request = if model == "keywords" { keywords(model) } else { echo(model, [1.0; 4]) };
        loads.push(Load::start(&daemon, &request, 2).await);
    }
    for round in 0..7 {
        if round == 6 {
            // The last death finds no load, so that the new workers hold what they held at first.
            for load in loads.drain(..) {
                let outcomes = load.stop().await;
                let codes = outcomes.iter().map(|outcome| outcome.code);
                assert!(codes.clone().all(|code| matches!(code, Code::Ok | Code::Unavailable)));
                let failed = codes.filter(|code| *code != Code::Ok).count();
                assert!(failed <= 2 * 6, "{failed} requests of two clients failed over six deaths");
            }
        }
        let mut old = Vec::new();
        for (device, _) in models {
            old.push(daemon.worker(&client, device).await);
        }
        for worker in &old {
            worker.signal(Signal::KILL);
        }
        for ((device, model), old) in models.into_iter().zip(old) {
            until_replaced(&client, &daemon, device, model, old).await;
        }
        for load in &loads {
            load.until_succeeded(5).await;
        }
    }
    println!("workers and daemon before 21 kills: {before:?}");
    eventually_equal("what workers and daemon hold", before, held).await;
    assert_eq!(shared_objects(), objects);
    daemon.stop().await;
}
