//! `inference.GRPCInferenceService`, the protocol of Triton and of the Open Inference Protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edgemux_proto::inference::grpc_inference_service_server::GrpcInferenceService;
use edgemux_proto::inference::repository_index_response::ModelIndex;
use edgemux_proto::inference::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse, CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse, CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse,
    LogSettingsRequest, LogSettingsResponse, ModelConfigRequest, ModelConfigResponse, ModelInferRequest,
    ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
    ModelStatisticsRequest, ModelStatisticsResponse, ModelStreamInferResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse, SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse, SystemSharedMemoryUnregisterRequest,
    SystemSharedMemoryUnregisterResponse, TraceSettingRequest, TraceSettingResponse,
    cuda_shared_memory_status_response, system_shared_memory_status_response, trace_setting_response,
};
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::gate::{caller, known};
use super::infer::Way;
use super::{description, infer, stream, terms};
use crate::access::Caller;
use crate::logging::Logging;
use crate::node::{NoSession, Node, Wanted};
use crate::session::{Loaded, Session, State};
use crate::traces::Traces;

type Answer<T> = Result<Response<T>, Status>;

/// The extensions of the protocol that are served.
const EXTENSIONS: [&str; 8] = [
    "binary_tensor_data",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
    "system_shared_memory",
];

/// The service, over a node.
#[derive(Clone, Debug)]
pub(super) struct InferenceService {
    /// The node that serves.
    pub node: Arc<Node>,
    /// Where requests' ways are told of.
    pub traces: Option<Arc<Traces>>,
    /// What `LogSettings` changes.
    pub logging: Logging,
    /// Ends when the daemon drains: streams take no more requests then.
    pub draining: tokio::sync::watch::Receiver<bool>,
}

impl InferenceService {
    /// A session of the caller's; others are not there.
    fn session(&self, caller: &Caller, model: &str, version: &str) -> Result<Arc<Session>, NoSession> {
        match caller.may_use(model) {
            true => self.node.session(model, version),
            false => Err(NoSession::Unknown(model.to_owned())),
        }
    }

    /// Every session of the caller's.
    fn sessions(&self, caller: &Caller) -> Vec<Arc<Session>> {
        let mut sessions = self.node.sessions();
        sessions.retain(|session| caller.may_use(&session.file.model));
        sessions
    }

    /// A session with its model, whatever state it is in as long as the model is known.
    fn described(
        &self,
        caller: &Caller,
        model: &str,
        version: &str,
    ) -> Result<(Arc<Session>, Arc<Loaded>), Status> {
        let session = self.session(caller, model, version)?;
        let loaded = session.serving().or_else(|| session.state().loaded().cloned());
        match loaded {
            Some(loaded) => Ok((session, loaded)),
            None => Err(Status::unavailable(format!("model '{model}' is {}", session.state().name()))),
        }
    }

    /// One request, one response.
    pub(super) async fn infer(
        &self,
        caller: &Caller,
        metadata: &MetadataMap,
        request: ModelInferRequest,
    ) -> Result<ModelInferResponse, Status> {
        let traced = self.traces.as_ref().and_then(|traces| traces.begin(metadata, caller.tenant()));
        let way = Way { caller, deadline: deadline(metadata), streaming: false, traced };
        let answer = infer::start(&self.node, request, way)?.next().await;
        answer.unwrap_or_else(|| Err(Status::internal("the request came to nothing")))
    }

    fn is_ready(&self, caller: &Caller, model: &str, version: &str) -> bool {
        let session = self.session(caller, model, version);
        session.is_ok_and(|session| matches!(session.state(), State::Ready(_)))
    }
}

/// The client's deadline, from the `grpc-timeout` header: at most eight digits and a unit.
pub(super) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    };
    Instant::now().checked_add(timeout)
}

#[tonic::async_trait]
impl GrpcInferenceService for InferenceService {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        let ready = self.node.is_started() && !*self.draining.borrow();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let (caller, ModelReadyRequest { name, version }) = known(request)?;
        Ok(Response::new(ModelReadyResponse { ready: self.is_ready(&caller, &name, &version) }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadataResponse {
            name: "edgemux".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.map(str::to_owned).into(),
        }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let (caller, ModelMetadataRequest { name, version }) = known(request)?;
        let (session, loaded) = self.described(&caller, &name, &version)?;
        let versions = self
            .node
            .sessions()
            .iter()
            .filter(|other| other.file.model == name && other.state().loaded().is_some())
            .map(|other| other.file.version.to_string())
            .collect();
        Ok(Response::new(description::metadata(&session, &loaded, versions)))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let (metadata, extensions, request) = request.into_parts();
        self.infer(caller(&extensions)?, &metadata, request).await.map(Response::new)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<BoxStream<ModelStreamInferResponse>> {
        let (metadata, extensions, requests) = request.into_parts();
        let of = stream::Of { caller: caller(&extensions)?.clone(), metadata, traces: self.traces.clone() };
        let responses = stream::serve(Arc::clone(&self.node), of, requests, self.draining.clone());
        Ok(Response::new(Box::pin(responses)))
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Answer<ModelConfigResponse> {
        let (caller, ModelConfigRequest { name, version }) = known(request)?;
        let (session, loaded) = self.described(&caller, &name, &version)?;
        let kind = self
            .node
            .device(&session.device)
            .map(|device| device.kind)
            .ok_or_else(|| Status::internal("the session's device is gone"))?;
        Ok(Response::new(ModelConfigResponse { config: Some(description::config(&session, &loaded, kind)) }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Answer<ModelStatisticsResponse> {
        let (caller, ModelStatisticsRequest { name, version }) = known(request)?;
        let sessions = match (name.is_empty(), version.is_empty()) {
            (true, _) => self.sessions(&caller),
            (false, false) => vec![self.session(&caller, &name, &version)?],
            (false, true) => {
                self.session(&caller, &name, "")?;
                self.node.sessions().into_iter().filter(|session| session.file.model == name).collect()
            }
        };
        let known = |session: &&Arc<Session>| !session.state().is_over();
        let model_stats =
            sessions.iter().filter(known).map(|session| description::statistics(session)).collect();
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Answer<RepositoryIndexResponse> {
        let (caller, RepositoryIndexRequest { ready: only_ready, .. }) = known(request)?;
        let sessions = self.sessions(&caller);
        let mut models = Vec::new();
        for session in &sessions {
            let (state, reason) = match session.state() {
                State::Ready(_) => ("READY", String::new()),
                State::Loading | State::Warming(_) => ("LOADING", String::new()),
                State::Draining(_) => ("UNLOADING", String::new()),
                State::Gone => ("UNAVAILABLE", "unloaded".into()),
                State::Failed(reason) => ("UNAVAILABLE", reason),
            };
            models.push(ModelIndex {
                name: session.file.model.clone(),
                version: session.file.version.to_string(),
                state: state.into(),
                reason,
            });
        }
        for (name, versions) in self.node.repository.models()? {
            if !caller.may_use(&name) {
                continue;
            }
            let loaded = |version: &u64| {
                sessions.iter().any(|session| session.file.model == name && session.file.version == *version)
            };
            for version in versions.iter().filter(|version| !loaded(version)) {
                models.push(ModelIndex {
                    name: name.clone(),
                    version: version.to_string(),
                    state: "UNAVAILABLE".into(),
                    reason: "not loaded".into(),
                });
            }
        }
        models.retain(|model| !only_ready || model.state == "READY");
        models.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        Ok(Response::new(RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        let (caller, request) = known(request)?;
        let asked = terms::from_parameters(&request.parameters)?;
        let (model, version) = (request.model_name.as_str(), asked.version.as_deref());
        self.node
            .load(
                &caller,
                Wanted { model, version, terms: asked.terms, alone: asked.alone, ..Wanted::default() },
            )
            .await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        let (caller, request) = known(request)?;
        let model = request.model_name;
        if !caller.may_use(&model) {
            return Err(NoSession::Unknown(model).into());
        }
        self.node.unload(&model).await;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        let (caller, SystemSharedMemoryStatusRequest { name }) = known(request)?;
        let mut regions = self.node.regions.of(&caller).list();
        if !name.is_empty() {
            regions.retain(|known, _| *known == name);
            if regions.is_empty() {
                return Err(Status::not_found(format!(
                    "Unable to find system shared memory region: '{name}'"
                )));
            }
        }
        let regions = regions.into_iter().map(|(name, region)| {
            let status = system_shared_memory_status_response::RegionStatus {
                name: name.clone(),
                key: region.key().to_owned(),
                offset: region.offset(),
                byte_size: region.byte_size(),
            };
            (name, status)
        });
        Ok(Response::new(SystemSharedMemoryStatusResponse { regions: regions.collect() }))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        let (caller, request) = known(request)?;
        let SystemSharedMemoryRegisterRequest { name, key, offset, byte_size } = request;
        self.node.regions.of(&caller).register(&name, &key, offset, byte_size)?;
        Ok(Response::new(SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        let (caller, request) = known(request)?;
        let own = self.node.regions.of(&caller);
        match request.name.as_str() {
            "" => own.unregister_all(),
            name => own.unregister(name),
        }
        Ok(Response::new(SystemSharedMemoryUnregisterResponse {}))
    }

    // No CUDA region can be registered, so there is none to list or to forget: clients ask as a matter of course.
    async fn cuda_shared_memory_status(
        &self,
        request: Request<CudaSharedMemoryStatusRequest>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        let name = request.into_inner().name;
        if !name.is_empty() {
            return Err(Status::not_found(format!("Unable to find cuda shared memory region: '{name}'")));
        }
        let regions = std::iter::empty::<(String, cuda_shared_memory_status_response::RegionStatus)>();
        Ok(Response::new(CudaSharedMemoryStatusResponse { regions: regions.collect() }))
    }

    async fn cuda_shared_memory_register(
        &self,
        request: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        Err(Status::unimplemented(format!(
            "CUDA shared memory is not served, region '{}' is not registered: use system shared memory",
            request.into_inner().name
        )))
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(&self, request: Request<TraceSettingRequest>) -> Answer<TraceSettingResponse> {
        if request.into_inner().settings.values().any(|setting| !setting.value.is_empty()) {
            return Err(Status::unimplemented("request traces cannot be switched on by this RPC"));
        }
        let off = trace_setting_response::SettingValue { value: vec!["OFF".into()] };
        let settings = [("trace_level".to_owned(), off)].into_iter().collect();
        Ok(Response::new(TraceSettingResponse { settings }))
    }

    async fn log_settings(&self, request: Request<LogSettingsRequest>) -> Answer<LogSettingsResponse> {
        let (caller, request) = known(request)?;
        if !request.settings.is_empty() && !caller.is_admin() {
            return Err(Status::permission_denied("what is logged is for admins to change"));
        }
        self.logging.change(&request.settings)?;
        Ok(Response::new(LogSettingsResponse { settings: self.logging.settings() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(text: &str) -> Option<Duration> {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse().unwrap());
        deadline(&metadata).map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    #[test]
    fn a_deadline_is_read_from_its_header() {
        assert!(deadline(&MetadataMap::new()).is_none());
        let hour = timeout("1H").unwrap();
        assert!(hour > Duration::from_secs(3590) && hour <= Duration::from_secs(3600), "{hour:?}");
        assert_eq!(timeout("0n"), Some(Duration::ZERO));
        for broken in ["", "5", "m", "-1S", "1x", "999999999S", "ä"] {
            let mut metadata = MetadataMap::new();
            if let Ok(value) = broken.parse() {
                metadata.insert("grpc-timeout", value);
                assert!(deadline(&metadata).is_none(), "{broken:?}");
            }
        }
    }
}
