//! The model repository is followed where the configuration asks for it, and a version takes the place of another without
//! a gap.

use std::collections::BTreeMap;

use edgemux_proto::inference::model_repository_parameter::ParameterChoice;
use edgemux_proto::inference::{ModelRepositoryParameter, RepositoryModelLoadRequest};
use edgemux_tests::{
    Client, Emulated, Load, PATIENCE, Setup, assert_echo, echo, eventually, eventually_equal,
};
use tonic::Code;

const DEVICE: &str =
    "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";

async fn until_serving(client: &Client, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
    eventually_equal("the sessions", expected, async || client.session_names().await).await;
}

#[tokio::test]
async fn what_appears_is_loaded_what_changes_is_replaced_under_load_and_what_goes_is_unloaded() {
    let daemon = Setup::bare(&format!("repository-poll-s = 0.1\n{DEVICE}"))
        .emulated("a", Emulated::new(1.0))
        .emulated("undeclared", Emulated::new(1.0).not_at_start())
        .start()
        .await;
    let (client, models) = (daemon.client().await, daemon.setup().models());
    until_serving(&client, &["a/1"]).await;
    Emulated::new(1.0).write(&models, "b");
    until_serving(&client, &["a/1", "b/1"]).await;

    let load = Load::start(&daemon, &echo("a", [1.0; 4]), 4).await;
    load.until_succeeded(20).await;
    Emulated::new(2.0).write_version(&models, "a", 2);
    until_serving(&client, &["a/2", "b/1"]).await;
    load.until_succeeded(20).await;
    // A version that cannot be loaded leaves the one that serves.
    std::fs::create_dir(models.join("a/3")).unwrap();
    std::fs::write(models.join("a/3/model.emu.toml"), "broken").unwrap();
    let said = "what is new in the repository is not loaded; what serves goes on";
    eventually(said, PATIENCE, async || daemon.log().contains(said).then_some(())).await;
    assert_eq!(client.session_names().await, ["a/2", "a/3", "b/1"], "what failed is shown");
    load.until_succeeded(20).await;
    // Mended in place, it is taken.
    Emulated::new(1.0).write_version(&models, "a", 3);
    until_serving(&client, &["a/3", "b/1"]).await;
    load.until_succeeded(20).await;
    let failed: Vec<_> = load.stop().await.into_iter().filter(|outcome| outcome.code != Code::Ok).collect();
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());

    // A declaration that somebody is in the middle of is no reason to unload.
    std::fs::write(models.join("b/model.toml"), "rate-hz = ").unwrap();
    let said = "what the repository has of it cannot be read; what serves goes on";
    eventually(said, PATIENCE, async || daemon.log().contains(said).then_some(())).await;
    std::fs::write(models.join("b/model.toml"), "").unwrap();
    std::fs::rename(&models, models.with_extension("away")).unwrap();
    let said = "the model repository cannot be followed";
    eventually(said, PATIENCE, async || daemon.log().contains(said).then_some(())).await;
    std::fs::rename(models.with_extension("away"), &models).unwrap();
    assert_eq!(client.session_names().await, ["a/3", "b/1"]);
    assert_echo(&client.infer(echo("b", [2.0; 4])).await.unwrap(), [2.0; 4]);

    std::fs::remove_dir_all(models.join("b")).unwrap();
    until_serving(&client, &["a/3"]).await;
    std::fs::remove_file(models.join("a/model.toml")).unwrap();
    until_serving(&client, &[]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_version_takes_the_place_of_another_once_it_is_ready() {
    let daemon = Setup::bare(DEVICE).emulated("a", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    Emulated::new(1.0).write_version(&daemon.setup().models(), "a", 2);
    let replacing = |replace: bool| {
        let parameter = |choice| ModelRepositoryParameter { parameter_choice: Some(choice) };
        let parameters = BTreeMap::from([
            ("version".to_owned(), parameter(ParameterChoice::Int64Param(2))),
            ("replace_versions".to_owned(), parameter(ParameterChoice::BoolParam(replace))),
        ]);
        RepositoryModelLoadRequest { model_name: "a".into(), parameters, ..Default::default() }
    };
    client.inference.clone().repository_model_load(replacing(false)).await.unwrap();
    assert_eq!(client.session_names().await, ["a/1", "a/2"]);
    let load = Load::start(&daemon, &echo("a", [1.0; 4]), 4).await;
    load.until_succeeded(20).await;
    client.inference.clone().repository_model_load(replacing(true)).await.unwrap();
    assert_eq!(client.session_names().await, ["a/2"]);
    load.until_succeeded(20).await;
    let failed: Vec<_> = load.stop().await.into_iter().filter(|outcome| outcome.code != Code::Ok).collect();
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
    assert_echo(&client.infer(echo("a", [2.0; 4])).await.unwrap(), [2.0; 4]);
    daemon.stop().await;
}
