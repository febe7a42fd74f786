//! The configuration file: kebab-case keys, unknown keys refused, every value checked before anything starts.

mod access;
mod current;
mod device;
mod reload;
mod sections;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use edgemux_runtime_api::runtime::DeviceKind;
use serde::Deserialize;

pub use self::access::{Tenant, Tls, TokenDigest};
pub use self::current::Current;
pub use self::device::{
    Device, Isolation, Multiplexing, QUANTUM_MS, RUN_MAX, SandboxKind, Sharing, WIDTH_MAX,
};
pub use self::sections::{Admission, AtRisk, Calibration, Limits, Supervision, Telemetry};

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
    /// What is told of requests to others.
    pub telemetry: Telemetry,
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
            telemetry: Telemetry::default(),
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
        self.telemetry.check()?;
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
            (
                "[telemetry]\notlp-endpoint = 'collector'",
                "telemetry.otlp-endpoint = collector: an address like",
            ),
            ("[telemetry]\ntrace-share = 2.0", "telemetry.trace-share = 2: 0 to 1"),
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
