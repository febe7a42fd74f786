//! The gRPC side: services over a node, on every address the configuration names.

mod admission;
mod calibration;
mod contents;
mod description;
mod direct;
mod gate;
mod health;
mod infer;
mod inference;
mod operations;
mod status;
mod stream;
mod terms;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use edgemux_proto::edgemux::v1::admission_server::AdmissionServer;
use edgemux_proto::edgemux::v1::calibration_server::CalibrationServer;
use edgemux_proto::edgemux::v1::devices_server::DevicesServer;
use edgemux_proto::edgemux::v1::sessions_server::SessionsServer;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthReporter;

use self::direct::Inference;
use self::gate::Gate;
use self::health::Health;
use self::inference::InferenceService;
use self::operations::Operations;
use crate::connection::Connection;
use crate::corked::Corked;
use crate::listener::{Certificates, Listener};
use crate::logging::Logging;
use crate::node::Node;
use crate::traces::Traces;

/// A tensor of the usual size comes in one frame, which the model's inputs then share. With the 16 KiB that are HTTP/2's
/// default, a tensor of 600 KB comes in 37 pieces, which takes half as much time again.
const FRAME_BYTES: u32 = 4 << 20;
/// A stream may send a whole tensor of the usual size before it waits for a window update.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// All streams of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// A client that has gone without a word gives its connection back after these.
const KEEPALIVE_PERIOD: Duration = Duration::from_secs(60);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);

/// Returns when the daemon drains.
async fn drained(mut draining: watch::Receiver<bool>) {
    // A daemon that is gone drains nothing any more: the transport ends.
    let _ = draining.wait_for(|&draining| draining).await;
}

/// Everything that is served, ready to be put on a listener.
#[derive(Debug)]
pub struct Services {
    gate: Gate,
    routes: Routes,
    streams_per_connection: u32,
    /// For connections, on all sockets together.
    slots: Arc<Semaphore>,
    health: HealthReporter,
}

impl Services {
    /// The services of `node`. When `draining` becomes true, streams take no more requests and watches end.
    pub fn new(
        node: &Arc<Node>,
        traces: Option<Arc<Traces>>,
        logging: Logging,
        draining: watch::Receiver<bool>,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let limits = node.config().limits.clone();
        let limit = limits.message_bytes;
        let health = HealthReporter::new();
        let health_service = HealthServer::new(Health::new(&health, draining.clone()));
        let operations = Operations { node: Arc::clone(node), draining: draining.clone() };
        let inference = InferenceService { node: Arc::clone(node), traces, logging, draining };
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(edgemux_proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes = Routes::new(Inference::new(inference, limit))
            .add_service(AdmissionServer::new(operations.clone()))
            .add_service(SessionsServer::new(operations.clone()))
            .add_service(DevicesServer::new(operations.clone()))
            .add_service(CalibrationServer::new(operations))
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare();
        Ok(Self {
            gate: Gate(Arc::clone(node)),
            routes,
            streams_per_connection: limits.streams_per_connection,
            slots: Arc::new(Semaphore::new(limits.connections)),
            health,
        })
    }

    /// Tells `grpc.health.v1` whether the daemon, and its inference service by name, serves.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.health.set_service_status("", status).await;
        self.health.set_service_status("inference.GRPCInferenceService", status).await;
    }

    /// Serves one listener until `stop` is true and every request has been answered.
    pub async fn serve(
        &self,
        listener: Listener,
        certificates: Certificates,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), tonic::transport::Error> {
        let server = Server::builder()
            .max_frame_size(FRAME_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(self.streams_per_connection)
            .http2_keepalive_interval(Some(KEEPALIVE_PERIOD))
            .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE))
            .layer(self.gate.clone())
            .add_routes(self.routes.clone());
        let stopped = async move {
            // The sender lives as long as the daemon.
            let _ = stop.wait_for(|&stop| stop).await;
        };
        let incoming = listener.incoming(certificates, Arc::clone(&self.slots)).map(corked);
        server.serve_with_incoming_shutdown(incoming, stopped).await
    }
}

fn corked(accepted: io::Result<Connection>) -> io::Result<Corked<Connection>> {
    accepted.map(Corked::new)
}
