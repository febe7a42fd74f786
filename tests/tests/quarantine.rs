//! A model that crashes its worker three times is quarantined and says why; nobody else is.

use edgemux_proto::edgemux::v1::SessionState;
use edgemux_tests::{Client, Emulated, Load, PATIENCE, Setup, assert_echo, echo, eventually};
use rustix::process::Signal;
use tonic::Code;

const REASON: &str = "quarantined: it crashed its worker 3 times";

async fn assert_quarantined(client: &Client, model: &str) {
    eventually(&format!("{model} is quarantined"), PATIENCE, async || {
        (client.session(model).await.state() == SessionState::Failed).then_some(())
    })
    .await;
    let session = client.session(model).await;
    assert!(session.reason.contains(REASON), "{session:?}");
    assert_eq!(session.crashes, 3, "{session:?}");
    let index = client.index(model).await;
    assert_eq!(index.state, "UNAVAILABLE");
    assert!(index.reason.contains(REASON), "{index:?}");
    assert!(!client.is_ready(model).await);
    let error = client.infer(echo(model, [1.0; 4])).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains(REASON), "{error:?}");
}

#[tokio::test]
async fn a_model_that_crashes_its_worker_three_times_is_quarantined_and_others_are_served() {
    // Its first request after the warm-up crashes, after each load again.
    let crashes = Emulated::new(1.0).fault("kind = 'crash'\nafter-requests = 3");
    let daemon = Setup::default()
        .emulated("crashes", crashes)
        .emulated("beside", Emulated::new(1.0))
        .emulated("elsewhere", Emulated::new(1.0).on_tpu())
        .start()
        .await;
    let client = daemon.client().await;
    let other_worker = daemon.worker(&client, "tpu0").await;
    let beside = Load::start(&daemon, &echo("beside", [1.0; 4]), 2).await;
    let elsewhere = Load::start(&daemon, &echo("elsewhere", [1.0; 4]), 2).await;
    for crash in 1..=3 {
        let error = client.infer(echo("crashes", [1.0; 4])).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "crash {crash}: {error:?}");
        beside.until_succeeded(5).await;
        elsewhere.until_succeeded(5).await;
    }
    assert_quarantined(&client, "crashes").await;

    // One request at a time is on the device: each crash hit its own model's.
    for load in [beside, elsewhere] {
        let failed: Vec<_> =
            load.stop().await.into_iter().filter(|outcome| outcome.code != Code::Ok).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
    assert_eq!(client.session("beside").await.crashes, 0);
    assert_eq!(daemon.worker(&client, "tpu0").await, other_worker);

    client.load("crashes").await.expect("loading it again gives it another chance");
    assert!(client.is_ready("crashes").await);
    assert_eq!(client.session("crashes").await.crashes, 0);
    Emulated::new(1.0).write(&daemon.setup().models(), "crashes");
    client.load("crashes").await.expect("the mended model loads");
    assert_echo(&client.infer(echo("crashes", [2.0; 4])).await.unwrap(), [2.0; 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_model_that_crashes_in_its_warm_up_is_quarantined_and_holds_up_nobody() {
    let daemon = Setup::default()
        .emulated("beside", Emulated::new(1.0))
        .emulated("crashes", Emulated::new(1.0).fault("kind = 'crash'\nafter-requests = 1").not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    let beside = Load::start(&daemon, &echo("beside", [1.0; 4]), 2).await;
    let loaded = tokio::time::timeout(PATIENCE, client.load("crashes")).await;
    let error = loaded.expect("it is told at the third crash").unwrap_err();
    assert!(error.message().contains(REASON), "{error:?}");
    assert_quarantined(&client, "crashes").await;
    beside.until_succeeded(5).await;
    beside.stop().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_model_that_crashes_while_it_loads_is_quarantined_at_start_and_on_request() {
    let crashes = Emulated::new(1.0).fault("kind = 'load-crash'");
    let daemon = Setup::default()
        .emulated("at-start", crashes.clone())
        .emulated("by-hand", crashes.not_at_start())
        .emulated("good", Emulated::new(1.0))
        .start()
        .await;
    let client = daemon.client().await;
    assert_quarantined(&client, "at-start").await;
    let error = client.load("by-hand").await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(error.message().contains(REASON), "{error:?}");
    assert_quarantined(&client, "by-hand").await;
    assert_echo(&client.infer(echo("good", [1.0; 4])).await.unwrap(), [1.0; 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_model_whose_worker_is_killed_from_outside_five_times_is_not_quarantined() {
    let daemon = Setup::default().emulated("innocent", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let load = Load::start(&daemon, &echo("innocent", [1.0; 4]), 2).await;
    for _ in 0..5 {
        daemon.worker(&client, "gpu0").await.signal(Signal::KILL);
        load.until_succeeded(5).await;
        client.until_ready("innocent").await;
    }
    assert_eq!(client.session("innocent").await.crashes, 0);
    assert!(load.stop().await.len() >= 25);
    daemon.stop().await;
}
