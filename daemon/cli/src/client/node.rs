//! Calls of edgemux's own services: admission, sessions, devices, calibration.

use std::time::Duration;

use bytes::Bytes;
use edgemux_client::{Transport, within};
use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::admission_client::AdmissionClient;
use edgemux_proto::edgemux::v1::calibration_client::CalibrationClient;
use edgemux_proto::edgemux::v1::devices_client::DevicesClient;
use edgemux_proto::edgemux::v1::sessions_client::SessionsClient;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Client, LOAD_S_MAX, MESSAGE_BYTES_MAX, READ_S_MAX, done};
use crate::rpc::RpcError;

const SESSIONS: &str = "`edgemux sessions` lists the sessions";
const DEVICES: &str = "`edgemux devices` lists the devices";

/// Changing a device waits for what runs on it.
const CHANGE_S_MAX: Duration = Duration::from_secs(60);

// === admission ===

impl Client {
    /// A model that was never measured on a device is measured for the verdict, which takes as long as to load it.
    pub(crate) async fn evaluate(&self, terms: v1::Terms) -> Result<v1::Verdict, RpcError> {
        let what = format!("ask whether model `{}` would be admitted", terms.model);
        let request = within(LOAD_S_MAX, v1::EvaluateRequest { terms: Some(terms) });
        let answer = judged(what.clone(), self.admission().evaluate(request).await)?;
        answer.verdict.ok_or_else(|| no_answer(what, "verdict"))
    }

    /// Decides and holds the place; the verdict of the answer is there.
    pub(crate) async fn reserve(
        &self,
        request: v1::ReserveRequest,
    ) -> Result<(v1::Verdict, String), RpcError> {
        let model = request.terms.as_ref().map_or("", |terms| &terms.model);
        let what = format!("ask for the admission of model `{model}`");
        let answer = judged(what.clone(), self.admission().reserve(within(LOAD_S_MAX, request)).await)?;
        let verdict = answer.verdict.ok_or_else(|| no_answer(what, "verdict"))?;
        Ok((verdict, answer.reservation))
    }

    pub(crate) async fn commit(&self, model: &str, reservation: &str) -> Result<v1::Session, RpcError> {
        let what = format!("load model `{model}` into its reserved place");
        let request = v1::CommitRequest { reservation: reservation.to_owned() };
        let answer = judged(what.clone(), self.admission().commit(within(LOAD_S_MAX, request)).await)?;
        answer.session.ok_or_else(|| no_answer(what, "session"))
    }

    pub(crate) async fn release(&self, reservation: &str) -> Result<(), RpcError> {
        let request = v1::ReleaseRequest { reservation: reservation.to_owned() };
        let answer = self.admission().release(within(CHANGE_S_MAX, request)).await;
        done("give the reserved place back", answer).map(|_| ())
    }

    fn admission(&self) -> AdmissionClient<Transport> {
        AdmissionClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

fn judged<T>(what: String, answer: Result<Response<T>, Status>) -> Result<T, RpcError> {
    done(what, answer).map_err(|error| {
        error.advise(Code::InvalidArgument, "`edgemux admit --help` gives the ranges of all terms")
    })
}

fn no_answer(what: String, part: &str) -> RpcError {
    RpcError::new(what, &Status::internal(format!("the server's answer has no {part}")))
}

// === sessions ===

impl Client {
    pub(crate) async fn sessions(&self) -> Result<Vec<v1::Session>, RpcError> {
        let request = within(READ_S_MAX, v1::ListSessionsRequest {});
        Ok(done("list the sessions", self.session_service().list(request).await)?.sessions)
    }

    pub(crate) async fn session(&self, id: &str) -> Result<v1::Session, RpcError> {
        let request = within(READ_S_MAX, v1::GetSessionRequest { id: id.to_owned() });
        let answer = self.session_service().get(request).await;
        done(format!("read session `{id}`"), answer).map_err(|error| error.advise(Code::NotFound, SESSIONS))
    }

    fn session_service(&self) -> SessionsClient<Transport> {
        SessionsClient::new(self.channel.clone())
    }
}

// === devices ===

impl Client {
    pub(crate) async fn devices(&self) -> Result<Vec<v1::Device>, RpcError> {
        let request = within(READ_S_MAX, v1::ListDevicesRequest {});
        Ok(done("list the devices", self.device_service().list(request).await)?.devices)
    }

    pub(crate) async fn set_multiplexing(
        &self,
        request: v1::SetMultiplexingRequest,
    ) -> Result<v1::Device, RpcError> {
        let what = format!("change how device `{}` is shared", request.device);
        changed(what, self.device_service().set_multiplexing(within(CHANGE_S_MAX, request)).await)
    }

    pub(crate) async fn fence(&self, device: &str, reason: &str) -> Result<v1::Device, RpcError> {
        let request = v1::FenceRequest { device: device.to_owned(), reason: reason.to_owned() };
        let answer = self.device_service().fence(within(CHANGE_S_MAX, request)).await;
        changed(format!("take device `{device}` out of service"), answer)
    }

    pub(crate) async fn unfence(&self, device: &str) -> Result<v1::Device, RpcError> {
        let request = v1::UnfenceRequest { device: device.to_owned() };
        let answer = self.device_service().unfence(within(CHANGE_S_MAX, request)).await;
        changed(format!("put device `{device}` back into service"), answer)
    }

    fn device_service(&self) -> DevicesClient<Transport> {
        DevicesClient::new(self.channel.clone())
    }
}

fn changed<T>(what: String, answer: Result<Response<T>, Status>) -> Result<T, RpcError> {
    done(what, answer).map_err(|error| {
        let ranges = "`edgemux devices set-mode --help` gives the modes and their numbers";
        error.advise(Code::NotFound, DEVICES).advise(Code::InvalidArgument, ranges)
    })
}

// === calibration ===

impl Client {
    pub(crate) async fn calibration(&self, session: &str) -> Result<v1::CalibrationProfile, RpcError> {
        let request = v1::GetCalibrationRequest { session: session.to_owned() };
        let answer = self.calibration_service().get(within(READ_S_MAX, request)).await;
        profiled(format!("read the profile of session `{session}`"), answer)
    }

    /// Profiles as they change; of all sessions where none is named. It has no deadline.
    pub(crate) async fn watch_calibration(
        &self,
        session: &str,
    ) -> Result<Streaming<v1::CalibrationProfile>, RpcError> {
        let request = Request::new(v1::WatchCalibrationRequest { session: session.to_owned() });
        profiled("watch the profiles", self.calibration_service().watch(request).await)
    }

    pub(crate) async fn reset_calibration(&self, session: &str) -> Result<(), RpcError> {
        let request = v1::ResetCalibrationRequest { session: session.to_owned() };
        let answer = self.calibration_service().reset(within(READ_S_MAX, request)).await;
        profiled("forget what was measured", answer).map(|_| ())
    }

    pub(crate) async fn export_calibration(&self) -> Result<Bytes, RpcError> {
        let request = within(CHANGE_S_MAX, v1::ExportCalibrationRequest {});
        Ok(profiled("export the profiles", self.calibration_service().export(request).await)?.document)
    }

    /// How many profiles were taken over.
    pub(crate) async fn import_calibration(&self, document: Bytes) -> Result<u32, RpcError> {
        let request = within(CHANGE_S_MAX, v1::CalibrationArchive { document });
        let answer = self.calibration_service().import(request).await;
        Ok(done("import the profiles", answer)
            .map_err(|error| error.advise(Code::InvalidArgument, DAMAGED))?
            .profiles)
    }

    fn calibration_service(&self) -> CalibrationClient<Transport> {
        CalibrationClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

const DAMAGED: &str = "nothing was taken over; write the file again with `edgemux calibration export FILE`";

fn profiled<T>(what: impl Into<String>, answer: Result<Response<T>, Status>) -> Result<T, RpcError> {
    done(what, answer)
        .map_err(|error| error.advise(Code::NotFound, SESSIONS).advise(Code::InvalidArgument, SESSIONS))
}
