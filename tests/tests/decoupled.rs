//! A decoupled model answers as often as it likes; a client that does not take the answers harms only itself.

use std::time::Duration;

use edgemux_proto::inference::infer_parameter::ParameterChoice;
use edgemux_proto::inference::{ModelInferRequest, ModelStreamInferResponse};
use edgemux_tests::{Client, Emulated, PATIENCE, Setup, assert_echo, echo};
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};

async fn open(client: &Client, requests: Vec<ModelInferRequest>) -> Streaming<ModelStreamInferResponse> {
    let requests = tokio_stream::iter(requests);
    client.inference.clone().model_stream_infer(requests).await.expect("a stream").into_inner()
}

async fn next(stream: &mut Streaming<ModelStreamInferResponse>) -> Option<ModelStreamInferResponse> {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await.expect("an answer");
    next.map(|answer| answer.expect("no error of the stream itself"))
}

fn is_final(answer: &ModelStreamInferResponse) -> bool {
    let parameters = &answer.infer_response.as_ref().expect("a response").parameters;
    let last = parameters.get("triton_final_response").expect("every response says whether it is the last");
    matches!(last.parameter_choice, Some(ParameterChoice::BoolParam(true)))
}

/// Takes `responses` answers to one request and asserts that only the last is marked so.
async fn assert_answers(client: &Client, model: &str, responses: usize) {
    let mut stream = open(client, vec![echo(model, [1.0, 2.0, 3.0, 4.0])]).await;
    for at in 1..=responses {
        let answer = next(&mut stream).await.unwrap_or_else(|| panic!("{responses} answers, got {}", at - 1));
        assert_eq!(answer.error_message, "", "answer {at}");
        assert_eq!(is_final(&answer), at == responses, "answer {at}");
        assert_echo(&answer.infer_response.unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test]
async fn every_answer_comes_and_only_the_last_is_marked_so() {
    let daemon = Setup::default()
        .emulated("few", Emulated::new(10.0).responses(5))
        // As fast as the emulator can: more than may wait in the daemon at any time.
        .emulated("many", Emulated::new(0.0).responses(1000))
        .start()
        .await;
    let client = daemon.client().await;
    assert_answers(&client, "few", 5).await;
    assert_answers(&client, "many", 1000).await;
    assert_eq!(client.statistics("few").await.inference_stats.unwrap().success.unwrap().count, 1);
    let unary = client.infer(echo("few", [1.0; 4])).await.unwrap_err();
    assert_eq!(unary.code(), Code::Unimplemented, "{unary:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_given_up_and_others_are_served() {
    let daemon = Setup::default()
        .emulated("many", Emulated::new(500.0).responses(5000))
        .emulated("beside", Emulated::new(1.0))
        .start()
        .await;
    // A window of a few hundred answers, as other clients have it; tonic's own takes in megabytes.
    let endpoint = Endpoint::from_shared(format!("http://{}", daemon.address())).unwrap();
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
    let mut slow = open(&Client::over(channel, None), vec![echo("many", [1.0; 4])]).await;

    let client = daemon.client().await;
    client.until_load("many", 0, 1).await;
    assert_echo(&client.infer(echo("beside", [2.0; 4])).await.unwrap(), [2.0; 4]);
    client.until_load("many", 0, 0).await;
    let mut answers = 0;
    let error = loop {
        let answer = next(&mut slow).await.expect("an error ends it");
        if !answer.error_message.is_empty() {
            break answer.error_message;
        }
        answers += 1;
    };
    println!("{answers} of 5000 answers waited for the slow client");
    assert!(error.contains("not taken as fast"), "{error}");
    assert!(answers < 5000);
    assert!(next(&mut slow).await.is_none());
    daemon.stop().await;
}

#[tokio::test]
async fn a_stream_that_its_client_drops_frees_the_device() {
    let daemon = Setup::new("")
        .emulated("long", Emulated::new(2_000.0).responses(100))
        .emulated("beside", Emulated::new(1.0))
        .listen()
        .await;
    let client = daemon.client().await;
    // Its warm-up takes seconds, which is not waited for: a stream is served as soon as the model is ready.
    client.until_ready("long").await;
    let mut stream = open(&client, vec![echo("long", [1.0; 4])]).await;
    next(&mut stream).await.expect("a first answer");
    drop(stream);
    let waits = tokio::time::timeout(Duration::from_secs(1), client.infer(echo("beside", [2.0; 4])));
    assert_echo(&waits.await.expect("the device is free").unwrap(), [2.0; 4]);
    daemon.stop().await;
}
