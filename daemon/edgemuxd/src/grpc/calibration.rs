//! `edgemux.v1.Calibration`: what was learned, and how it moves between boxes.

use std::time::{Duration, Instant, SystemTime};

use edgemux_calibration::archive::Entry;
use edgemux_proto::edgemux::v1::calibration_server::Calibration;
use edgemux_proto::edgemux::v1::{
    CalibrationArchive, CalibrationProfile, ExportCalibrationRequest, GetCalibrationRequest,
    ImportCalibrationResponse, ListCalibrationRequest, ListCalibrationResponse, ResetCalibrationRequest,
    ResetCalibrationResponse, WatchCalibrationRequest,
};
use futures_util::stream::StreamExt;
use tokio_stream::wrappers::IntervalStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::drained;
use super::gate::known;
use super::operations::Operations;
use super::status::brief;
use crate::discovery::DEFAULT_POWER_MODE;
use crate::session::Session;

type Answer<T> = Result<Response<T>, Status>;

/// How often a watch looks.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

#[tonic::async_trait]
impl Calibration for Operations {
    async fn get(&self, request: Request<GetCalibrationRequest>) -> Answer<CalibrationProfile> {
        let (caller, GetCalibrationRequest { session }) = known(request)?;
        let session = self.find(&caller, &session)?;
        Ok(Response::new(self.profile(&session)))
    }

    async fn watch(
        &self,
        request: Request<WatchCalibrationRequest>,
    ) -> Answer<BoxStream<CalibrationProfile>> {
        let (caller, WatchCalibrationRequest { session: wanted }) = known(request)?;
        if !wanted.is_empty() {
            self.find(&caller, &wanted)?;
        }
        let operations = self.clone();
        let ticks = IntervalStream::new(tokio::time::interval(WATCH_PERIOD));
        let profiles = ticks.flat_map(move |_| {
            let sessions = operations.node.sessions().into_iter();
            let sessions = sessions.filter(|session| caller.may_use(&session.file.model));
            let wanted = sessions.filter(|session| wanted.is_empty() || session.name() == wanted);
            let profiles: Vec<_> = wanted.map(|session| Ok(operations.profile(&session))).collect();
            futures_util::stream::iter(profiles)
        });
        Ok(Response::new(Box::pin(profiles.take_until(drained(self.draining.clone())))))
    }

    async fn list(&self, _: Request<ListCalibrationRequest>) -> Answer<ListCalibrationResponse> {
        for session in self.node.sessions() {
            self.node.remember(&session);
        }
        let profiles = self.node.desk.profiles.entries().iter().map(kept).collect();
        Ok(Response::new(ListCalibrationResponse { profiles }))
    }

    async fn reset(&self, request: Request<ResetCalibrationRequest>) -> Answer<ResetCalibrationResponse> {
        let (caller, ResetCalibrationRequest { session: wanted }) = known(request)?;
        if !wanted.is_empty() {
            self.find(&caller, &wanted)?;
        } else if !caller.is_admin() {
            return Err(Status::permission_denied(
                "name one of your sessions: all of them are for admins to reset",
            ));
        }
        self.node.forget(&wanted);
        Ok(Response::new(ResetCalibrationResponse {}))
    }

    async fn export(&self, _: Request<ExportCalibrationRequest>) -> Answer<CalibrationArchive> {
        self.node.save().await;
        Ok(Response::new(CalibrationArchive { document: self.node.desk.profiles.export().into() }))
    }

    async fn import(&self, request: Request<CalibrationArchive>) -> Answer<ImportCalibrationResponse> {
        match self.node.desk.profiles.import(&request.into_inner().document) {
            Ok(taken) => {
                self.node.save().await;
                Ok(Response::new(ImportCalibrationResponse { profiles: taken as u32 }))
            }
            Err(error) => Err(brief(Status::invalid_argument(format!("the document is not taken: {error}")))),
        }
    }
}

/// A profile that is kept, whoever runs the model.
fn kept(entry: &Entry) -> CalibrationProfile {
    let profile = &entry.profile;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    CalibrationProfile {
        model_digest: entry.key.model_digest.clone(),
        device: entry.key.device.clone(),
        power_mode: entry.key.power_mode.clone(),
        samples: entry.samples,
        service_mean_ms: profile.service.mean() * 1e3,
        service_cv: profile.service.scv().sqrt(),
        reload_ms: profile.reload.map_or(0.0, |reload| reload.overhead.ms()),
        service_error: profile.uncertainty.service,
        reload_error: profile.uncertainty.reload,
        age_s: since.as_secs().saturating_sub(entry.updated_unix_s) as f64,
        memory_at_rest_bytes: profile.memory.at_rest,
        memory_peak_bytes: profile.memory.peak,
        ..CalibrationProfile::default()
    }
}

impl Operations {
    fn profile(&self, session: &Session) -> CalibrationProfile {
        let profile = session.profile();
        let device = self.node.device(&session.device);
        let now = device.map_or(0.0, |device| device.seconds(Instant::now()));
        let speed_up = device.map(|device| device.snapshot().speed_up);
        let live = session.live();
        let estimator = live.estimator();
        let service = profile.as_ref().map(|profile| &profile.service);
        CalibrationProfile {
            session: session.name(),
            model_digest: self.node.desk.profiles.known_digest(&session.file.path).unwrap_or_default(),
            device: session.device.clone(),
            power_mode: device.map_or_else(|| DEFAULT_POWER_MODE.to_owned(), |device| device.power_mode()),
            samples: live.samples(),
            service_mean_ms: service.map_or(0.0, |service| service.mean() * 1e3),
            service_cv: service.map_or(0.0, |service| service.scv().sqrt()),
            reload_ms: profile.as_ref().and_then(|p| p.reload).map_or(0.0, |reload| reload.overhead.ms()),
            rate_hz: estimator.rate(now),
            arrival_scv: estimator.arrival_scv(),
            service_error: profile.as_ref().map_or(0.0, |p| p.uncertainty.service),
            reload_error: profile.as_ref().map_or(0.0, |p| p.uncertainty.reload),
            path_ms: estimator.path_mean() * 1e3,
            drift_events: live.drifts().count,
            last_drift_factor: live.drifts().last_factor,
            age_s: estimator.age(now).unwrap_or_default(),
            speed_up: speed_up.map_or(Vec::new(), |curve| (1..=curve.len()).map(|n| curve.at(n)).collect()),
            memory_at_rest_bytes: profile.as_ref().map_or(0, |p| p.memory.at_rest),
            memory_peak_bytes: profile.as_ref().map_or(0, |p| p.memory.peak),
        }
    }
}
