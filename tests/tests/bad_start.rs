//! A daemon that cannot start says why in one line and exits with 1.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use edgemux_tests::{Emulated, Setup, assert_echo, echo, edgemuxd};
use tokio::net::TcpListener;

const ONE_DEVICE: &str = "[[device]]\nname = 'cpu0'\nkind = 'cpu'\nruntimes = ['onnx']\n";

/// Starts it and asserts that it ends with 1 after one line that begins with its name and holds all of `said`.
async fn assert_refused(setup: &Setup, said: &[&str]) {
    let refused = setup.refused().await;
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert!(refused.said.starts_with("edgemuxd: "), "{}", refused.said);
    for said in said {
        assert!(refused.said.contains(said), "{said:?} is not said: {}", refused.said);
    }
    // What is wrong in a configuration file is shown with the line it is on.
    let lines = if refused.said.contains("TOML") { 6 } else { 1 };
    assert!(refused.said.lines().count() <= lines, "more than a line: {}", refused.said);
}

async fn check_config(setup: &Setup) -> Output {
    let mut command = tokio::process::Command::new(edgemuxd());
    command.arg("check-config").arg(setup.path("edgemuxd.toml")).output().await.expect("it runs")
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::default().argument("--listen", &address);
    assert_refused(&setup, &["cannot listen on", &address, "in use", "--listen"]).await;
    let setup = Setup::default().argument("--metrics", &address);
    assert_refused(&setup, &["cannot serve metrics on", &address, "--metrics"]).await;
}

#[tokio::test]
async fn a_unix_socket_that_somebody_answers_on_is_refused_and_left_alone() {
    let daemon = Setup::default();
    let path = daemon.path("edgemuxd.sock");
    let address = format!("unix:{}", path.display());
    let daemon = daemon.argument("--listen", &address).start().await;
    assert_refused(&Setup::default().argument("--listen", &address), &["cannot listen on", "in use"]).await;
    assert!(!daemon.client().await.is_ready("nothing").await);
    assert!(path.exists());
    daemon.stop().await;
}

#[tokio::test]
async fn a_configuration_with_a_mistake_is_refused_and_check_config_says_the_same() {
    for (config, said) in [
        ("colour = 'red'".to_owned(), "unknown field `colour`"),
        ("[limits]\nqueue-request = 3".to_owned(), "unknown field `queue-request`"),
        (ONE_DEVICE.replace("'cpu'", "'npu'"), "unknown variant `npu`"),
        (ONE_DEVICE.replace("'onnx'", "'cuda'"), "a runtime of this release"),
        ("drain-grace-s = -1.0".to_owned(), "0 to 3600 seconds"),
        ("listen = ['0.0.0.0:0']".to_owned(), "insecure = true"),
    ] {
        let setup = Setup::bare(&config);
        let checked = check_config(&setup).await;
        let checked_said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(1), "{config}: {checked_said}");
        assert!(checked_said.contains(said), "{config}: {checked_said}");
        // The addresses that the harness gives would win over those of the file.
        if !config.starts_with("listen") {
            assert_refused(&setup, &[said]).await;
            assert_eq!(setup.refused().await.said, checked_said);
        }
    }
}

#[tokio::test]
async fn check_config_passes_a_good_file_and_names_a_missing_one() {
    let setup = Setup::new("drain-grace-s = 5.0");
    let good = check_config(&setup).await;
    assert_eq!(good.status.code(), Some(0));
    assert!(String::from_utf8(good.stdout).unwrap().trim_end().ends_with("edgemuxd.toml: ok"));
    assert!(good.stderr.is_empty());
    let missing = setup.path("nowhere.toml");
    let setup = setup.argument("--config", &missing);
    assert_refused(&setup, &["cannot read configuration", missing.to_str().unwrap(), "No such file"]).await;
}

#[tokio::test]
async fn an_address_that_everybody_reaches_is_refused_unless_the_operator_insists() {
    let anywhere = Setup::new("").argument("--listen", "0.0.0.0:0");
    assert_refused(&anywhere, &["0.0.0.0:0", "loopback", "insecure = true"]).await;
    let daemon = Setup::new("insecure = true\n").argument("--listen", "0.0.0.0:0").start().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_repository_that_cannot_be_read_is_refused() {
    let setup = Setup::default();
    let (file, missing, locked) = (setup.path("file"), setup.path("missing"), setup.path("locked"));
    std::fs::write(&file, "").unwrap();
    let setup = setup.argument("--model-repository", &file);
    assert_refused(&setup, &["model repository", file.to_str().unwrap(), "Not a directory"]).await;
    let setup = setup.argument("--model-repository", &missing);
    assert_refused(&setup, &["model repository", missing.to_str().unwrap(), "No such file"]).await;

    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read_dir(&locked).is_ok() {
        println!("not shown: a folder without permissions, which this user (root?) may read all the same");
    } else {
        let setup = setup.argument("--model-repository", &locked);
        assert_refused(&setup, &["model repository", locked.to_str().unwrap(), "Permission denied"]).await;
    }
}

#[tokio::test]
async fn a_state_directory_that_is_a_file_is_refused() {
    let setup = Setup::default();
    let file = setup.path("file");
    std::fs::write(&file, "").unwrap();
    let setup = setup.argument("--state-dir", &file);
    assert_refused(&setup, &["state directory", file.to_str().unwrap(), "--state-dir"]).await;
}

#[tokio::test]
async fn a_model_that_is_broken_at_start_keeps_no_other_from_being_served() {
    let daemon = Setup::default()
        .emulated("good", Emulated::new(1.0))
        .emulated("bad-terms", Emulated::new(1.0))
        .file("bad-terms", "model.toml", b"rate-hz = 'many'")
        .file("bad-onnx", "1/model.onnx", b"this is no model")
        .file("bad-onnx", "model.toml", b"")
        .file("no-version", "model.toml", b"")
        .file("no-file", "1/README", b"")
        .file("no-file", "model.toml", b"")
        .start()
        .await;
    let client = daemon.client().await;
    assert_echo(&client.infer(echo("good", [1.0; 4])).await.unwrap(), [1.0; 4]);
    for model in ["bad-terms", "bad-onnx", "no-file"] {
        let index = client.index(model).await;
        assert_eq!(index.state, "UNAVAILABLE", "{index:?}");
        assert!(!index.reason.is_empty(), "{index:?}");
    }
    assert!(client.index("bad-onnx").await.reason.contains("is not a model this runtime can run"));
    let log = daemon.log();
    for said in ["bad-terms/model.toml", "bad-onnx", "no-version", "holds no model file"] {
        assert!(log.contains(said), "{said:?} is not logged");
    }
    daemon.stop().await;
}
