//! Clients, and requests to the models of [`crate::Setup`].

use std::collections::BTreeMap;

use bytes::Bytes;
use edgemux_proto::edgemux::v1::admission_client::AdmissionClient;
use edgemux_proto::edgemux::v1::calibration_client::CalibrationClient;
use edgemux_proto::edgemux::v1::devices_client::DevicesClient;
use edgemux_proto::edgemux::v1::objective::Statistic;
use edgemux_proto::edgemux::v1::sessions_client::SessionsClient;
use edgemux_proto::edgemux::v1::{
    CalibrationProfile, CommitRequest, Device, EvaluateRequest, GetCalibrationRequest, GetSessionRequest,
    ListDevicesRequest, ListSessionsRequest, Objective, ReleaseRequest, ReserveRequest, ReserveResponse,
    Session, Terms, Verdict,
};
use edgemux_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use edgemux_proto::inference::infer_parameter::ParameterChoice;
use edgemux_proto::inference::model_infer_request::InferInputTensor;
use edgemux_proto::inference::model_repository_parameter::ParameterChoice as RepositoryChoice;
use edgemux_proto::inference::repository_index_response::ModelIndex;
use edgemux_proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelReadyRequest, ModelRepositoryParameter,
    ModelStatistics, ModelStatisticsRequest, RepositoryIndexRequest, RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::{PATIENCE, eventually, eventually_equal};

/// A channel whose every call bears a token, if there is one.
type Transport = InterceptedService<Channel, Token>;

/// A connection to a daemon and the services on it.
#[derive(Clone, Debug)]
pub struct Client {
    /// The connection itself.
    pub channel: Channel,
    /// `inference.GRPCInferenceService`.
    pub inference: GrpcInferenceServiceClient<Transport>,
    /// `edgemux.v1.Sessions`.
    pub sessions: SessionsClient<Transport>,
    /// `edgemux.v1.Devices`.
    pub devices: DevicesClient<Transport>,
    /// `edgemux.v1.Admission`.
    pub admission: AdmissionClient<Transport>,
    /// `edgemux.v1.Calibration`.
    pub calibration: CalibrationClient<Transport>,
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
        Ok(Self::over(Endpoint::from_shared(uri)?.timeout(PATIENCE).connect().await?, None))
    }

    /// Connects by TLS.
    pub async fn try_connect_tls(
        address: &str,
        tls: ClientTlsConfig,
    ) -> Result<Self, tonic::transport::Error> {
        let address = address.strip_prefix("tls:").expect("an address of TLS");
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?;
        Ok(Self::over(endpoint.timeout(PATIENCE).connect().await?, None))
    }

    /// The same connection, with this bearer token on every call.
    pub fn bearing(&self, token: &str) -> Self {
        Self::over(self.channel.clone(), Some(token))
    }

    /// Over this connection, with this bearer token on every call.
    pub fn over(connection: Channel, token: Option<&str>) -> Self {
        let token = Token(token.map(|token| format!("Bearer {token}").parse().expect("a header")));
        let channel = InterceptedService::new(connection.clone(), token);
        Self {
            inference: GrpcInferenceServiceClient::new(channel.clone()),
            sessions: SessionsClient::new(channel.clone()),
            devices: DevicesClient::new(channel.clone()),
            admission: AdmissionClient::new(channel.clone()),
            calibration: CalibrationClient::new(channel),
            channel: connection,
        }
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

    /// Loads a model under these terms, by Triton's way.
    pub async fn load_with(&self, terms: &Terms) -> Result<(), Status> {
        let text = |value: f64| ModelRepositoryParameter {
            parameter_choice: Some(RepositoryChoice::StringParam(value.to_string())),
        };
        let objective = terms.objective.as_ref();
        let mut parameters = BTreeMap::from([("rate_hz".to_owned(), text(terms.rate_hz))]);
        if let Some(objective) = objective {
            parameters.insert("latency_ms".into(), text(objective.latency_ms));
        }
        if let Some(Statistic::Quantile(quantile)) = objective.and_then(|objective| objective.statistic) {
            parameters.insert("quantile".into(), text(quantile));
        }
        let model_name = terms.model.clone();
        let request = RepositoryModelLoadRequest { model_name, parameters, ..Default::default() };
        self.inference.clone().repository_model_load(request).await.map(drop)
    }

    /// Names of all sessions.
    pub async fn session_names(&self) -> Vec<String> {
        let sessions =
            self.sessions.clone().list(ListSessionsRequest {}).await.expect("Sessions.List answers");
        sessions.into_inner().sessions.into_iter().map(|session| session.id).collect()
    }

    /// Unloads a model.
    pub async fn unload(&self, model: &str) -> Result<(), Status> {
        let request = RepositoryModelUnloadRequest { model_name: model.into(), ..Default::default() };
        self.inference.clone().repository_model_unload(request).await.map(drop)
    }

    /// The verdict on these terms.
    pub async fn evaluate(&self, terms: &Terms) -> Result<Verdict, Status> {
        let request = EvaluateRequest { terms: Some(terms.clone()) };
        let answer = self.admission.clone().evaluate(request).await?.into_inner();
        Ok(answer.verdict.expect("a verdict"))
    }

    /// Reserves a place for a minute.
    pub async fn reserve(&self, uid: &str, terms: &Terms) -> Result<ReserveResponse, Status> {
        self.reserve_for(uid, 1, terms, 60.0).await
    }

    /// Reserves a place.
    pub async fn reserve_for(
        &self,
        uid: &str,
        generation: u64,
        terms: &Terms,
        ttl_s: f64,
    ) -> Result<ReserveResponse, Status> {
        let terms = Some(terms.clone());
        self.reserve_with(ReserveRequest { uid: uid.into(), generation, terms, ttl_s, ..Default::default() })
            .await
    }

    /// Reserves a place in just this way.
    pub async fn reserve_with(&self, request: ReserveRequest) -> Result<ReserveResponse, Status> {
        self.admission.clone().reserve(request).await.map(tonic::Response::into_inner)
    }

    /// Loads what was reserved.
    pub async fn commit(&self, reservation: &str) -> Result<Session, Status> {
        let request = CommitRequest { reservation: reservation.into() };
        let answer = self.admission.clone().commit(request).await?.into_inner();
        Ok(answer.session.expect("a session"))
    }

    /// Gives a reservation back.
    pub async fn release(&self, reservation: &str) -> Result<(), Status> {
        let request = ReleaseRequest { reservation: reservation.into() };
        self.admission.clone().release(request).await.map(drop)
    }

    /// Reserves and loads a session that is to be admitted.
    pub async fn admit(&self, terms: &Terms) -> Verdict {
        let reserved = self.reserve(&terms.model, terms).await.expect("Reserve answers");
        let verdict = reserved.verdict.expect("a verdict");
        assert!(verdict.admitted, "{verdict:#?}");
        self.commit(&reserved.reservation).await.expect("it is loaded");
        verdict
    }

    /// What was learned of version 1 of the model.
    pub async fn calibration(&self, model: &str) -> CalibrationProfile {
        let request = GetCalibrationRequest { session: format!("{model}/1") };
        self.calibration.clone().get(request).await.expect("a profile").into_inner()
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

/// What is sent as `authorization`.
#[derive(Clone, Debug)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Terms with a quantile to be kept.
pub fn terms(model: &str, rate_hz: f64, quantile: f64, latency_ms: f64) -> Terms {
    let objective = Objective { statistic: Some(Statistic::Quantile(quantile)), latency_ms };
    Terms { model: model.into(), rate_hz, objective: Some(objective), ..Terms::default() }
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

/// A request with one input of FP32.
pub fn request(model: &str, input: &str, shape: &[i64], values: &[f32]) -> ModelInferRequest {
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
