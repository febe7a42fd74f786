//! Requests of one session run together where its terms ask for it, and each gets its own answer.

use edgemux_proto::edgemux::v1::{Batching, Terms};
use edgemux_proto::inference::ModelInferRequest;
use edgemux_tests::{Setup, assert_echo, echo, terms};
use tokio::task::JoinSet;

const MODEL: &str = "
[[input]]
name = 'INPUT0'
datatype = 'FP32'
shape = [-1, 4]
[[output]]
name = 'OUTPUT0'
datatype = 'FP32'
shape = [-1, 4]
[service]
mean-ms = 10.0
distribution = 'deterministic'
";

fn row(at: u16) -> ([f32; 4], ModelInferRequest) {
    let values = [f32::from(at), 1.0, 2.0, 3.0];
    let mut request = echo("a", values);
    request.inputs[0].shape = vec![1, 4];
    (values, request)
}

#[tokio::test]
async fn requests_run_together_and_each_has_its_own_rows() {
    let device =
        "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";
    let daemon = Setup::bare(device).file("a", "1/model.emu.toml", MODEL.as_bytes()).start().await;
    let client = daemon.client().await;
    let batching = Some(Batching { size_max: 8, delay_max_ms: None });
    client.admit(&Terms { batching, burst: 100.0, ..terms("a", 50.0, 0.99, 2_000.0) }).await;
    let mut waiting = JoinSet::new();
    for at in 0..64 {
        let (client, (values, request)) = (client.clone(), row(at));
        waiting.spawn(async move { (values, client.infer(request).await) });
    }
    for (values, answer) in waiting.join_all().await {
        let mut response = answer.unwrap();
        assert_eq!(response.outputs[0].shape, [1, 4]);
        response.outputs[0].shape = vec![4];
        assert_echo(&response, values);
    }
    let statistics = client.statistics("a").await;
    assert_eq!(statistics.inference_count, 64);
    // Eight at a time at best; the first ones may have found the device free.
    let executions = statistics.execution_count;
    assert!((8..=32).contains(&executions), "{executions} inferences for 64 requests");
    // An inference of eight takes as long as one of one: that is learned, and what is promised goes by it.
    let learned = client.calibration("a").await;
    assert!(learned.service_mean_ms > 9.0, "{learned:?}");
    let more = client.evaluate(&Terms { batching, ..terms("a", 200.0, 0.99, 2_000.0) }).await.unwrap();
    assert!(more.admitted, "200/s of 10 ms each fit only together: {more:#?}");
    let alone = client.evaluate(&terms("a", 200.0, 0.99, 2_000.0)).await.unwrap();
    assert!(!alone.admitted, "{alone:#?}");
}

#[tokio::test]
async fn what_does_not_fit_together_runs_one_after_the_other() {
    let device =
        "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";
    let daemon = Setup::bare(device).file("a", "1/model.emu.toml", MODEL.as_bytes()).start().await;
    let client = daemon.client().await;
    let batching = Some(Batching { size_max: 8, delay_max_ms: Some(5.0) });
    client.admit(&Terms { batching, burst: 100.0, ..terms("a", 20.0, 0.99, 5_000.0) }).await;
    let mut waiting = JoinSet::new();
    for at in 0..16 {
        let (client, (values, mut request)) = (client.clone(), row(at));
        // A row of other columns is nobody's company: the model refuses it, and nobody else suffers.
        let odd = at % 8 == 3;
        if odd {
            request.inputs[0].shape = vec![2, 2];
        }
        waiting.spawn(async move { (odd, values, client.infer(request).await) });
    }
    for (odd, values, answer) in waiting.join_all().await {
        match answer {
            Ok(mut response) => {
                assert!(!odd);
                response.outputs[0].shape = vec![4];
                assert_echo(&response, values);
            }
            Err(status) => assert!(odd, "{status:?}"),
        }
    }
}
