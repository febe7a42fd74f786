//! Profiles of the node's sessions, and a document of them.

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::calibration_server::Calibration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::node::{Call, Node, sessions};

/// What is exported, and all that is taken in.
pub(crate) const DOCUMENT: &[u8] = b"profiles, as a daemon writes them";

fn profile(session: &str) -> Result<v1::CalibrationProfile, Status> {
    if !sessions().iter().any(|known| known.id == session) {
        return Err(Status::not_found(format!("no session '{session}': a session is named MODEL/VERSION")));
    }
    Ok(v1::CalibrationProfile {
        session: session.into(),
        model_digest: "0123456789abcdef0123456789abcdef".into(),
        device: "gpu0".into(),
        power_mode: "default".into(),
        samples: 250,
        service_mean_ms: 5.25,
        service_cv: 0.2,
        service_error: 0.01,
        drift_events: 1,
        last_drift_factor: 2.0,
        age_s: 0.5,
        speed_up: vec![1.0, 1.5],
        ..Default::default()
    })
}

#[tonic::async_trait]
impl Calibration for Node {
    async fn get(
        &self,
        request: Request<v1::GetCalibrationRequest>,
    ) -> Result<Response<v1::CalibrationProfile>, Status> {
        Ok(Response::new(profile(&request.into_inner().session)?))
    }

    /// Goes on until nobody listens.
    async fn watch(
        &self,
        request: Request<v1::WatchCalibrationRequest>,
    ) -> Result<Response<BoxStream<v1::CalibrationProfile>>, Status> {
        let session = request.into_inner().session;
        let profile = profile(if session.is_empty() { "copy/1" } else { &session })?;
        let (sender, stream) = mpsc::channel(1);
        tokio::spawn(async move { while sender.send(Ok(profile.clone())).await.is_ok() {} });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn reset(
        &self,
        request: Request<v1::ResetCalibrationRequest>,
    ) -> Result<Response<v1::ResetCalibrationResponse>, Status> {
        let session = request.into_inner().session;
        if !session.is_empty() {
            profile(&session)?;
        }
        self.note(Call::Reset(session))?;
        Ok(Response::new(v1::ResetCalibrationResponse {}))
    }

    async fn export(
        &self,
        _: Request<v1::ExportCalibrationRequest>,
    ) -> Result<Response<v1::CalibrationArchive>, Status> {
        Ok(Response::new(v1::CalibrationArchive { document: DOCUMENT.into() }))
    }

    async fn import(
        &self,
        request: Request<v1::CalibrationArchive>,
    ) -> Result<Response<v1::ImportCalibrationResponse>, Status> {
        let document = request.into_inner().document;
        if document != DOCUMENT {
            return Err(Status::invalid_argument("the document is not taken: its checksum is wrong"));
        }
        self.note(Call::Import(document.into()))?;
        Ok(Response::new(v1::ImportCalibrationResponse { profiles: 2 }))
    }
}
