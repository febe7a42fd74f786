//! Clients, and requests to the models of [`crate::Setup`].

use std::collections::BTreeMap;

use bytes::Bytes;
use edgemux_proto::edgemux::v1::devices_client::DevicesClient;
use edgemux_proto::edgemux::v1::sessions_client::SessionsClient;
use edgemux_proto::edgemux::v1::{Device, GetSessionRequest, ListDevicesRequest, Session};
use edgemux_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use edgemux_proto::inference::infer_parameter::ParameterChoice;
use edgemux_proto::inference::model_infer_request::InferInputTensor;
use edgemux_proto::inference::repository_index_response::ModelIndex;
use edgemux_proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelReadyRequest, ModelStatistics,
    ModelStatisticsRequest, RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::{PATIENCE, eventually, eventually_equal};

/// A connection to a daemon and the services on it.
#[derive(Clone, Debug)]
pub struct Client {
    /// The connection itself.
    pub channel: Channel,
    /// `inference.GRPCInferenceService`.
    pub inference: GrpcInferenceServiceClient<Channel>,
    /// `edgemux.v1.Sessions`.
    pub sessions: SessionsClient<Channel>,
    /// `edgemux.v1.Devices`.
    pub devices: DevicesClient<Channel>,
}

impl Client {
    /// Connects to an address as the daemon says it: `HOST:PORT` or `unix:/PATH`.
    pub async fn connect(address: &str) -> Self {
        Self::try_connect(address)
            .await
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// [`Client::connect`] where a refusal is an answer.
    pub async fn try_connect(address: &str) -> Result<Self, tonic::transport::Error> {
        let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
        let channel = Endpoint::from_shared(uri)?.timeout(PATIENCE).connect().await?;
        Ok(Self {
            inference: GrpcInferenceServiceClient::new(channel.clone()),
            sessions: SessionsClient::new(channel.clone()),
            devices: DevicesClient::new(channel.clone()),
            channel,
        })
    }

    /// One request, one answer.
    pub async fn infer(&self, request: ModelInferRequest) -> Result<ModelInferResponse, Status> {
        self.inference.clone().model_infer(request).await.map(tonic::Response::into_inner)
    }

    /// Sends one request from a task of its own; aborting that cancels the request.
    pub fn spawn(
        &self,
        request: ModelInferRequest,
    ) -> tokio::task::JoinHandle<Result<ModelInferResponse, Status>> {
        let client = self.clone();
        tokio::spawn(async move { client.infer(request).await })
    }

    /// Does the model take requests?
    pub async fn is_ready(&self, model: &str) -> bool {
        let request = ModelReadyRequest { name: model.into(), version: String::new() };
        self.inference.clone().model_ready(request).await.expect("ModelReady answers").into_inner().ready
    }

    /// Waits until the model takes requests.
    pub async fn until_ready(&self, model: &str) {
        eventually(&format!("{model} is ready"), PATIENCE, async || self.is_ready(model).await.then_some(()))
            .await;
    }

    /// Loads a model.
    pub async fn load(&self, model: &str) -> Result<(), Status> {
        let request = RepositoryModelLoadRequest { model_name: model.into(), ..Default::default() };
        self.inference.clone().repository_model_load(request).await.map(drop)
    }

    /// Unloads a model.
    pub async fn unload(&self, model: &str) -> Result<(), Status> {
        let request = RepositoryModelUnloadRequest { model_name: model.into(), ..Default::default() };
        self.inference.clone().repository_model_unload(request).await.map(drop)
    }

    /// The model's line in the repository's index.
    pub async fn index(&self, model: &str) -> ModelIndex {
        let index = self.inference.clone().repository_index(RepositoryIndexRequest::default()).await;
        let models = index.expect("RepositoryIndex answers").into_inner().models;
        models.into_iter().find(|entry| entry.name == model).expect("a model of the repository")
    }

    /// The model's counts.
    pub async fn statistics(&self, model: &str) -> ModelStatistics {
        let request = ModelStatisticsRequest { name: model.into(), version: String::new() };
        let answer = self.inference.clone().model_statistics(request).await.expect("ModelStatistics answers");
        answer.into_inner().model_stats.pop().expect("statistics of a loaded model")
    }

    /// Version 1 of the model, as `edgemux.v1.Sessions` shows it.
    pub async fn session(&self, model: &str) -> Session {
        let request = GetSessionRequest { id: format!("{model}/1") };
        self.sessions.clone().get(request).await.expect("a session").into_inner()
    }

    /// Waits until the model has this many requests waiting and in service.
    pub async fn until_load(&self, model: &str, queued: u32, in_service: u32) {
        let what = format!("requests of {model} that wait and that are in service");
        eventually_equal(&what, (queued, in_service), async || {
            let session = self.session(model).await;
            (session.queued, session.in_service)
        })
        .await;
    }

    /// The device, as `edgemux.v1.Devices` shows it.
    pub async fn device(&self, name: &str) -> Device {
        let devices = self.devices.clone().list(ListDevicesRequest {}).await.expect("Devices.List answers");
        devices.into_inner().devices.into_iter().find(|device| device.name == name).expect("a device")
    }
}

/// A request to an emulated model, which answers with the same four numbers.
pub fn echo(model: &str, values: [f32; 4]) -> ModelInferRequest {
    request(model, "INPUT0", &[4], &values)
}

/// Asserts that an emulated model has answered with what it was given.
pub fn assert_echo(response: &ModelInferResponse, values: [f32; 4]) {
    assert_eq!(response.outputs.len(), 1, "{response:?}");
    assert_eq!((response.outputs[0].name.as_str(), &response.outputs[0].shape[..]), ("OUTPUT0", &[4][..]));
    assert_eq!(response.raw_output_contents, [raw(&values)]);
}

/// A request to the model `keywords.onnx`.
pub fn keywords(model: &str) -> ModelInferRequest {
    let features: Vec<_> = (0..490_u16).map(|index| f32::from(index % 17) / 17.0).collect();
    request(model, "mfcc", &[1, 1, 49, 10], &features)
}

fn request(model: &str, input: &str, shape: &[i64], values: &[f32]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.into(),
        inputs: vec![InferInputTensor {
            name: input.into(),
            datatype: "FP32".into(),
            shape: shape.to_vec(),
            ..Default::default()
        }],
        raw_input_contents: vec![raw(values)],
        ..Default::default()
    }
}

fn raw(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A parameter that is a whole number or a string.
pub fn parameter(name: &str, value: impl Into<Parameter>) -> BTreeMap<String, InferParameter> {
    let parameter_choice = Some(value.into().0);
    BTreeMap::from([(name.to_owned(), InferParameter { parameter_choice })])
}

/// A parameter's value.
#[derive(Debug)]
pub struct Parameter(ParameterChoice);

impl From<i64> for Parameter {
    fn from(value: i64) -> Self {
        Self(ParameterChoice::Int64Param(value))
    }
}

impl From<&str> for Parameter {
    fn from(value: &str) -> Self {
        Self(ParameterChoice::StringParam(value.into()))
    }
}
