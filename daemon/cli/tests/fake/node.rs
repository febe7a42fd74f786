//! A node with two devices and two sessions, which notes what is done to it.

use std::sync::{Arc, Mutex};

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::devices_server::Devices;
use edgemux_proto::edgemux::v1::objective::Statistic;
use edgemux_proto::edgemux::v1::sessions_server::Sessions;
use tokio::sync::mpsc;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// What was asked of the node.
#[derive(Debug, PartialEq)]
pub(crate) enum Call {
    SetMultiplexing(v1::SetMultiplexingRequest),
    Fence(v1::FenceRequest),
    Unfence(String),
    Evaluate(v1::Terms),
    Reserve(v1::ReserveRequest),
    Commit(String),
    Release(String),
    Reset(String),
    Import(Vec<u8>),
}

/// The node's services.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) calls: mpsc::Sender<Call>,
    /// Sessions that were loaded since it was started.
    pub(super) loaded: Arc<Mutex<Vec<v1::Session>>>,
}

impl Node {
    pub(super) fn new(calls: mpsc::Sender<Call>) -> Self {
        Self { calls, loaded: Arc::default() }
    }

    pub(super) fn note(&self, call: Call) -> Result<(), Status> {
        self.calls.try_send(call).map_err(|_| Status::internal("the test asks too much"))
    }

    fn changed(
        &self,
        name: &str,
        change: impl FnOnce(&mut v1::Device),
    ) -> Result<Response<v1::Device>, Status> {
        let found = devices().into_iter().find(|device| device.name == name);
        let mut device = found.ok_or_else(|| Status::not_found(format!("no device '{name}'")))?;
        change(&mut device);
        Ok(Response::new(device))
    }
}

fn devices() -> Vec<v1::Device> {
    let worker = |runtime: &str| v1::Worker {
        runtime: runtime.into(),
        pid: 4711,
        restarts: 0,
        state: "up".into(),
        runtime_version: "0.1".into(),
        session: String::new(),
    };
    let cpu = v1::Device {
        name: "cpu0".into(),
        kind: v1::DeviceKind::Cpu.into(),
        multiplexing: v1::Multiplexing::Exclusive.into(),
        configured_multiplexing: v1::Multiplexing::Exclusive.into(),
        width: 1,
        workers: vec![worker("onnx")],
        sessions: 1,
        utilisation: 0.25,
        ..Default::default()
    };
    let gpu = v1::Device {
        name: "gpu0".into(),
        kind: v1::DeviceKind::Gpu.into(),
        multiplexing: v1::Multiplexing::Concurrent.into(),
        configured_multiplexing: v1::Multiplexing::Auto.into(),
        width: 4,
        quantum_ms: 10.0,
        run_max: 1,
        workers: vec![worker("emulator")],
        memory_capacity_bytes: 1 << 30,
        predicted_utilisation: 0.42,
        source: "nvidia:GPU-5e1f3a60".into(),
        hardware_name: "NVIDIA T4".into(),
        driver_version: "570.1".into(),
        power_mode: "70W".into(),
        temperature_c: Some(61.0),
        memory_total_bytes: Some(16 << 30),
        memory_used_bytes: Some(3 << 30),
        ..Default::default()
    };
    vec![cpu, gpu]
}

/// Latency of some quantiles.
pub(super) fn latency(p50_ms: f64, p95_ms: f64, p99_ms: f64) -> Option<v1::LatencyPrediction> {
    Some(v1::LatencyPrediction { mean_ms: p50_ms, p50_ms, p95_ms, p99_ms })
}

/// 40 requests per second, of which 99 % take at most 60 ms.
pub(super) fn terms(model: &str) -> v1::Terms {
    let objective = v1::Objective { statistic: Some(Statistic::Quantile(0.99)), latency_ms: 60.0 };
    v1::Terms { model: model.into(), rate_hz: 40.0, objective: Some(objective), ..Default::default() }
}

pub(super) fn sessions() -> Vec<v1::Session> {
    let copy = v1::Session {
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
    let promised = v1::Session {
        id: "promised/3".into(),
        model: "promised".into(),
        version: "3".into(),
        device: "gpu0".into(),
        terms: Some(terms("promised")),
        succeeded: 1000,
        predicted: latency(5.5, 14.0, 20.0),
        observed: latency(5.4, 13.5, 90.25),
        observed_samples: 400,
        observed_rate_hz: 77.0,
        objective_kept: 0.97,
        coverage: 0.975,
        margin: 1.25,
        excess_refused: 88,
        slo_at_risk: true,
        at_risk_reason: "its p99 is predicted to be 71 ms".into(),
        ..copy.clone()
    };
    vec![copy, promised]
}

#[tonic::async_trait]
impl Devices for Node {
    async fn list(
        &self,
        _: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        Ok(Response::new(v1::ListDevicesResponse { devices: devices(), ..Default::default() }))
    }

    async fn watch(
        &self,
        _: Request<v1::WatchDevicesRequest>,
    ) -> Result<Response<BoxStream<v1::Device>>, Status> {
        Err(Status::unimplemented("no command watches devices"))
    }

    async fn set_multiplexing(
        &self,
        request: Request<v1::SetMultiplexingRequest>,
    ) -> Result<Response<v1::Device>, Status> {
        let request = request.into_inner();
        let (name, mode) = (request.device.clone(), request.multiplexing);
        if request.width > 4 {
            return Err(Status::invalid_argument("a width of 9: 'gpu0' was started with 4"));
        }
        self.note(Call::SetMultiplexing(request))?;
        self.changed(&name, |device| device.multiplexing = mode)
    }

    async fn fence(&self, request: Request<v1::FenceRequest>) -> Result<Response<v1::Device>, Status> {
        let request = request.into_inner();
        self.note(Call::Fence(request.clone()))?;
        self.changed(&request.device, |device| {
            device.fenced = true;
            device.fence_reason = request.reason;
        })
    }

    async fn unfence(&self, request: Request<v1::UnfenceRequest>) -> Result<Response<v1::Device>, Status> {
        let name = request.into_inner().device;
        self.note(Call::Unfence(name.clone()))?;
        self.changed(&name, |device| device.fenced = false)
    }
}

#[tonic::async_trait]
impl Sessions for Node {
    async fn list(
        &self,
        _: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let mut sessions = sessions();
        sessions.extend(self.loaded.lock().unwrap().iter().cloned());
        Ok(Response::new(v1::ListSessionsResponse { sessions }))
    }

    async fn get(&self, request: Request<v1::GetSessionRequest>) -> Result<Response<v1::Session>, Status> {
        let id = request.into_inner().id;
        let found = sessions().into_iter().find(|session| session.id == id);
        found.map(Response::new).ok_or_else(|| Status::not_found(format!("no session '{id}'")))
    }

    async fn watch(
        &self,
        _: Request<v1::WatchSessionsRequest>,
    ) -> Result<Response<BoxStream<v1::SessionEvent>>, Status> {
        Err(Status::unimplemented("no command watches sessions"))
    }
}
