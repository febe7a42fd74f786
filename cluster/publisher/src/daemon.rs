//! Looking at the daemon: all that it says of itself, at one moment and of one run.

use std::sync::Arc;
use std::time::Duration;

use edgemux_client::{ConnectError, Credentials, ServerAddress, Transport, within};
use edgemux_proto::edgemux::v1::calibration_client::CalibrationClient;
use edgemux_proto::edgemux::v1::devices_client::DevicesClient;
use edgemux_proto::edgemux::v1::sessions_client::SessionsClient;
use edgemux_proto::edgemux::v1::{
    CalibrationProfile, Device, ListCalibrationRequest, ListDevicesRequest, ListSessionsRequest, Session,
    WatchDevicesRequest, WatchSessionsRequest,
};
use edgemux_proto::inference::RepositoryIndexRequest;
use edgemux_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use edgemux_proto::inference::repository_index_response::ModelIndex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::{Code, Status};

/// What reads state is answered at once or not at all.
const READ_MAX: Duration = Duration::from_secs(5);
/// A daemon that is started anew while it is looked at is looked at again, this often.
const LOOKS_MAX: u32 = 3;
/// Profiles of all devices and sessions of a node, with room to spare.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a daemon says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Of which run of it.
    pub epoch: String,
    /// Its devices.
    pub devices: Vec<Device>,
    /// Its sessions.
    pub sessions: Vec<Session>,
    /// What it has learned of costs.
    pub profiles: Vec<CalibrationProfile>,
    /// What its repository holds.
    pub models: Vec<ModelIndex>,
}

/// Why there is nothing to see: for the condition Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// In one word, as conditions have it.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

/// The daemon, as far as it can be reached.
#[derive(Debug)]
pub struct Daemon {
    server: ServerAddress,
    credentials: Credentials,
    connection: Option<Connection>,
    /// Woken when something has changed.
    news: Arc<Notify>,
    /// What is asked for once a period only, since it is much.
    slow: Option<Slow>,
    period: Duration,
}

#[derive(Debug)]
struct Connection {
    channel: Transport,
    watch: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Slow {
    at: Instant,
    epoch: String,
    profiles: Vec<CalibrationProfile>,
    models: Vec<ModelIndex>,
}

// === impl Daemon ===

impl Daemon {
    /// Nothing is asked yet. Profiles and the repository are looked at once in `period`.
    #[must_use]
    pub fn new(server: ServerAddress, credentials: Credentials, period: Duration) -> Self {
        Self { server, credentials, connection: None, news: Arc::default(), slow: None, period }
    }

    /// Waits until the daemon says that a device or a session has changed, or until it is gone.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Looks at it.
    ///
    /// # Errors
    ///
    /// [`Away`]; the connection is then made anew the next time.
    pub async fn look(&mut self) -> Result<Observation, Away> {
        let seen = self.try_look().await;
        if seen.is_err() {
            self.connection = None;
            self.slow = None;
        }
        seen
    }

    async fn try_look(&mut self) -> Result<Observation, Away> {
        let channel = match &self.connection {
            Some(connection) if !connection.watch.is_finished() => connection.channel.clone(),
            _ => {
                let program = concat!("edgemux-publisher/", env!("CARGO_PKG_VERSION"));
                let endpoint = self.server.endpoint(&self.credentials, program)?;
                let channel = self.credentials.bear(self.server.connect(&endpoint).await?)?;
                let watch = tokio::spawn(watch(channel.clone(), Arc::clone(&self.news)));
                self.connection = Some(Connection { channel: channel.clone(), watch });
                channel
            }
        };
        for _ in 0..LOOKS_MAX {
            let mut devices = DevicesClient::new(channel.clone());
            let epoch = devices.list(within(READ_MAX, ListDevicesRequest {})).await?.into_inner().epoch;
            if epoch.is_empty() {
                return Err(too_old("it does not tell one run of itself from another"));
            }
            let sessions = SessionsClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
            let sessions =
                { sessions }.list(within(READ_MAX, ListSessionsRequest {})).await?.into_inner().sessions;
            let Slow { profiles, models, .. } = self.slow(&channel, &epoch).await?;
            // What was read before and after belongs to one run, or it is read once more.
            let last = devices.list(within(READ_MAX, ListDevicesRequest {})).await?.into_inner();
            if last.epoch == epoch {
                return Ok(Observation { epoch, devices: last.devices, sessions, profiles, models });
            }
        }
        Err(Away { reason: "DaemonUnsteady", message: "edgemuxd is started again and again".into() })
    }

    async fn slow(&mut self, channel: &Transport, epoch: &str) -> Result<Slow, Away> {
        if let Some(slow) = &self.slow
            && slow.epoch == epoch
            && slow.at.elapsed() < self.period
        {
            return Ok(slow.clone());
        }
        let calibration =
            CalibrationClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let profiles = { calibration }.list(within(READ_MAX, ListCalibrationRequest {})).await;
        let profiles = profiles.map_err(|status| match status.code() {
            Code::Unimplemented => too_old("it does not list what it has measured"),
            _ => status.into(),
        })?;
        let inference =
            GrpcInferenceServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let models =
            { inference }.repository_index(within(READ_MAX, RepositoryIndexRequest::default())).await?;
        let slow = Slow {
            at: Instant::now(),
            epoch: epoch.to_owned(),
            profiles: profiles.into_inner().profiles,
            models: models.into_inner().models,
        };
        self.slow = Some(slow.clone());
        Ok(slow)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Says so whenever a device or session changes, until the daemon ends either stream.
async fn watch(channel: Transport, news: Arc<Notify>) {
    let mut devices = DevicesClient::new(channel.clone());
    let mut sessions = SessionsClient::new(channel);
    let opened =
        tokio::try_join!(devices.watch(WatchDevicesRequest {}), sessions.watch(WatchSessionsRequest {}));
    if let Ok((devices, sessions)) = opened {
        let (mut devices, mut sessions) = (devices.into_inner(), sessions.into_inner());
        loop {
            let more = tokio::select! {
                device = devices.message() => matches!(device, Ok(Some(_))),
                session = sessions.message() => matches!(session, Ok(Some(_))),
            };
            news.notify_one();
            if !more {
                return;
            }
        }
    }
    news.notify_one();
}

fn too_old(why: &str) -> Away {
    Away { reason: "DaemonTooOld", message: format!("this edgemuxd is too old for the publisher: {why}") }
}

impl From<ConnectError> for Away {
    fn from(error: ConnectError) -> Self {
        let reason = match error {
            ConnectError::Address(_) | ConnectError::Unreached { .. } | ConnectError::Tls { .. } => {
                "DaemonUnreachable"
            }
            ConnectError::Read { .. } | ConnectError::NotPem { .. } | ConnectError::NoToken(_) => {
                "NoCredentials"
            }
        };
        Self { reason, message: error.to_string() }
    }
}

impl From<Status> for Away {
    fn from(status: Status) -> Self {
        let reason = match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => "DaemonRefused",
            Code::Unimplemented => "DaemonTooOld",
            Code::DeadlineExceeded | Code::Cancelled => "DaemonSilent",
            _ => "DaemonUnreachable",
        };
        Self { reason, message: format!("edgemuxd answers {:?}: {}", status.code(), status.message()) }
    }
}
