//! A node with one device and one session.

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::devices_server::Devices;
use edgemux_proto::edgemux::v1::sessions_server::Sessions;
use tonic::{Request, Response, Status};

/// The node's devices and sessions.
pub(super) struct Node;

#[tonic::async_trait]
impl Devices for Node {
    async fn list(
        &self,
        _: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        let worker = v1::Worker {
            runtime: "onnx".into(),
            pid: 4711,
            restarts: 0,
            state: "up".into(),
            runtime_version: "0.1".into(),
        };
        let device = v1::Device {
            name: "cpu0".into(),
            kind: v1::DeviceKind::Cpu.into(),
            multiplexing: v1::Multiplexing::Exclusive.into(),
            workers: vec![worker],
            sessions: 1,
            utilisation: 0.25,
            ..Default::default()
        };
        Ok(Response::new(v1::ListDevicesResponse { devices: vec![device] }))
    }
}

#[tonic::async_trait]
impl Sessions for Node {
    async fn list(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let session = v1::Session {
            id: "copy/1".into(),
            model: "copy".into(),
            version: "1".into(),
            device: "cpu0".into(),
            runtime: "onnx".into(),
            state: v1::SessionState::Ready.into(),
            succeeded: 12,
            mean_service_ms: 1.5,
            ..Default::default()
        };
        Ok(Response::new(v1::ListSessionsResponse { sessions: vec![session] }))
    }
}
