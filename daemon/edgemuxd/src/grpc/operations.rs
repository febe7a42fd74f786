//! `edgemux.v1`: sessions and devices as operators see them. What is not built yet answers UNIMPLEMENTED.

use std::sync::Arc;

use edgemux_proto::edgemux::v1::admission_server::Admission;
use edgemux_proto::edgemux::v1::calibration_server::Calibration;
use edgemux_proto::edgemux::v1::devices_server::Devices;
use edgemux_proto::edgemux::v1::sessions_server::Sessions;
use edgemux_proto::edgemux::v1::{
    self as wire, GetSessionRequest, ListDevicesRequest, ListDevicesResponse, ListSessionsRequest,
    ListSessionsResponse, SessionEvent, WatchDevicesRequest, WatchSessionsRequest,
};
use edgemux_runtime_api::runtime::DeviceKind;
use futures_util::stream::StreamExt;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::drained;
use crate::device::Device;
use crate::node::Node;
use crate::session::{Session, State};
use crate::terms::Terms;

type Answer<T> = Result<Response<T>, Status>;

/// The services of `edgemux.v1`, over a node.
#[derive(Clone, Debug)]
pub(super) struct Operations {
    /// The node that serves.
    pub node: Arc<Node>,
    /// Ends watches, which would keep a daemon that drains from its end.
    pub draining: watch::Receiver<bool>,
}

impl Operations {
    fn sessions(&self) -> Vec<wire::Session> {
        self.node.sessions().iter().map(|session| self.session(session)).collect()
    }

    fn session(&self, session: &Session) -> wire::Session {
        let state = session.state();
        let statistics = session.statistics().clone();
        let (queued, in_service) =
            self.node.device(&session.device).map_or((0, 0), |device| device.load_of(session.id));
        wire::Session {
            id: session.name(),
            model: session.file.model.clone(),
            version: session.file.version.to_string(),
            device: session.device.clone(),
            runtime: session.file.runtime.name().to_owned(),
            state: match state {
                State::Loading => wire::SessionState::Loading,
                State::Warming(_) => wire::SessionState::Warming,
                State::Ready(_) => wire::SessionState::Ready,
                State::Draining(_) => wire::SessionState::Draining,
                State::Gone => wire::SessionState::Gone,
                State::Failed(_) => wire::SessionState::Failed,
            }
            .into(),
            memory_bytes: state.loaded().map_or(0, |loaded| loaded.memory.at_rest_bytes),
            reason: if let State::Failed(reason) = state { reason } else { String::new() },
            terms: Some(terms(&session.file.model, &session.terms)),
            queued: queued as u32,
            in_service: in_service as u32,
            succeeded: statistics.success.count,
            failed: statistics.fail.count,
            mean_queue_ms: statistics.queue.mean_ms(),
            mean_service_ms: statistics.compute_infer.mean_ms(),
            crashes: session.crashes(),
        }
    }

    fn devices(&self) -> Vec<wire::Device> {
        self.node.devices.iter().map(|device| self.device(device)).collect()
    }

    fn device(&self, device: &Device) -> wire::Device {
        let snapshot = device.snapshot();
        let sessions = self.node.sessions().iter().filter(|session| session.device == device.name).count();
        let worker = |status: crate::device::WorkerStatus| wire::Worker {
            runtime: status.runtime.to_owned(),
            pid: status.pid,
            restarts: status.restarts,
            state: status.state,
            runtime_version: status.version,
        };
        wire::Device {
            name: device.name.clone(),
            kind: kind(device.kind).into(),
            multiplexing: wire::Multiplexing::Exclusive.into(),
            fenced: false,
            fence_reason: String::new(),
            workers: snapshot.workers.into_iter().map(worker).collect(),
            sessions: sessions as u32,
            queued: snapshot.queued as u32,
            in_service: snapshot.in_service as u32,
            utilisation: snapshot.utilisation,
        }
    }
}

fn kind(kind: DeviceKind) -> wire::DeviceKind {
    match kind {
        DeviceKind::Cpu => wire::DeviceKind::Cpu,
        DeviceKind::Gpu => wire::DeviceKind::Gpu,
        DeviceKind::Edgetpu => wire::DeviceKind::Edgetpu,
    }
}

fn terms(model: &str, terms: &Terms) -> wire::Terms {
    let objective = terms.objective.map(|objective| wire::Objective {
        statistic: Some(match objective.quantile {
            Some(quantile) => wire::objective::Statistic::Quantile(quantile),
            None => wire::objective::Statistic::Mean(true),
        }),
        latency_ms: objective.latency_ms,
    });
    wire::Terms {
        model: model.to_owned(),
        version: terms.version.map(|version| version.to_string()).unwrap_or_default(),
        rate_hz: terms.rate_hz.unwrap_or_default(),
        burst: terms.burst.unwrap_or_default(),
        objective,
        priority: terms.priority,
        devices: terms.devices.iter().map(|&device| kind(device).into()).collect(),
    }
}

#[tonic::async_trait]
impl Sessions for Operations {
    async fn list(&self, _: Request<ListSessionsRequest>) -> Answer<ListSessionsResponse> {
        Ok(Response::new(ListSessionsResponse { sessions: self.sessions() }))
    }

    async fn get(&self, request: Request<GetSessionRequest>) -> Answer<wire::Session> {
        let id = request.into_inner().id;
        match self.node.sessions().iter().find(|session| session.name() == id) {
            Some(session) => Ok(Response::new(self.session(session))),
            None => Err(Status::not_found(format!("no session '{id}': a session is named MODEL/VERSION"))),
        }
    }

    async fn watch(&self, _: Request<WatchSessionsRequest>) -> Answer<BoxStream<SessionEvent>> {
        let (operations, mut shown) = (self.clone(), Vec::new());
        let changes = WatchStream::new(self.node.watch()).flat_map(move |_| {
            let sessions = operations.sessions();
            let key = |session: &wire::Session| (session.id.clone(), session.state, session.reason.clone());
            let news: Vec<_> =
                sessions.iter().filter(|session| !shown.contains(&key(session))).cloned().collect();
            shown = sessions.iter().map(key).collect();
            futures_util::stream::iter(
                news.into_iter().map(|session| Ok(SessionEvent { session: Some(session) })),
            )
        });
        Ok(Response::new(Box::pin(changes.take_until(drained(self.draining.clone())))))
    }
}

#[tonic::async_trait]
impl Devices for Operations {
    async fn list(&self, _: Request<ListDevicesRequest>) -> Answer<ListDevicesResponse> {
        Ok(Response::new(ListDevicesResponse { devices: self.devices() }))
    }

    async fn watch(&self, _: Request<WatchDevicesRequest>) -> Answer<BoxStream<wire::Device>> {
        let operations = self.clone();
        let changes = WatchStream::new(self.node.watch())
            .flat_map(move |_| futures_util::stream::iter(operations.devices().into_iter().map(Ok)));
        Ok(Response::new(Box::pin(changes.take_until(drained(self.draining.clone())))))
    }
}

impl Admission for Operations {}

impl Calibration for Operations {}
