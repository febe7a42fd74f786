//! The queue is bounded, in order of priority, and free of requests that nobody wants any more.

use edgemux_proto::inference::ModelInferRequest;
use edgemux_tests::{Client, Daemon, Emulated, Setup, assert_echo, echo, parameter};
use tonic::Code;

/// A model whose device fails the request with this number, and a request to it in service for half a second.
///
/// The emulator counts what reaches it: which of ours fails tells how many came before. Numbers 1 and 2 are the warm-up,
/// number 3 is in service.
async fn busy(fails_at: u32, config: &str) -> (Daemon, Client, impl Future<Output = ()>) {
    let model =
        Emulated::new(5.0).first_takes(500.0).fault(&format!("kind = 'fail'\nafter-requests = {fails_at}"));
    let daemon = Setup::new(config).emulated("model", model).start().await;
    let client = daemon.client().await;
    let in_service = client.spawn(echo("model", [1.0; 4]));
    client.until_load("model", 0, 1).await;
    (daemon, client, async { assert_echo(&in_service.await.unwrap().unwrap(), [1.0; 4]) })
}

/// The next request to reach the device is the one that fails.
async fn assert_next_fails(client: &Client) {
    let error = client.infer(echo("model", [2.0; 4])).await.unwrap_err();
    assert!(
        error.code() == Code::Internal && error.message().contains("as the model file asks"),
        "{error:?}"
    );
}

fn with(name: &str, value: i64) -> ModelInferRequest {
    ModelInferRequest { parameters: parameter(name, value), ..echo("model", [2.0; 4]) }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_serves_what_it_holds() {
    let (daemon, client, in_service) = busy(1000, "limits.queue-requests = 4\n").await;
    let waiting: Vec<_> = (0..4).map(|_| client.spawn(echo("model", [2.0; 4]))).collect();
    client.until_load("model", 4, 1).await;
    for _ in 0..10 {
        let error = client.infer(echo("model", [3.0; 4])).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
        assert!(error.message().contains("full"), "{error:?}");
    }
    in_service.await;
    for request in waiting {
        assert_echo(&request.await.unwrap().unwrap(), [2.0; 4]);
    }
    let statistics = client.statistics("model").await.inference_stats.unwrap();
    assert_eq!((statistics.success.unwrap().count, statistics.fail.unwrap().count), (5, 10));
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_whose_deadline_passes_in_the_queue_never_reaches_the_device() {
    let (daemon, client, in_service) = busy(4, "").await;
    let late = (0..5).map(|at| {
        let mut request = tonic::Request::new(echo("model", [2.0; 4]));
        if at % 2 == 0 {
            request.set_timeout(std::time::Duration::from_millis(5));
        } else {
            *request.get_mut() = with("timeout", 5_000);
        }
        let mut inference = client.inference.clone();
        tokio::spawn(async move { inference.model_infer(request).await })
    });
    for request in late.collect::<Vec<_>>() {
        let code = request.await.unwrap().unwrap_err().code();
        // A client that sets the deadline on the call may say so itself, which tonic's words as CANCELLED.
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");
    }
    in_service.await;
    assert_next_fails(&client).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_cancelled_in_the_queue_never_reaches_the_device() {
    let (daemon, client, in_service) = busy(4, "").await;
    let unwanted: Vec<_> = (0..5).map(|_| client.spawn(echo("model", [2.0; 4]))).collect();
    client.until_load("model", 5, 1).await;
    unwanted.iter().for_each(tokio::task::JoinHandle::abort);
    client.until_load("model", 0, 1).await;
    in_service.await;
    assert_next_fails(&client).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_cancelled_on_the_device_frees_it_at_once() {
    let daemon =
        Setup::default().emulated("model", Emulated::new(30_000.0)).emulated("beside", Emulated::new(1.0));
    // No warm-up: a request of this model takes half a minute.
    let config = std::fs::read_to_string(daemon.path("edgemuxd.toml")).unwrap();
    std::fs::write(daemon.path("edgemuxd.toml"), format!("{config}[supervision]\nwarm-up-requests = 0"))
        .unwrap();
    let daemon = daemon.start().await;
    let client = daemon.client().await;
    let unwanted = client.spawn(echo("model", [1.0; 4]));
    client.until_load("model", 0, 1).await;
    let worker = daemon.worker(&client, "gpu0").await;
    unwanted.abort();
    assert_echo(&client.infer(echo("beside", [2.0; 4])).await.unwrap(), [2.0; 4]);
    assert_eq!(daemon.worker(&client, "gpu0").await, worker);
    daemon.stop().await;
}

#[tokio::test]
async fn requests_run_in_order_of_priority_and_then_of_arrival() {
    let (daemon, client, in_service) = busy(1000, "").await;
    let (answered, mut order) = tokio::sync::mpsc::channel(16);
    // 1 comes first, larger numbers later, none declared (0) last.
    for (at, priority) in [0, 3, 1, 3, 0, 1].into_iter().enumerate() {
        let (client, answered) = (client.clone(), answered.clone());
        let request = client.clone().spawn(with("priority", priority));
        tokio::spawn(async move {
            request.await.unwrap().unwrap();
            answered.send((priority, at)).await.unwrap();
        });
        client.until_load("model", at as u32 + 1, 1).await;
    }
    drop(answered);
    in_service.await;
    let mut seen = Vec::new();
    while let Some(request) = order.recv().await {
        seen.push(request);
    }
    assert_eq!(seen, [(1, 2), (1, 5), (3, 1), (3, 3), (0, 0), (0, 4)]);
    daemon.stop().await;
}

#[tokio::test]
async fn with_many_clients_each_request_has_exactly_one_outcome() {
    const CLIENTS: usize = 32;
    const REQUESTS: usize = 50;
    let daemon =
        Setup::new("limits.queue-requests = 8\n").emulated("model", Emulated::new(1.0)).start().await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let connection = daemon.client().await;
        clients.spawn(async move {
            let mut succeeded = 0_u64;
            for request in 0..REQUESTS {
                let values = [client as f32, request as f32, 0.5, -1.0];
                match connection.infer(echo("model", values)).await {
                    // Its own answer, not another's.
                    Ok(response) => assert_echo(&response, values),
                    Err(error) => {
                        assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
                        continue;
                    }
                }
                succeeded += 1;
            }
            succeeded
        });
    }
    let succeeded: u64 = clients.join_all().await.into_iter().sum();
    let client = daemon.client().await;
    let statistics = client.statistics("model").await.inference_stats.unwrap();
    let (success, fail) = (statistics.success.unwrap().count, statistics.fail.unwrap().count);
    assert_eq!((success, success + fail), (succeeded, (CLIENTS * REQUESTS) as u64));
    assert!(success > 0 && fail > 0, "{success} succeeded, {fail} were refused: no overload");
    client.until_load("model", 0, 0).await;
    daemon.stop().await;
}
