//! Loading a model that serves fails no request; unloading one answers what it has admitted.

use edgemux_tests::{Emulated, Load, PATIENCE, Setup, assert_echo, echo, eventually, keywords};
use tonic::Code;

#[tokio::test]
async fn a_model_loaded_again_under_load_fails_no_request() {
    // Several threads: requests arrive while sessions change hands.
    let daemon =
        Setup::new("threads = 4\n").emulated("model", Emulated::new(0.2)).keywords("keywords").start().await;
    let client = daemon.client().await;
    let loads = [
        Load::start(&daemon, &echo("model", [1.0; 4]), 6).await,
        Load::start(&daemon, &keywords("keywords"), 2).await,
    ];
    for _ in 0..25 {
        client.load("model").await.unwrap();
        client.load("keywords").await.unwrap();
        assert!(client.is_ready("model").await && client.is_ready("keywords").await);
    }
    for load in loads {
        let failed: Vec<_> =
            load.stop().await.into_iter().filter(|outcome| outcome.code != Code::Ok).collect();
        assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_model_changed_in_the_repository_serves_changed_after_it_is_loaded_again() {
    let daemon = Setup::default().emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    Emulated::new(7.0).write(&daemon.setup().models(), "model");
    client.load("model").await.unwrap();
    client.infer(echo("model", [1.0; 4])).await.unwrap();
    let session = client.session("model").await;
    assert!((session.mean_service_ms - 7.0).abs() < 0.01, "{session:?}");
    // One that cannot be loaded leaves the one that serves.
    std::fs::write(daemon.setup().models().join("model/1/model.emu.toml"), "broken").unwrap();
    let error = client.load("model").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    assert_echo(&client.infer(echo("model", [2.0; 4])).await.unwrap(), [2.0; 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_model_unloaded_under_load_answers_what_it_has_admitted_and_takes_no_more() {
    let daemon = Setup::default().emulated("model", Emulated::new(10.0).first_takes(500.0)).start().await;
    let client = daemon.client().await;
    let admitted: Vec<_> = (0..8).map(|_| client.spawn(echo("model", [1.0; 4]))).collect();
    client.until_load("model", 7, 1).await;
    let other = client.clone();
    let unloaded = tokio::spawn(async move { other.unload("model").await });
    eventually("the unload takes effect", PATIENCE, async || {
        (client.index("model").await.state == "UNLOADING").then_some(())
    })
    .await;
    let error = client.infer(echo("model", [2.0; 4])).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert!(!unloaded.is_finished(), "it was refused after the unload, not during it");
    unloaded.await.unwrap().unwrap();
    for request in admitted {
        assert_echo(&request.await.unwrap().unwrap(), [1.0; 4]);
    }
    let error = client.infer(echo("model", [2.0; 4])).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert_eq!(client.index("model").await.state, "UNAVAILABLE");
    client.load("model").await.unwrap();
    assert_echo(&client.infer(echo("model", [2.0; 4])).await.unwrap(), [2.0; 4]);
    daemon.stop().await;
}
