//! `edgemux.v1`: sessions and devices as operators see them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgemux_proto::edgemux::v1::devices_server::Devices;
use edgemux_proto::edgemux::v1::sessions_server::Sessions;
use edgemux_proto::edgemux::v1::{
    self as wire, FenceRequest, GetSessionRequest, ListDevicesRequest, ListDevicesResponse,
    ListSessionsRequest, ListSessionsResponse, SessionEvent, SetMultiplexingRequest, UnfenceRequest,
    WatchDevicesRequest, WatchSessionsRequest,
};
use edgemux_runtime_api::runtime::DeviceKind;
use futures_util::stream::StreamExt;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::admission::{latency, mode};
use super::drained;
use super::gate::known;
use super::status::brief;
use crate::access::Caller;
use crate::config::{Multiplexing, QUANTUM_MS, RUN_MAX, Sharing};
use crate::desk::as_predicted;
use crate::device::Device;
use crate::node::Node;
use crate::session::{Session, State};
use crate::terms::{Excess, Terms};

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
    fn sessions(&self, caller: &Caller) -> Vec<wire::Session> {
        let sessions = self.node.sessions();
        let own = sessions.iter().filter(|session| caller.may_use(&session.file.model));
        own.map(|session| self.session(session)).collect()
    }

    pub(super) fn session(&self, session: &Session) -> wire::Session {
        let state = session.state();
        let now = self.node.device(&session.device).map_or(0.0, |device| device.seconds(Instant::now()));
        let (queued, in_service) =
            self.node.device(&session.device).map_or((0, 0), |device| device.load_of(session.id));
        // Requests that are answered wait for this lock: nothing is computed under it.
        let live = session.live();
        let (kept, policed, forecast) = (live.kept(), live.policed(), live.forecast());
        let (margin, at_risk) = (live.margin(), live.at_risk().map(str::to_owned));
        let (observed, rate) = (live.estimator().observed().clone(), live.estimator().rate(now));
        let coverage = live.estimator().margin().map_or(0.0, |margin| margin.coverage());
        drop(live);
        let statistics = session.statistics().clone();
        let reserved = self.node.reservation_of(session).unwrap_or_default();
        wire::Session {
            id: session.name(),
            model: session.file.model.clone(),
            version: session.file.version.to_string(),
            device: session.device.clone(),
            runtime: session.runtime.name().to_owned(),
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
            predicted: forecast.map(|forecast| latency(&forecast.latency)),
            observed: (observed.count() > 0).then(|| wire::LatencyPrediction {
                mean_ms: observed.mean() * 1e3,
                p50_ms: observed.quantile(0.5) * 1e3,
                p95_ms: observed.quantile(0.95) * 1e3,
                p99_ms: observed.quantile(0.99) * 1e3,
            }),
            observed_samples: observed.count(),
            observed_rate_hz: rate,
            objective_kept: if kept.all == 0 { 0.0 } else { kept.kept as f64 / kept.all as f64 },
            coverage,
            margin,
            excess_refused: policed.refused,
            excess_best_effort: policed.best_effort,
            slo_at_risk: at_risk.is_some(),
            at_risk_reason: at_risk.unwrap_or_default(),
            source_model: session.file.source.clone().unwrap_or_default(),
            reservation: reserved.reservation,
            uid: reserved.uid,
            generation: reserved.generation,
            model_digest: self.node.desk.profiles.known_digest(&session.file.path).unwrap_or_default(),
        }
    }

    fn devices(&self, caller: &Caller) -> Vec<wire::Device> {
        self.node.devices.iter().map(|device| self.device(caller, device)).collect()
    }

    fn device(&self, caller: &Caller, device: &Device) -> wire::Device {
        let (snapshot, found) = (device.snapshot(), device.hardware());
        let reading = found.as_ref().map(|found| found.reading.clone()).unwrap_or_default();
        let sessions = self.node.sessions().iter().filter(|session| session.device == device.name).count();
        let worker = |status: crate::device::WorkerStatus| wire::Worker {
            runtime: status.runtime.to_owned(),
            pid: status.pid,
            restarts: status.restarts,
            state: status.state,
            runtime_version: status.version,
            // Whose worker it is, is between the tenant and the operator.
            session: status.session.filter(|name| caller.may_see(name)).unwrap_or_default(),
        };
        wire::Device {
            name: device.name.clone(),
            kind: kind(device.kind).into(),
            multiplexing: mode(as_predicted(snapshot.mode)).into(),
            configured_multiplexing: multiplexing(snapshot.multiplexing).into(),
            width: snapshot.sharing.width.get(),
            quantum_ms: snapshot.sharing.quantum.as_secs_f64() * 1e3,
            run_max: snapshot.sharing.run_max.get(),
            memory_capacity_bytes: device.memory_bytes().unwrap_or_default(),
            predicted_utilisation: device.predicted_utilisation(),
            fenced: snapshot.fenced.is_some(),
            fence_reason: snapshot.fenced.clone().unwrap_or_default(),
            workers: snapshot.workers.into_iter().map(worker).collect(),
            sessions: sessions as u32,
            queued: snapshot.queued as u32,
            in_service: snapshot.in_service as u32,
            utilisation: snapshot.utilisation,
            isolates_sessions: device.isolates_sessions(),
            power_mode: device.power_mode(),
            temperature_c: reading.temperature_c,
            clock_mhz: reading.clock_mhz,
            memory_total_bytes: reading.memory.map(|memory| memory.total_bytes),
            memory_used_bytes: reading.memory.map(|memory| memory.used_bytes),
            source: device.source().map(|source| source.to_string()).unwrap_or_default(),
            hardware_name: found.as_ref().map(|found| found.name.clone()).unwrap_or_default(),
            driver_version: found.and_then(|found| found.driver).unwrap_or_default(),
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

fn multiplexing(multiplexing: Multiplexing) -> wire::Multiplexing {
    match multiplexing {
        Multiplexing::Exclusive => wire::Multiplexing::Exclusive,
        Multiplexing::TimeSliced => wire::Multiplexing::TimeSliced,
        Multiplexing::Concurrent => wire::Multiplexing::Concurrent,
        Multiplexing::Auto => wire::Multiplexing::Auto,
    }
}

/// Terms as they are sent.
pub(super) fn terms(model: &str, terms: &Terms) -> wire::Terms {
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
        excess: match terms.excess {
            Excess::Refuse if terms.guarantee().is_none() => wire::Excess::Unspecified,
            Excess::Refuse => wire::Excess::Refuse,
            Excess::BestEffort => wire::Excess::BestEffort,
        }
        .into(),
        batching: terms.batching.map(|batching| wire::Batching {
            size_max: batching.size_max,
            delay_max_ms: batching.delay_max_ms,
        }),
    }
}

#[tonic::async_trait]
impl Sessions for Operations {
    async fn list(&self, request: Request<ListSessionsRequest>) -> Answer<ListSessionsResponse> {
        let (caller, _) = known(request)?;
        Ok(Response::new(ListSessionsResponse { sessions: self.sessions(&caller) }))
    }

    async fn get(&self, request: Request<GetSessionRequest>) -> Answer<wire::Session> {
        let (caller, GetSessionRequest { id }) = known(request)?;
        let session = self.find(&caller, &id)?;
        Ok(Response::new(self.session(&session)))
    }

    async fn watch(&self, request: Request<WatchSessionsRequest>) -> Answer<BoxStream<SessionEvent>> {
        let (caller, _) = known(request)?;
        let (operations, mut shown) = (self.clone(), Vec::new());
        let changes = WatchStream::new(self.node.watch()).flat_map(move |_| {
            let sessions = operations.sessions(&caller);
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
    async fn list(&self, request: Request<ListDevicesRequest>) -> Answer<ListDevicesResponse> {
        let (caller, _) = known(request)?;
        Ok(Response::new(ListDevicesResponse {
            devices: self.devices(&caller),
            epoch: self.node.desk.ledger().epoch().to_owned(),
        }))
    }

    async fn watch(&self, request: Request<WatchDevicesRequest>) -> Answer<BoxStream<wire::Device>> {
        let (caller, _) = known(request)?;
        let operations = self.clone();
        let changes = WatchStream::new(self.node.watch())
            .flat_map(move |_| futures_util::stream::iter(operations.devices(&caller).into_iter().map(Ok)));
        Ok(Response::new(Box::pin(changes.take_until(drained(self.draining.clone())))))
    }

    async fn set_multiplexing(&self, request: Request<SetMultiplexingRequest>) -> Answer<wire::Device> {
        let (caller, request) = known(request)?;
        let device = self.named(&request.device)?;
        let (multiplexing, sharing) = asked(&request, device)?;
        device.configure(multiplexing, sharing);
        self.node.look_soon();
        Ok(Response::new(self.device(&caller, device)))
    }

    async fn fence(&self, request: Request<FenceRequest>) -> Answer<wire::Device> {
        let (caller, FenceRequest { device, reason }) = known(request)?;
        let device = self.named(&device)?;
        let reason = if reason.is_empty() { "by an operator".to_owned() } else { reason };
        device.fence(Some(reason));
        self.node.look_soon();
        Ok(Response::new(self.device(&caller, device)))
    }

    async fn unfence(&self, request: Request<UnfenceRequest>) -> Answer<wire::Device> {
        let (caller, UnfenceRequest { device }) = known(request)?;
        let device = self.named(&device)?;
        device.fence(None);
        self.node.look_soon();
        Ok(Response::new(self.device(&caller, device)))
    }
}

impl Operations {
    /// A session of the caller's; others are not there.
    pub(super) fn find(&self, caller: &Caller, name: &str) -> Result<Arc<Session>, Status> {
        let found = self.node.sessions().into_iter().find(|session| session.name() == name);
        found.filter(|session| caller.may_use(&session.file.model)).ok_or_else(|| {
            brief(Status::not_found(format!("no session '{name}': a session is named MODEL/VERSION")))
        })
    }

    fn named(&self, name: &str) -> Result<&Arc<Device>, Status> {
        self.node.device(name).ok_or_else(|| {
            let names: Vec<_> = self.node.devices.iter().map(|device| device.name.as_str()).collect();
            brief(Status::not_found(format!("no device '{name}'; this node has: {}", names.join(", "))))
        })
    }
}

/// The mode that was asked for; where it names no parameter, the present one stays.
fn asked(request: &SetMultiplexingRequest, device: &Device) -> Result<(Multiplexing, Sharing), Status> {
    let invalid = |message: String| Err(Status::invalid_argument(message));
    let multiplexing = match request.multiplexing() {
        wire::Multiplexing::Exclusive => Multiplexing::Exclusive,
        wire::Multiplexing::TimeSliced => Multiplexing::TimeSliced,
        wire::Multiplexing::Concurrent => Multiplexing::Concurrent,
        wire::Multiplexing::Auto => Multiplexing::Auto,
        wire::Multiplexing::Unspecified => {
            return invalid("no mode: exclusive, time-sliced, concurrent or auto".into());
        }
    };
    let mut sharing = device.snapshot().sharing;
    if let Some(width) = NonZeroU32::new(request.width) {
        if width.get() as usize > device.lanes {
            let lanes = device.lanes;
            return invalid(format!(
                "a width of {width}: '{}' was started with {lanes}, which its configuration sets",
                device.name
            ));
        }
        sharing.width = width;
    }
    if request.quantum_ms != 0.0 {
        if !(QUANTUM_MS.0..=QUANTUM_MS.1).contains(&request.quantum_ms) {
            return invalid(format!("a quantum of {} ms: 0.01 to 10000", request.quantum_ms));
        }
        sharing.quantum = Duration::from_secs_f64(request.quantum_ms / 1e3);
    }
    if let Some(run_max) = NonZeroU32::new(request.run_max) {
        if run_max.get() > RUN_MAX {
            return invalid(format!("runs of {run_max}: at most {RUN_MAX}"));
        }
        sharing.run_max = run_max;
    }
    Ok((multiplexing, sharing))
}
