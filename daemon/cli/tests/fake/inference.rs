//! Models that behave each in their own way.

use std::sync::Arc;
use std::time::Duration;

use edgemux_proto::inference::grpc_inference_service_server::GrpcInferenceService;
use edgemux_proto::inference::infer_parameter::ParameterChoice;
use edgemux_proto::inference::model_infer_response::InferOutputTensor;
use edgemux_proto::inference::model_metadata_response::TensorMetadata;
use edgemux_proto::inference::repository_index_response::ModelIndex;
use edgemux_proto::inference::*;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// Models of this server:
///
/// - `copy`: its output `y` is its input `x`, FP32 [-1,4]
/// - `all`: one input and output of each datatype
/// - `slow`: as `copy`, after 50 ms
/// - `stuck`: as `copy`, but no answer ever comes
/// - `flaky`: every second request is UNAVAILABLE
/// - `thrice`: decoupled, three answers
/// - those of `edgemux demo`: as `copy`
/// - `refused`: RESOURCE_EXHAUSTED on load
/// - `broken`: in the index, with the reason why it is not served
pub(super) struct Fake {
    pub(super) inferences: Arc<watch::Sender<u64>>,
    pub(super) loads: mpsc::Sender<RepositoryModelLoadRequest>,
}

pub(crate) const DATATYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32",
    "FP64", "BYTES",
];
const MODELS: [&str; 10] = [
    "copy",
    "all",
    "slow",
    "stuck",
    "flaky",
    "thrice",
    "detector",
    "classifier",
    "keywords",
    "mobilenet_tiny",
];

/// Counts an inference; returns how many came before it.
fn count_one(inferences: &watch::Sender<u64>) -> u64 {
    let mut before = 0;
    inferences.send_modify(|count| {
        before = *count;
        *count += 1;
    });
    before
}

fn tensors(model: &str, name: &str) -> Vec<TensorMetadata> {
    let tensor = |name: String, datatype: &str, shape: &[i64]| TensorMetadata {
        name,
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
    };
    match model {
        "all" => DATATYPES
            .iter()
            .map(|datatype| tensor(format!("{name}_{datatype}"), datatype, &[2, -1]))
            .collect(),
        _ => vec![tensor(name.to_owned(), "FP32", &[-1, 4])],
    }
}

/// The inputs as outputs.
fn copied(request: ModelInferRequest) -> ModelInferResponse {
    let output = |input: model_infer_request::InferInputTensor| InferOutputTensor {
        name: input.name.replacen('x', "y", 1),
        datatype: input.datatype,
        shape: input.shape,
        ..Default::default()
    };
    ModelInferResponse {
        model_name: request.model_name,
        model_version: "1".into(),
        id: request.id,
        outputs: request.inputs.into_iter().map(output).collect(),
        raw_output_contents: request.raw_input_contents,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Fake {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: true }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(ServerMetadataResponse { name: "edgemuxd".into(), version, extensions: vec![] }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let name = request.into_inner().name;
        if !MODELS.contains(&name.as_str()) {
            return Err(Status::not_found(format!("no model `{name}`")));
        }
        Ok(Response::new(ModelMetadataResponse {
            inputs: tensors(&name, "x"),
            outputs: tensors(&name, "y"),
            versions: vec!["1".into()],
            platform: "fake".into(),
            name,
        }))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let request = request.into_inner();
        let number = count_one(&self.inferences);
        match request.model_name.as_str() {
            "slow" => tokio::time::sleep(Duration::from_millis(50)).await,
            "stuck" => std::future::pending().await,
            "flaky" if number % 2 == 1 => return Err(Status::unavailable("the worker is gone")),
            "thrice" => return Err(Status::unimplemented("`thrice` is decoupled: use ModelStreamInfer")),
            _ => {}
        }
        Ok(Response::new(copied(request)))
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<BoxStream<ModelStreamInferResponse>>, Status> {
        let (answers, stream) = mpsc::channel(64);
        let mut requests = request.into_inner();
        let inferences = Arc::clone(&self.inferences);
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let number = count_one(&inferences);
                let (name, mut response) = (request.model_name.clone(), copied(request));
                let mut error_message = String::new();
                match name.as_str() {
                    "flaky" if number % 2 == 1 => {
                        error_message = "the worker is gone".into();
                        response = ModelInferResponse { id: response.id, ..Default::default() };
                    }
                    "stuck" => continue,
                    _ => {}
                }
                let repeats = if name == "thrice" { 3 } else { 1 };
                for repeat in 1..=repeats {
                    let last = InferParameter {
                        parameter_choice: Some(ParameterChoice::BoolParam(repeat == repeats)),
                    };
                    response.parameters.insert("triton_final_response".into(), last);
                    let answer = ModelStreamInferResponse {
                        error_message: error_message.clone(),
                        infer_response: Some(response.clone()),
                    };
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        // Each request is said to have waited for 1 ms and to have been served for 2.
        let count = *self.inferences.borrow();
        let times = |ms: u64| Some(StatisticDuration { count, ns: count * ms * 1_000_000 });
        let inference_stats = Some(InferStatistics {
            success: times(3),
            queue: times(1),
            compute_infer: times(2),
            ..Default::default()
        });
        let name = request.into_inner().name;
        let entry = ModelStatistics { name, version: "1".into(), inference_stats, ..Default::default() };
        Ok(Response::new(ModelStatisticsResponse { model_stats: vec![entry] }))
    }

    async fn repository_index(
        &self,
        _: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let entry = |name: &str, state: &str, reason: &str| ModelIndex {
            name: name.to_owned(),
            version: "1".into(),
            state: state.to_owned(),
            reason: reason.to_owned(),
        };
        let models = vec![
            entry("copy", "READY", ""),
            entry("spare", "UNAVAILABLE", ""),
            entry("broken", "UNAVAILABLE", "broken/1/model.onnx: not an ONNX file"),
        ];
        Ok(Response::new(RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        let request = request.into_inner();
        let name = request.model_name.clone();
        self.loads.try_send(request).map_err(|_| Status::internal("the test loads too much"))?;
        match name.as_str() {
            "refused" => Err(Status::resource_exhausted("the p99 of `other` would be 70 ms, not 50")),
            "absent" => Err(Status::not_found("no folder `absent` in the repository")),
            _ => Ok(Response::new(RepositoryModelLoadResponse {})),
        }
    }

    async fn repository_model_unload(
        &self,
        _: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }
}
