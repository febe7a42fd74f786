//! The commands as they are run: against a server in this process, by their exit codes and their JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use edgemux_proto::inference::model_repository_parameter::ParameterChoice;
use fake::inference::DATATYPES;
use fake::{edgemux, edgemux_with, start, start_unix};
use serde_json::json;

#[tokio::test]
async fn an_unreachable_server_is_named_with_what_to_do() {
    // Port 1 is privileged and unused: nothing listens there.
    for arguments in [&["models"][..], &["infer", "m"], &["load", "m"], &["load-test", "m"]] {
        let output = edgemux(&[&["--server", "127.0.0.1:1"], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("no edgemuxd at 127.0.0.1:1"), "{stderr}");
        assert!(stderr.contains("start it with `edgemuxd --listen 127.0.0.1:1`"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    let output = edgemux(&["--server", "unix:/nonexistent/e.sock", "--json", "models"]).await;
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"]["code"], "UNREACHABLE");
    assert_eq!(object["error"]["exit_code"], 1);
}

#[tokio::test]
async fn the_server_may_be_named_in_the_environment() {
    let server = start().await;
    let output = edgemux_with(&["unload", "copy", "--json"], &[("EDGEMUX_SERVER", &server.address)]).await;
    assert_eq!(output.status.code(), Some(0));
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object, json!({"model": "copy", "unloaded": true}));
}

#[tokio::test]
async fn a_socket_serves_as_well_as_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_unix(&folder.path().join("e.sock"));
    assert_eq!(server.json(0, &["infer", "copy"]).await["model"], "copy");
}

#[tokio::test]
async fn models_shows_tensors_and_reasons() {
    let server = start().await;
    let models = server.json(0, &["models"]).await;
    let tensor = |name| json!({"name": name, "datatype": "FP32", "shape": [-1, 4]});
    assert_eq!(
        models["models"][0],
        json!({
            "name": "copy", "version": "1", "state": "READY", "reason": "", "platform": "fake",
            "inputs": [tensor("x")], "outputs": [tensor("y")],
        })
    );
    assert_eq!(models["models"][2]["reason"], "broken/1/model.onnx: not an ONNX file");
    let text = String::from_utf8(server.edgemux(&["models"]).await.stdout).unwrap();
    assert!(text.contains("x FP32 [-1,4]"), "{text}");
}

#[tokio::test]
async fn devices_and_sessions_are_listed() {
    let server = start().await;
    let devices = server.json(0, &["devices"]).await;
    assert_eq!(devices["devices"][0]["kind"], "cpu");
    assert_eq!(devices["devices"][0]["multiplexing"], "exclusive");
    assert_eq!(devices["devices"][0]["workers"][0]["pid"], 4711);
    let sessions = server.json(0, &["sessions"]).await;
    assert_eq!(sessions["sessions"][0]["state"], "ready");
    assert_eq!(sessions["sessions"][0]["terms"], json!(null));
    let text = String::from_utf8(server.edgemux(&["sessions"]).await.stdout).unwrap();
    assert!(text.contains("copy/1") && text.contains("best effort"), "{text}");
    let text = String::from_utf8(server.edgemux(&["devices"]).await.stdout).unwrap();
    assert!(text.contains("25 %") && text.contains("up"), "{text}");
}

#[tokio::test]
async fn a_load_carries_its_terms() {
    let mut server = start().await;
    let line = "load copy --version 7 --rate-hz 20.5 --latency-ms 50 --quantile 0.99 --burst 3 --priority 2";
    let loaded = server.json(0, &line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(loaded["model"], "copy");
    assert!(loaded["load_ms"].as_f64().unwrap() > 0.0);
    let request = server.loads.recv().await.unwrap();
    assert_eq!(request.model_name, "copy");
    let sent = |name: &str| request.parameters[name].parameter_choice.clone().unwrap();
    let text = |value: &str| ParameterChoice::StringParam(value.into());
    assert_eq!(sent("version"), text("7"));
    assert_eq!(sent("rate_hz"), text("20.5"));
    assert_eq!(sent("latency_ms"), text("50"));
    assert_eq!(sent("quantile"), text("0.99"));
    assert_eq!(sent("burst"), text("3"));
    assert_eq!(sent("priority"), ParameterChoice::Int64Param(2));

    server.json(0, &["load", "copy"]).await;
    assert!(server.loads.recv().await.unwrap().parameters.is_empty(), "best effort declares nothing");
}

#[tokio::test]
async fn a_model_that_is_not_admitted_ends_with_3_and_the_reason() {
    let server = start().await;
    let refused = server.json(3, &["load", "refused", "--rate-hz", "100"]).await;
    assert_eq!(refused["error"]["code"], "NOT_ADMITTED");
    assert!(refused["error"]["message"].as_str().unwrap().contains("the p99 of `other` would be 70 ms"));
    let absent = server.json(1, &["load", "absent"]).await;
    assert_eq!(absent["error"]["code"], "NOT_FOUND");
}

#[tokio::test]
async fn infer_sends_random_tensors_of_every_datatype() {
    let server = start().await;
    let shapes: Vec<String> = DATATYPES.iter().map(|datatype| format!("--shape=x_{datatype}=2,5")).collect();
    let mut arguments = vec!["infer", "all", "--seed", "9"];
    arguments.extend(shapes.iter().map(String::as_str));
    let answer = server.json(0, &arguments).await;
    let outputs = answer["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), DATATYPES.len());
    for output in outputs {
        assert_eq!(output["shape"], json!([2, 5]), "{output}");
        assert_eq!(output["first"].as_array().unwrap().len(), 8);
        assert_eq!(output["mean"].is_null(), output["datatype"] == "BYTES", "{output}");
    }
    let again = server.json(0, &arguments).await;
    assert_eq!(again["outputs"], answer["outputs"], "the same seed gives the same tensors");
    let text = String::from_utf8(server.edgemux(&["infer", "copy"]).await.stdout).unwrap();
    assert!(text.contains("copy/1 answered in") && text.contains("top 4"), "{text}");
}

#[tokio::test]
async fn infer_reads_and_writes_files() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let values: Vec<u8> = (0u8..8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    std::fs::write(path("x.raw"), &values).unwrap();

    let input = format!("x={}", path("x.raw"));
    let answer = server.json(0, &["infer", "copy", "--input", &input, "--output", &path("y.npy")]).await;
    assert_eq!(
        answer["outputs"][0]["shape"],
        json!([2, 4]),
        "the free dimension follows from the file's size"
    );
    assert_eq!(answer["outputs"][0]["first"], json!([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));

    let input = format!("x={}", path("y.npy"));
    let answer = server.json(0, &["infer", "copy", "--input", &input, "--output", &path("out/")]).await;
    assert_eq!(answer["files"], json!([path("out/y.npy")]));
    server.json(0, &["infer", "copy", "--input", &input, "--output", &path("y.raw")]).await;
    assert_eq!(std::fs::read(path("y.raw")).unwrap(), values);
}

#[tokio::test]
async fn infer_refuses_what_does_not_fit_before_sending_it() {
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.raw");
    std::fs::write(&file, [0; 10]).unwrap();
    let given = format!("x={}", file.display());
    let twice = ["infer", "copy", "--input", &given, "--input", &given];
    std::fs::write(folder.path().join("good.raw"), [0; 16]).unwrap();
    let good = format!("x={}", folder.path().join("good.raw").display());
    for (exit, arguments, said) in [
        (1, &["infer", "copy", "--input", &given][..], "holds 10 bytes"),
        (1, &["infer", "copy", "--input", "z=a.npy"], "has no input `z`"),
        (1, &["infer", "copy", "--input", "x=/nonexistent.npy"], "cannot read /nonexistent.npy"),
        (1, &["infer", "copy", "--shape", "x=1,5"], "takes shape [-1,4], not [1,5]"),
        (1, &["infer", "nothing"], "no model `nothing`"),
        (1, &["infer", "all", "--input", "x_FP32=/nonexistent"], "cannot read"),
        (1, &twice, "holds 10 bytes"),
        (2, &["infer", "copy", "--input", &good, "--input", &good], "given twice"),
        (2, &["infer", "all", "--shape", "x_BOOL=2,1", "--output", "y.npy"], "has 14 outputs"),
    ] {
        let object = server.json(exit, arguments).await;
        let message = object["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{arguments:?}: {message}");
    }
}

#[tokio::test]
async fn infer_gives_up_at_its_deadline() {
    let server = start().await;
    let object = server.json(1, &["infer", "stuck", "--timeout-ms", "80"]).await;
    assert_eq!(object["error"]["code"], "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn messages_far_above_the_default_limit_go_both_ways() {
    let server = start().await;
    // 8 MB, where gRPC's default limit is 4.
    let answer = server.json(0, &["infer", "copy", "--shape", "x=500000,4"]).await;
    assert_eq!(answer["outputs"][0]["shape"], json!([500_000, 4]));
}

#[tokio::test]
async fn doctor_fails_for_a_broken_model_and_for_no_server() {
    let server = start().await;
    let diagnosis = server.json(1, &["doctor"]).await;
    assert_eq!(diagnosis["grade"], "fail");
    let checks = diagnosis["checks"].as_array().unwrap();
    let find =
        |name: &str| checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"));
    for name in ["server", "ready", "version", "device:cpu0", "worker:cpu0/onnx", "kernel", "clock"] {
        assert_eq!(find(name)["grade"], "ok", "{name}");
    }
    let broken = find("model:broken/1");
    assert_eq!(broken["grade"], "fail");
    assert!(broken["finding"].as_str().unwrap().contains("not an ONNX file"));
    assert!(broken["advice"].as_str().unwrap().contains("edgemux load broken"));

    let output = edgemux(&["--server", "127.0.0.1:1", "doctor"]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("FAIL  server") && text.contains("systemctl start edgemuxd"), "{text}");
}
