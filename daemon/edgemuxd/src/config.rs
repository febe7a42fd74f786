//! The configuration file: kebab-case keys, unknown keys refused, every value checked before anything starts.

mod access;
mod current;
mod reload;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use edgemux_multiplexer::Mode;
use edgemux_runtime_api::runtime::DeviceKind;
use serde::Deserialize;

pub use self::access::{Tenant, Tls, TokenDigest};
pub use self::current::Current;
use crate::discovery::Source;
use crate::runtimes::RuntimeKind;

/// Where the daemon looks when no `--config` is given; absent is fine.
pub const DEFAULT_PATH: &str = "/etc/edgemux/edgemuxd.toml";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {file}: {error}")]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Not TOML, an unknown key or a value of the wrong type.
    #[error("configuration {file}: {error}")]
    Parse {
        /// The file.
        file: PathBuf,
        /// Where and what.
        error: Box<toml::de::Error>,
    },
    /// A value out of its range.
    #[error("{key} = {value}: {want}")]
    Range {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it may be.
        want: &'static str,
    },
    /// An address that anybody on the network could use.
    #[error(
        "listen = {0}: anybody who reaches this address could use the devices. Listen on tls:{0}, a loopback address or \
         a unix socket, or set insecure = true if the network itself keeps others out"
    )]
    Insecure(SocketAddr),
    /// An address of TLS that would let anybody in.
    #[error(
        "listen = tls:{0}: anybody who reaches this address could use the devices. Set tls.client-ca, so that clients show \
         certificates, or name those who may call as [[tenant]]s with tokens"
    )]
    Anybody(SocketAddr),
}

/// The whole configuration. Every field has a default, so an empty file is a valid one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: Vec<Listen>,
    /// Where `/metrics` and `/healthz` are served.
    pub metrics: SocketAddr,
    /// The model repository; by default `models` below the state directory.
    pub model_repository: Option<PathBuf>,
    /// What the daemon remembers; by default `/var/lib/edgemux`, or the user's own state directory.
    pub state_dir: Option<PathBuf>,
    /// Allows addresses other than loopback without TLS.
    pub insecure: bool,
    /// Threads that serve the network: 0 chooses by the number of cores, at most 64.
    pub threads: usize,
    /// Which models of the repository are loaded at start.
    pub load_at_start: LoadAtStart,
    /// What the daemon shows on addresses of the kind `tls:`.
    pub tls: Option<Tls>,
    /// Who may call. With none, whoever reaches a socket may do everything.
    pub tenant: Vec<Tenant>,
    /// How often the model repository is looked at for what has changed, in seconds; 0.1 to 86,400. 0 does not look.
    pub repository_poll_s: f64,
    /// What one client or session may use.
    pub limits: Limits,
    /// When a worker is given up.
    pub supervision: Supervision,
    /// How newcomers are decided about.
    pub admission: Admission,
    /// How costs are learned.
    pub calibration: Calibration,
    /// How long requests may take to finish after SIGTERM, in seconds; 0 to 3600.
    pub drain_grace_s: f64,
    /// The devices; by default the processor as `cpu0`.
    pub device: Vec<Device>,
    /// Below which devices are looked for: `/` but for tests.
    #[serde(skip)]
    pub device_root: PathBuf,
}

/// Which models are loaded at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadAtStart {
    /// Those with a `model.toml`.
    Declared,
    /// Every model.
    All,
    /// None.
    None,
}

/// Bounds on what is held and taken in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the longest gRPC message taken in; 4 KiB to 2 GiB.
    pub message_bytes: usize,
    /// Requests of one session that may wait; 1 to 1,000,000.
    pub queue_requests: usize,
    /// Streams that one connection may have open; 1 to 100,000.
    pub streams_per_connection: u32,
    /// Requests of one stream that may be under way; 1 to 100,000.
    pub requests_per_stream: usize,
    /// Shared memory regions that may be registered; 1 to 1,000,000.
    pub shared_memory_regions: usize,
    /// Connections that may be open on all sockets together; 1 to 100,000.
    pub connections: usize,
    /// Clients' requests that may be under way on the whole node; 1 to 1,000,000.
    pub requests: usize,
}

/// When a worker or a model is given up.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Supervision {
    /// Crashes after which a model is quarantined; 1 to 1000.
    pub crash_limit: usize,
    /// The time within which they count, in seconds; 1 to 10,000,000.
    pub crash_window_s: f64,
    /// A request on the device for longer than this is a hung device, in seconds; 0.01 to 86,400.
    pub hang_timeout_s: f64,
    /// So is one that takes so many times what its session's requests take, and at least a tenth of that time; 2 to 1e6.
    pub hang_factor: f64,
    /// A model that takes longer to load is given up, in seconds; 0.1 to 86,400.
    pub load_timeout_s: f64,
    /// Requests that a session runs before it is ready; 0 to 1000.
    pub warm_up_requests: u32,
}

/// How newcomers are decided about.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Admission {
    /// The most that a device may be busy under the declared rates; above 0, below 1.
    pub utilisation_max: f64,
    /// Standard errors by which uncertain times are taken longer; 0 to 10.
    pub deviations: f64,
    /// Requests of the longest simulation where formulas do not decide; 0 refuses such newcomers; at most 100,000,000.
    pub simulated_requests: u64,
    /// How long a reservation is held if it does not say, in seconds; 1 to 86,400.
    pub reservation_ttl_s: f64,
    /// What becomes of a tenant whose objective is no longer predicted to hold.
    pub at_risk: AtRisk,
}

/// What becomes of a tenant whose objective is no longer predicted to hold. Nobody is ever evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtRisk {
    /// It is marked.
    Mark,
    /// It is marked, and runs as best effort until its objective is predicted to hold again.
    Demote,
}

/// How costs are learned.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Calibration {
    /// Inferences by which a model that was never seen on a device is measured before it is decided about; 1 to 1000.
    pub trial_requests: u32,
    /// The longest that such a measurement goes on, in seconds; 0.01 to 600.
    pub trial_s: f64,
    /// How often what was learned is saved, in seconds; 1 to 86,400.
    pub save_period_s: f64,
}

/// How a device is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Multiplexing {
    /// One request at a time, run to completion.
    Exclusive,
    /// Sessions take turns in device time.
    TimeSliced,
    /// Several requests together.
    Concurrent,
    /// Admission chooses the one that leaves every objective most room.
    Auto,
}

/// Who shares a worker process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// All sessions of a runtime on a device.
    #[default]
    Runtime,
    /// Nobody: each session has a worker of its own, and on a GPU a context, between which the driver slices time.
    Session,
}

/// What workers are kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxKind {
    /// The network, other processes, and files that are neither models nor libraries nor the device's.
    Files,
    /// The network and other processes.
    Network,
    /// Nothing.
    None,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Device {
    /// The operator's name for it: letters, digits, `.`, `_`, `-`; at most 64.
    pub name: String,
    /// `cpu`, `gpu` or `edgetpu`.
    pub kind: DeviceKind,
    /// The hardware behind it, for example `nvidia:0`: from then on its own, watched, and described by what it shows.
    #[serde(default)]
    pub source: Option<Source>,
    /// The runtimes that drive it, for example `["onnx"]`.
    pub runtimes: Vec<String>,
    /// Whether sessions have workers, and so contexts on the device, of their own.
    #[serde(default)]
    pub isolation: Isolation,
    /// Processor threads that one request may use; 0 leaves it to the runtime; at most 1024.
    #[serde(default)]
    pub threads: u32,
    /// How it is shared; by default `auto` for an accelerator and `exclusive` for the processor.
    #[serde(default)]
    pub multiplexing: Option<Multiplexing>,
    /// `concurrent`: most requests in service together; 1 to 64. By default 4 on a GPU, else 1.
    #[serde(default)]
    pub width: Option<NonZeroU32>,
    /// `time-sliced`: device time that a session earns per round, milliseconds; 0.01 to 10,000. By default 10.
    #[serde(default)]
    pub quantum_ms: Option<f64>,
    /// `exclusive` on an edgeTPU: most requests of one co-compiled group in a row; 1 to 1024. By default 1.
    #[serde(default)]
    pub run_max: Option<NonZeroU32>,
    /// Memory for models in bytes, by which admission goes; by default what an emulated device or the hardware says, else
    /// unlimited.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// What its workers are kept from; by default everything that can be, but on a GPU files, whose drivers open many.
    #[serde(default)]
    pub sandbox: Option<SandboxKind>,
    /// Files and folders that its workers may read besides the model repository and the system's libraries.
    #[serde(default)]
    pub sandbox_read: Vec<PathBuf>,
    /// Most bytes of memory of a worker's own; at least 64 MiB. No limit by default.
    #[serde(default)]
    pub worker_memory_bytes: Option<u64>,
    /// Options of the emulator.
    #[serde(default)]
    pub emulator: Option<toml::Table>,
    /// Options of the runtime `torch`.
    #[serde(default)]
    pub torch: Option<toml::Table>,
    /// Options of the runtime `tflite`.
    #[serde(default)]
    pub tflite: Option<toml::Table>,
    /// Options of the runtime `edgetpu`.
    #[serde(default)]
    pub edgetpu: Option<toml::Table>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8001)))],
            metrics: SocketAddr::from(([127, 0, 0, 1], 8002)),
            model_repository: None,
            state_dir: None,
            insecure: false,
            tls: None,
            tenant: Vec::new(),
            threads: 0,
            repository_poll_s: 0.0,
            load_at_start: LoadAtStart::Declared,
            limits: Limits::default(),
            supervision: Supervision::default(),
            admission: Admission::default(),
            calibration: Calibration::default(),
            drain_grace_s: 30.0,
            device: vec![Device {
                name: "cpu0".into(),
                kind: DeviceKind::Cpu,
                source: None,
                runtimes: vec!["onnx".into()],
                isolation: Isolation::Runtime,
                threads: 0,
                multiplexing: None,
                width: None,
                quantum_ms: None,
                run_max: None,
                memory_bytes: None,
                sandbox: None,
                sandbox_read: Vec::new(),
                worker_memory_bytes: None,
                emulator: None,
                torch: None,
                tflite: None,
                edgetpu: None,
            }],
            device_root: "/".into(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            queue_requests: 256,
            streams_per_connection: 1024,
            requests_per_stream: 256,
            shared_memory_regions: 1024,
            connections: 1024,
            requests: 8192,
        }
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            crash_limit: 3,
            crash_window_s: 600.0,
            hang_timeout_s: 30.0,
            hang_factor: 100.0,
            load_timeout_s: 300.0,
            warm_up_requests: 2,
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            utilisation_max: 0.95,
            deviations: 2.0,
            simulated_requests: 1_600_000,
            reservation_ttl_s: 60.0,
            at_risk: AtRisk::Mark,
        }
    }
}

impl Default for Calibration {
    fn default() -> Self {
        Self { trial_requests: 16, trial_s: 5.0, save_period_s: 30.0 }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no address: write 127.0.0.1:8001, [::1]:8001, tls:0.0.0.0:8443 or \
                 unix:/run/edgemux/edgemuxd.sock"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let is_whole = path.starts_with('/');
            let wrong = || format!("unix:{path}: the path of a socket must begin with '/'");
            return is_whole.then(|| Self::Unix(path.into())).ok_or_else(wrong);
        }
        match text.strip_prefix("tls:") {
            Some(address) => address.parse().map(Self::Tls).map_err(|_| wrong()),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(address) => write!(f, "tls:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Supervision {
    /// [`Self::hang_timeout_s`] as a duration.
    pub fn hang_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.hang_timeout_s)
    }

    /// How long a request may be on the device, given what its session's take on average, if that is known.
    pub fn patience(&self, expected: Option<Duration>) -> Duration {
        let most = self.hang_timeout();
        match expected {
            Some(expected) => {
                let times = Duration::try_from_secs_f64(expected.as_secs_f64() * self.hang_factor);
                times.unwrap_or(most).clamp(most / 10, most)
            }
            None => most,
        }
    }

    /// [`Self::load_timeout_s`] as a duration.
    pub fn load_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.load_timeout_s)
    }

    /// [`Self::crash_window_s`] as a duration.
    pub fn crash_window(&self) -> Duration {
        Duration::from_secs_f64(self.crash_window_s)
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Read { file: file.to_owned(), error })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { file: file.to_owned(), error: Box::new(error) })?;
        config.check()?;
        Ok(config)
    }

    /// Checks every range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            return range("listen", "[]", "at least one address");
        }
        if self.repository_poll_s != 0.0 {
            within("repository-poll-s", self.repository_poll_s, 0.1, 86_400.0, "0, or 0.1 to 86400 seconds")?;
        }
        self.listen.iter().try_for_each(|listen| self.check_listen(listen))?;
        for (at, tenant) in self.tenant.iter().enumerate() {
            tenant.check(at)?;
        }
        access::check_apart(&self.tenant)?;
        within("threads", self.threads, 0, 64, "0 to 64")?;
        within("drain-grace-s", self.drain_grace_s, 0.0, 3600.0, "0 to 3600 seconds")?;
        self.limits.check()?;
        self.supervision.check()?;
        self.admission.check()?;
        self.calibration.check()?;
        if self.device.is_empty() {
            return range("device", "[]", "at least one device");
        }
        for (at, device) in self.device.iter().enumerate() {
            device.check(at)?;
            if self.device[..at].iter().any(|other| other.name == device.name) {
                return range(
                    &format!("device[{at}].name"),
                    &device.name,
                    "each device has a name of its own",
                );
            }
            if let Some(source) = &device.source
                && self.device[..at].iter().any(|other| other.source.as_ref() == Some(source))
            {
                let want = "each piece of hardware is the source of one device";
                return range(&format!("device[{at}].source"), &source.to_string(), want);
            }
        }
        Ok(())
    }
}

impl Config {
    fn check_listen(&self, listen: &Listen) -> Result<(), ConfigError> {
        match (listen, &self.tls) {
            (Listen::Tcp(address), _) if !address.ip().is_loopback() && !self.insecure => {
                Err(ConfigError::Insecure(*address))
            }
            (Listen::Tls(_), None) => {
                range("listen", &listen.to_string(), "a certificate and its key, in the section [tls]")
            }
            (Listen::Tls(address), Some(tls)) => {
                let is_open = self.tenant.is_empty() && tls.client_ca.is_none();
                let is_open = is_open && !address.ip().is_loopback() && !self.insecure;
                if is_open { Err(ConfigError::Anybody(*address)) } else { Ok(()) }
            }
            (Listen::Tcp(_) | Listen::Unix(_), _) => Ok(()),
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        within("limits.message-bytes", self.message_bytes, 4096, 1 << 31, "4096 to 2147483648 bytes")?;
        within("limits.queue-requests", self.queue_requests, 1, 1_000_000, "1 to 1000000")?;
        within("limits.streams-per-connection", self.streams_per_connection, 1, 100_000, "1 to 100000")?;
        within("limits.requests-per-stream", self.requests_per_stream, 1, 100_000, "1 to 100000")?;
        within("limits.shared-memory-regions", self.shared_memory_regions, 1, 1_000_000, "1 to 1000000")?;
        within("limits.connections", self.connections, 1, 100_000, "1 to 100000")?;
        within("limits.requests", self.requests, 1, 1_000_000, "1 to 1000000")
    }
}

impl Supervision {
    fn check(&self) -> Result<(), ConfigError> {
        within("supervision.crash-limit", self.crash_limit, 1, 1000, "1 to 1000")?;
        within("supervision.crash-window-s", self.crash_window_s, 1.0, 1e7, "1 to 10000000 seconds")?;
        within("supervision.hang-timeout-s", self.hang_timeout_s, 0.01, 86_400.0, "0.01 to 86400 seconds")?;
        within("supervision.hang-factor", self.hang_factor, 2.0, 1e6, "2 to 1000000")?;
        within("supervision.load-timeout-s", self.load_timeout_s, 0.1, 86_400.0, "0.1 to 86400 seconds")?;
        within("supervision.warm-up-requests", self.warm_up_requests, 0, 1000, "0 to 1000")
    }
}

impl Admission {
    fn check(&self) -> Result<(), ConfigError> {
        let want = "above 0 and below 1";
        within("admission.utilisation-max", self.utilisation_max, 1e-6, 1.0 - 1e-6, want)?;
        within("admission.deviations", self.deviations, 0.0, 10.0, "0 to 10 standard errors")?;
        within("admission.simulated-requests", self.simulated_requests, 0, 100_000_000, "0 to 100000000")?;
        within("admission.reservation-ttl-s", self.reservation_ttl_s, 1.0, 86_400.0, "1 to 86400 seconds")
    }
}

impl Calibration {
    fn check(&self) -> Result<(), ConfigError> {
        within("calibration.trial-requests", self.trial_requests, 1, 1000, "1 to 1000")?;
        within("calibration.trial-s", self.trial_s, 0.01, 600.0, "0.01 to 600 seconds")?;
        within("calibration.save-period-s", self.save_period_s, 1.0, 86_400.0, "1 to 86400 seconds")
    }
}

impl Device {
    /// Options of one of its runtimes.
    pub fn options(&self, runtime: RuntimeKind) -> Option<&toml::Table> {
        match runtime {
            RuntimeKind::Onnx => None,
            RuntimeKind::Emulator => self.emulator.as_ref(),
            RuntimeKind::Torch => self.torch.as_ref(),
            RuntimeKind::Tflite => self.tflite.as_ref(),
            RuntimeKind::Edgetpu => self.edgetpu.as_ref(),
        }
    }

    /// How it is shared.
    pub fn multiplexing(&self) -> Multiplexing {
        self.multiplexing.unwrap_or(match self.kind {
            DeviceKind::Cpu => Multiplexing::Exclusive,
            DeviceKind::Gpu | DeviceKind::Edgetpu => Multiplexing::Auto,
        })
    }

    /// What its workers are kept from.
    pub fn sandbox(&self) -> SandboxKind {
        self.sandbox.unwrap_or(match self.kind {
            DeviceKind::Cpu | DeviceKind::Edgetpu => SandboxKind::Files,
            DeviceKind::Gpu => SandboxKind::Network,
        })
    }

    /// Bytes for models; none where nothing here says so.
    pub fn memory_bytes(&self) -> Option<u64> {
        let emulated = || self.emulator.as_ref()?.get("memory-bytes")?.as_integer()?.try_into().ok();
        self.memory_bytes.or_else(emulated)
    }

    /// The parameters of each mode.
    pub fn sharing(&self) -> Sharing {
        // What an emulated device runs one after the other is not run together by handing it over together.
        let emulated = self.runtimes.iter().all(|name| name == RuntimeKind::Emulator.name());
        let sharing = self.emulator.as_ref().and_then(|options| options.get("sharing")?.as_str());
        let alone = emulated && matches!(sharing, None | Some("exclusive"));
        let by_kind = match self.kind {
            DeviceKind::Gpu if !alone => 4,
            DeviceKind::Gpu | DeviceKind::Cpu | DeviceKind::Edgetpu => 1,
        };
        Sharing {
            width: self.width.or(NonZeroU32::new(by_kind)).unwrap_or(NonZeroU32::MIN),
            quantum: Duration::from_secs_f64(self.quantum_ms.unwrap_or(10.0) / 1e3),
            run_max: self.run_max.unwrap_or(NonZeroU32::MIN),
            driver_slices: self.isolation == Isolation::Session,
        }
    }

    fn check(&self, at: usize) -> Result<(), ConfigError> {
        let key = |field: &str| format!("device[{at}].{field}");
        if !crate::repository::is_name(&self.name) {
            return range(
                &key("name"),
                &self.name,
                "1 to 64 letters, digits, '.', '_' or '-', not '.' or '..'",
            );
        }
        if self.runtimes.is_empty() {
            return range(&key("runtimes"), "[]", "at least one runtime");
        }
        for runtime in &self.runtimes {
            if RuntimeKind::from_name(runtime).is_none() {
                let want = "a runtime of this release: onnx, emulator, torch, tflite or edgetpu";
                return range(&key("runtimes"), runtime, want);
            }
        }
        if let Some(source) = self.source.as_ref().filter(|source| source.kind() != self.kind) {
            let want =
                "hardware of the device's kind: nvidia and jetson are gpu, coral-pci and coral-usb edgetpu";
            return range(&key("source"), &source.to_string(), want);
        }
        within(&key("threads"), self.threads, 0, 1024, "0 to 1024")?;
        if let Some(bytes) = self.worker_memory_bytes {
            within(&key("worker-memory-bytes"), bytes, 1 << 26, 1 << 50, "67108864 (64 MiB) or more")?;
        }
        if let Some(path) = self.sandbox_read.iter().find(|path| !path.is_absolute()) {
            return range(&key("sandbox-read"), &path.display().to_string(), "paths that begin with '/'");
        }
        self.sharing_in_range(&key)
    }

    fn sharing_in_range(&self, key: &impl Fn(&str) -> String) -> Result<(), ConfigError> {
        if let Some(width) = self.width {
            within(&key("width"), width.get(), 1, WIDTH_MAX, "1 to 64 requests")?;
        }
        if let Some(quantum) = self.quantum_ms {
            within(&key("quantum-ms"), quantum, QUANTUM_MS.0, QUANTUM_MS.1, "0.01 to 10000 milliseconds")?;
        }
        if let Some(run_max) = self.run_max {
            within(&key("run-max"), run_max.get(), 1, RUN_MAX, "1 to 1024 requests")?;
        }
        Ok(())
    }
}

/// Most requests in service together.
pub const WIDTH_MAX: u32 = 64;
/// Shortest and longest quantum, milliseconds.
pub const QUANTUM_MS: (f64, f64) = (0.01, 10_000.0);
/// Longest run of one co-compiled group.
pub const RUN_MAX: u32 = 1024;

/// The parameters of each mode of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Most requests in service together.
    pub width: NonZeroU32,
    /// Of time slices.
    pub quantum: Duration,
    /// Most requests of one reload group in a row.
    pub run_max: NonZeroU32,
    /// Whether time slices are the driver's, between contexts that sessions have of their own: then requests of several are
    /// with the device at once.
    pub driver_slices: bool,
}

impl Sharing {
    /// The mode of this name; `auto` begins with the first that admission looks at.
    pub fn mode(self, multiplexing: Multiplexing) -> Mode {
        match multiplexing {
            Multiplexing::Exclusive | Multiplexing::Auto => Mode::Exclusive { run_max: self.run_max },
            Multiplexing::TimeSliced if self.driver_slices => Mode::Concurrent { width: self.width },
            Multiplexing::TimeSliced => Mode::TimeSliced { quantum: self.quantum },
            Multiplexing::Concurrent => Mode::Concurrent { width: self.width },
        }
    }
}

fn within<T: PartialOrd + ToString>(
    key: &str,
    value: T,
    min: T,
    max: T,
    want: &'static str,
) -> Result<(), ConfigError> {
    // Written so that NaN is out of range.
    if value >= min && value <= max { Ok(()) } else { range(key, &value.to_string(), want) }
}

fn range(key: &str, value: &str, want: &'static str) -> Result<(), ConfigError> {
    Err(ConfigError::Range { key: key.to_owned(), value: value.to_owned(), want })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn a_device_is_read_with_its_options() {
        let config = read(
            "listen = ['unix:/run/x.sock', '[::1]:1']\n[[device]]\nname = 'tpu0'\nkind = 'edgetpu'\n\
             runtimes = ['emulator']\n[device.emulator]\nsharing = 'exclusive'",
        )
        .unwrap();
        assert_eq!(config.device[0].kind, DeviceKind::Edgetpu);
        assert_eq!(config.listen[0], Listen::Unix("/run/x.sock".into()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        for (text, said) in [
            ("colour = 'red'", "unknown field `colour`"),
            ("[limits]\nqueue-request = 3", "unknown field `queue-request`"),
            ("threads = 65", "threads = 65: 0 to 64"),
            ("repository-poll-s = 0.01", "repository-poll-s = 0.01: 0, or 0.1 to 86400"),
            ("repository-poll-s = nan", "repository-poll-s = NaN"),
            ("drain-grace-s = nan", "drain-grace-s = NaN"),
            ("drain-grace-s = -1.0", "drain-grace-s = -1"),
            ("listen = []", "at least one address"),
            ("listen = ['0.0.0.0:8001']", "insecure = true"),
            ("listen = ['localhost']", "is no address"),
            ("listen = ['unix:x.sock']", "must begin with '/'"),
            ("listen = ['tls:localhost']", "is no address"),
            ("listen = ['tls:127.0.0.1:1']", "listen = tls:127.0.0.1:1: a certificate and its key"),
            ("listen = ['tls:0.0.0.0:1']\n[tls]\ncertificate = 'c'\nkey = 'k'", "Set tls.client-ca"),
            ("[tls]\ncertificate = 'c'", "missing field `key`"),
            ("[limits]\nconnections = 0", "limits.connections = 0: 1 to 100000"),
            ("[limits]\nrequests = 0", "limits.requests = 0: 1 to 1000000"),
            ("[[tenant]]\nname = '../a'\nadmin = true\nuids = [1]", "tenant[0].name = ../a"),
            ("[[tenant]]\nname = 'a'\nuids = [1]", "tenant[0].models = []: at least one model"),
            ("[[tenant]]\nname = 'a'\nmodels = ['x*y']\nuids = [1]", "tenant[0].models = x*y"),
            (
                "[[tenant]]\nname = 'a'\nadmin = true",
                "known by one of uids, gids, token-sha256 or certificates",
            ),
            ("[[tenant]]\nname = 'a'\nadmin = true\ntoken-sha256 = ['secret']", "64 hexadecimal digits"),
            (
                "[[tenant]]\nname = 'a'\nadmin = true\nuids = [1]\nsessions = 0",
                "tenant[0].sessions = 0: 1 to 10000",
            ),
            ("[[tenant]]\nname = 'a'\nadmin = true\nuids = [1]\nrequests = 0", "tenant[0].requests = 0"),
            ("[[tenant]]\nname = 'a'\nadmin = true\nuids = [1]\nuid = 1", "unknown field `uid`"),
            ("[limits]\nmessage-bytes = 1", "4096 to 2147483648"),
            ("[supervision]\nhang-timeout-s = inf", "0.01 to 86400"),
            ("[admission]\nutilisation-max = 1.0", "admission.utilisation-max = 1: above 0 and below 1"),
            ("[admission]\nat-risk = 'evict'", "unknown variant `evict`"),
            ("[calibration]\ntrial-s = 0.0", "calibration.trial-s = 0: 0.01 to 600"),
            ("[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = ['onnx']\nwidth = 65", "device[0].width = 65"),
            ("[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = ['onnx']\nwidth = 0", "width"),
            (
                "[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = ['onnx']\nquantum-ms = nan",
                "quantum-ms = NaN",
            ),
            ("device = []", "at least one device"),
            (
                "[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = ['torch']\nworker-memory-bytes = 5",
                "device[0].worker-memory-bytes = 5: 67108864",
            ),
            (
                "[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = ['torch']\nsandbox-read = ['x']",
                "device[0].sandbox-read = x",
            ),
            (
                "[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = ['torch']\nsandbox = 'all'",
                "unknown variant `all`",
            ),
            ("[[device]]\nname = '../x'\nkind = 'gpu'\nruntimes = ['onnx']", "device[0].name"),
            ("[[device]]\nname = 'a'\nkind = 'npu'\nruntimes = ['onnx']", "unknown variant `npu`"),
            ("[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = ['cuda']", "a runtime of this release"),
            ("[[device]]\nname = 'a'\nkind = 'gpu'\nruntimes = []", "at least one runtime"),
            (
                "[[device]]\nname = 'a'\nkind = 'gpu'\nsource = 'coral-pci:0'\nruntimes = ['torch']",
                "device[0].source = coral-pci:0: hardware of the device's kind",
            ),
            ("[[device]]\nname = 'a'\nkind = 'gpu'\nsource = 'gpu0'\nruntimes = ['torch']", "is no source"),
            ("not toml", "configuration"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(said), "{text:?} gives {error:?}, not {said:?}");
        }
    }

    #[test]
    fn what_one_tenant_is_known_by_is_no_others() {
        let digest = "0".repeat(64);
        for (field, mark) in [
            ("uids", "[7]".to_owned()),
            ("gids", "[7]".to_owned()),
            ("token-sha256", format!("['{digest}']")),
            ("certificates", "['x.example']".to_owned()),
        ] {
            let tenant = |name| format!("[[tenant]]\nname = '{name}'\nadmin = true\n{field} = {mark}\n");
            assert!(read(&tenant("a")).is_ok());
            let error = read(&(tenant("a") + &tenant("b"))).unwrap_err();
            assert!(error.starts_with(&format!("tenant[1].{field} = ")), "{error}");
            assert!(read(&(tenant("a") + &tenant("a"))).unwrap_err().starts_with("tenant[1].name = a"));
        }
    }

    #[test]
    fn tls_may_face_the_network_with_certificates_or_tenants() {
        let tls = "[tls]\ncertificate = 'c'\nkey = 'k'\n";
        let tenant = "[[tenant]]\nname = 'a'\nadmin = true\nuids = [1]\n";
        for more in ["client-ca = 'ca'\n", tenant] {
            let text = format!("listen = ['tls:0.0.0.0:8443']\n{tls}{more}");
            assert_eq!(read(&text).unwrap().listen, [Listen::Tls(([0, 0, 0, 0], 8443).into())]);
        }
    }

    #[test]
    fn two_devices_of_one_name_are_refused() {
        let device = "[[device]]\nname = 'a'\nkind = 'cpu'\nruntimes = ['onnx']\n";
        assert!(read(&device.repeat(2)).unwrap_err().contains("a name of its own"));
    }

    #[test]
    fn one_piece_of_hardware_is_one_device() {
        let device = |name| {
            format!(
                "[[device]]\nname = '{name}'\nkind = 'edgetpu'\nsource = 'coral-usb:1-2'\nruntimes = ['edgetpu']\n"
            )
        };
        assert_eq!(read(&device("a")).unwrap().device[0].source, Some("coral-usb:1-2".parse().unwrap()));
        assert!(read(&(device("a") + &device("b"))).unwrap_err().contains("the source of one device"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::read(Path::new("/nowhere/x.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/x.toml"), "{error}");
    }
}
