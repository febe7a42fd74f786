//! The connection to a daemon, and the calls that every command shares.

mod node;

use std::time::Duration;

use edgemux_client::{ConnectError, Credentials, ServerAddress, Transport, within};
use edgemux_proto::inference;
use edgemux_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use tonic::{Response, Status};

use crate::rpc::RpcError;

/// The largest message sent or received: a batch of large images, with room to spare.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// HTTP/2 windows and frames, far above their defaults of 64 and 16 KiB: a tensor then crosses in few steps.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Calls that read state answer at once or not at all.
const READ_S_MAX: Duration = Duration::from_secs(10);
/// Loading reads, compiles and warms a model, which takes minutes on a small board.
const LOAD_S_MAX: Duration = Duration::from_secs(600);

/// One connection to one daemon; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Transport,
}

impl Client {
    /// Connects, and gives up after five seconds.
    pub(crate) async fn connect(
        server: &ServerAddress,
        credentials: &Credentials,
    ) -> Result<Self, ConnectError> {
        let endpoint = server
            .endpoint(credentials, concat!("edgemux/", env!("CARGO_PKG_VERSION")))?
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX);
        Ok(Self { channel: credentials.bear(server.connect(&endpoint).await?)? })
    }

    pub(crate) fn inference(&self) -> GrpcInferenceServiceClient<Transport> {
        GrpcInferenceServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) async fn live(&self) -> Result<bool, RpcError> {
        let answer = self.inference().server_live(within(READ_S_MAX, inference::ServerLiveRequest {})).await;
        Ok(done("ask whether the server is alive", answer)?.live)
    }

    pub(crate) async fn ready(&self) -> Result<bool, RpcError> {
        let answer =
            self.inference().server_ready(within(READ_S_MAX, inference::ServerReadyRequest {})).await;
        Ok(done("ask whether the server is ready", answer)?.ready)
    }

    pub(crate) async fn server_metadata(&self) -> Result<inference::ServerMetadataResponse, RpcError> {
        let request = within(READ_S_MAX, inference::ServerMetadataRequest {});
        done("read the server's metadata", self.inference().server_metadata(request).await)
    }

    pub(crate) async fn model_metadata(
        &self,
        name: &str,
        version: &str,
    ) -> Result<inference::ModelMetadataResponse, RpcError> {
        let request = inference::ModelMetadataRequest { name: name.to_owned(), version: version.to_owned() };
        let answer = self.inference().model_metadata(within(READ_S_MAX, request)).await;
        done(format!("read the metadata of model `{name}`"), answer)
    }

    pub(crate) async fn model_statistics(
        &self,
        name: &str,
        version: &str,
    ) -> Result<Vec<inference::ModelStatistics>, RpcError> {
        let request =
            inference::ModelStatisticsRequest { name: name.to_owned(), version: version.to_owned() };
        let answer = self.inference().model_statistics(within(READ_S_MAX, request)).await;
        Ok(done(format!("read the statistics of model `{name}`"), answer)?.model_stats)
    }

    pub(crate) async fn repository_index(
        &self,
    ) -> Result<Vec<inference::repository_index_response::ModelIndex>, RpcError> {
        let request = within(READ_S_MAX, inference::RepositoryIndexRequest::default());
        Ok(done("list the models", self.inference().repository_index(request).await)?.models)
    }

    pub(crate) async fn load(&self, request: inference::RepositoryModelLoadRequest) -> Result<(), RpcError> {
        let what = format!("load model `{}`", request.model_name);
        done(what, self.inference().repository_model_load(within(LOAD_S_MAX, request)).await).map(|_| ())
    }

    pub(crate) async fn unload(&self, name: &str) -> Result<(), RpcError> {
        let request =
            inference::RepositoryModelUnloadRequest { model_name: name.to_owned(), ..Default::default() };
        let answer = self.inference().repository_model_unload(within(LOAD_S_MAX, request)).await;
        done(format!("unload model `{name}`"), answer).map(|_| ())
    }
}

fn done<T>(what: impl Into<String>, answer: Result<Response<T>, Status>) -> Result<T, RpcError> {
    answer.map(Response::into_inner).map_err(|status| RpcError::new(what, &status))
}
