//! Where sessions are isolated, each has a worker of its own: what one does to its process is nobody else's matter.

use edgemux_proto::edgemux::v1::{Multiplexing, Worker};
use edgemux_tests::{Client, Emulated, Load, PATIENCE, Process, Setup, echo, eventually};
use tonic::Code;

const DEVICE: &str = "
[[device]]
name = 'gpu0'
kind = 'gpu'
runtimes = ['emulator']
isolation = 'session'
multiplexing = 'time-sliced'
width = 2
";

async fn workers(client: &Client) -> Vec<Worker> {
    client.device("gpu0").await.workers
}

async fn worker_of(client: &Client, session: &str) -> Process {
    eventually(&format!("{session} has a worker"), PATIENCE, async || {
        let workers = workers(client).await;
        workers.iter().find(|worker| worker.session == session).and_then(|worker| Process::of(worker.pid))
    })
    .await
}

#[tokio::test]
async fn each_session_has_a_process_of_its_own_which_ends_with_it() {
    let model = || Emulated::new(2.0).not_at_start();
    let daemon = Setup::bare(DEVICE).emulated("a", model()).emulated("b", model()).start().await;
    let client = daemon.client().await;
    assert!(workers(&client).await.is_empty(), "nobody is there whose worker it could be");
    client.load("a").await.unwrap();
    client.load("b").await.unwrap();
    let (a, b) = (worker_of(&client, "a/1").await, worker_of(&client, "b/1").await);
    assert_ne!(a, b);
    client.infer(echo("a", [1.0; 4])).await.unwrap();
    client.infer(echo("b", [1.0; 4])).await.unwrap();
    // Its memory is free when the answer comes.
    client.unload("a").await.unwrap();
    assert!(!a.is_running());
    assert_eq!(worker_of(&client, "b/1").await, b);
    assert_eq!(workers(&client).await.len(), 1);
    client.infer(echo("b", [1.0; 4])).await.unwrap();
    // One that is loaded again is another session, ready beside the old one before that goes.
    client.load("b").await.unwrap();
    assert!(!b.is_running());
    client.infer(echo("b", [1.0; 4])).await.unwrap();
    assert_eq!(workers(&client).await.len(), 1);
}

#[tokio::test]
async fn a_model_that_kills_its_worker_disturbs_no_other_session() {
    let crash = "kind = 'crash'\nafter-requests = 20";
    let daemon = Setup::bare(DEVICE)
        .emulated("a", Emulated::new(2.0).not_at_start().fault(crash))
        .emulated("b", Emulated::new(2.0).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    client.load("a").await.unwrap();
    client.load("b").await.unwrap();
    let b = worker_of(&client, "b/1").await;
    let load = Load::start(&daemon, &echo("b", [1.0; 4]), 2).await;
    eventually("a is quarantined", PATIENCE, async || {
        let answer = client.infer(echo("a", [1.0; 4])).await;
        answer.is_err_and(|status| status.message().contains("quarantined")).then_some(())
    })
    .await;
    load.until_succeeded(50).await;
    let failed: Vec<_> = load.stop().await.into_iter().filter(|outcome| outcome.code != Code::Ok).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(worker_of(&client, "b/1").await, b, "it is the one that it was");
    let left = workers(&client).await;
    assert_eq!((left.len(), left[0].restarts), (1, 0), "the worker of what is quarantined is gone: {left:?}");
}

#[tokio::test]
async fn a_model_that_does_not_load_leaves_no_worker_behind() {
    let daemon = Setup::bare(DEVICE)
        .file("broken", "1/model.emu.toml", b"mean-ms = 'much'")
        .emulated("good", Emulated::new(2.0).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    client.load("broken").await.unwrap_err();
    eventually("no worker is left", PATIENCE, async || workers(&client).await.is_empty().then_some(())).await;
    assert!(daemon.process().children().is_empty());
    client.load("good").await.unwrap();
    client.infer(echo("good", [1.0; 4])).await.unwrap();
}

#[tokio::test]
async fn time_slices_are_the_drivers_and_several_are_with_the_device_at_once() {
    let model = || Emulated::new(300.0).not_at_start();
    let daemon = Setup::bare(DEVICE).emulated("a", model()).emulated("b", model()).start().await;
    let client = daemon.client().await;
    client.load("a").await.unwrap();
    client.load("b").await.unwrap();
    let device = client.device("gpu0").await;
    assert_eq!(device.configured_multiplexing(), Multiplexing::TimeSliced);
    let running = [client.spawn(echo("a", [1.0; 4])), client.spawn(echo("b", [1.0; 4]))];
    client.until_load("a", 0, 1).await;
    client.until_load("b", 0, 1).await;
    for request in running {
        request.await.unwrap().unwrap();
    }
}
