//! Clients' shared memory: read and written by the worker, never mapped by the daemon.

use std::path::PathBuf;

use edgemux_proto::inference::model_infer_request::InferRequestedOutputTensor;
use edgemux_proto::inference::{
    InferParameter, ModelInferRequest, SystemSharedMemoryRegisterRequest, SystemSharedMemoryUnregisterRequest,
};
use edgemux_tests::{Client, Emulated, Parameter, Setup, assert_echo, echo, parameter};
use tonic::Code;

/// A POSIX shared memory object of a page, removed on drop.
struct Object(PathBuf);

impl Object {
    fn new(name: &str, contents: &[f32]) -> Self {
        let path = PathBuf::from(format!("/dev/shm/edgemux-tests-{name}-{}", std::process::id()));
        let mut bytes: Vec<u8> = contents.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes.resize(4096, 0);
        std::fs::write(&path, bytes).expect("a shared memory object");
        Self(path)
    }

    fn key(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_str().unwrap())
    }

    fn values(&self, offset: usize) -> [f32; 4] {
        let bytes = std::fs::read(&self.0).unwrap();
        std::array::from_fn(|at| {
            let at = offset + 4 * at;
            f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
        })
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn register(client: &Client, name: &str, object: &Object) {
    let request = SystemSharedMemoryRegisterRequest {
        name: name.into(),
        key: object.key(),
        offset: 0,
        byte_size: 4096,
    };
    client.inference.clone().system_shared_memory_register(request).await.expect("it is registered");
}

async fn unregister(client: &Client, name: &str) {
    let request = SystemSharedMemoryUnregisterRequest { name: name.into() };
    client.inference.clone().system_shared_memory_unregister(request).await.expect("it is unregistered");
}

/// Input from the region's first bytes, output to its bytes from 1024 on.
fn in_region(model: &str, region: &str) -> ModelInferRequest {
    let place = |offset: i64| {
        [("shared_memory_byte_size", 16.into()), ("shared_memory_offset", offset.into())]
            .into_iter()
            .chain([("shared_memory_region", region.into())])
            .flat_map(|(name, value): (_, Parameter)| parameter(name, value))
            .collect::<std::collections::BTreeMap<String, InferParameter>>()
    };
    let mut request = echo(model, [0.0; 4]);
    request.raw_input_contents.clear();
    request.inputs[0].parameters = place(0);
    request.outputs = vec![InferRequestedOutputTensor { name: "OUTPUT0".into(), parameters: place(1024) }];
    request
}

#[tokio::test]
async fn the_worker_maps_a_clients_memory_and_the_daemon_does_not() {
    let daemon = Setup::default().emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let object = Object::new("maps", &[1.5, -2.0, 3.25, 4.0]);
    register(&client, "region", &object).await;
    let response = client.infer(in_region("model", "region")).await.unwrap();
    assert_eq!(object.values(1024), [1.5, -2.0, 3.25, 4.0]);
    assert!(response.raw_output_contents.iter().all(bytes::Bytes::is_empty), "{response:?}");

    let maps = |process: edgemux_tests::Process| {
        process.maps().iter().any(|line| line.contains(object.0.to_str().unwrap()))
    };
    assert!(maps(daemon.worker(&client, "gpu0").await));
    assert!(!maps(daemon.process()));

    // Once the region is forgotten the worker lets go of it with its next request.
    unregister(&client, "region").await;
    client.infer(echo("model", [1.0; 4])).await.unwrap();
    assert!(!maps(daemon.worker(&client, "gpu0").await));
    daemon.stop().await;
}

#[tokio::test]
async fn a_region_unregistered_while_in_use_serves_the_requests_that_have_it() {
    let daemon = Setup::default().emulated("model", Emulated::new(10.0).first_takes(500.0)).start().await;
    let client = daemon.client().await;
    let object = Object::new("unregistered", &[1.0, 2.0, 3.0, 4.0]);
    register(&client, "region", &object).await;
    let blocker = client.spawn(echo("model", [1.0; 4]));
    client.until_load("model", 0, 1).await;
    let waiting = client.spawn(in_region("model", "region"));
    client.until_load("model", 1, 1).await;
    unregister(&client, "region").await;
    let late = client.infer(in_region("model", "region")).await.unwrap_err();
    assert_eq!(late.code(), Code::NotFound, "{late:?}");
    blocker.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(object.values(1024), [1.0, 2.0, 3.0, 4.0]);
    daemon.stop().await;
}

#[tokio::test]
async fn memory_that_its_client_has_cut_short_fails_the_request_and_nothing_else() {
    let daemon = Setup::default().emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let object = Object::new("short", &[1.0; 4]);
    register(&client, "region", &object).await;
    client.infer(in_region("model", "region")).await.unwrap();
    std::fs::File::options().write(true).open(&object.0).unwrap().set_len(0).unwrap();
    let error = client.infer(in_region("model", "region")).await.unwrap_err();
    println!("memory cut short: {error:?}");
    assert!(matches!(error.code(), Code::InvalidArgument | Code::Unavailable), "{error:?}");
    assert_echo(&client.infer(echo("model", [2.0; 4])).await.unwrap(), [2.0; 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn regions_outlive_the_worker_that_used_them() {
    let daemon = Setup::default().emulated("model", Emulated::new(1.0)).start().await;
    let client = daemon.client().await;
    let object = Object::new("outlives", &[5.0, 6.0, 7.0, 8.0]);
    register(&client, "region", &object).await;
    client.infer(in_region("model", "region")).await.unwrap();
    daemon.worker(&client, "gpu0").await.signal(rustix::process::Signal::KILL);
    edgemux_tests::eventually("a request succeeds again", edgemux_tests::PATIENCE, async || {
        client.infer(in_region("model", "region")).await.ok()
    })
    .await;
    assert_eq!(object.values(1024), [5.0, 6.0, 7.0, 8.0]);
    daemon.stop().await;
}
