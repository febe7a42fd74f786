//! A runtime whose models try to reach what is none of theirs. Each line of a model file is an attempt; the answer to any
//! request is what became of each: 0 if it worked, else the error's number.

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::host;
use edgemux_runtime_api::runtime::{
    Cancel, DeviceKind, DeviceSpec, Instance, Memory, Model, Outputs, Probe, Runtime, Timing,
};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec, TensorView};
use rustix::process::{Pid, Signal};

struct Trespasser;

impl Runtime for Trespasser {
    fn probe() -> Probe {
        Probe {
            runtime: "tflite".into(),
            version: "trespasser".into(),
            formats: vec!["tflite".into()],
            devices: vec![DeviceKind::Cpu, DeviceKind::Gpu],
            problem: None,
        }
    }

    fn open(_: &DeviceSpec) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError> {
        let name = file.display().to_string();
        let attempts = std::fs::read_to_string(file)
            .map_err(|error| LoadError::Read { file: name, reason: error.to_string() })?;
        let tensor = |name: &str, length| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: vec![length],
        };
        let signature =
            Signature { inputs: vec![tensor("x", 1)], outputs: vec![tensor("errors", -1)], decoupled: false };
        Ok(Arc::new(Attempts { signature, attempts }))
    }
}

struct Attempts {
    signature: Signature,
    attempts: String,
}

impl Model for Attempts {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError> {
        Ok(Box::new(Trying(self)))
    }
}

struct Trying(Arc<Attempts>);

impl Instance for Trying {
    fn run(
        &mut self,
        _: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        _: &Cancel,
    ) -> Result<Timing, RunError> {
        let errors: Vec<u8> = self.0.attempts.lines().flat_map(|line| error_of(line).to_le_bytes()).collect();
        let shape = [(errors.len() / 4) as i64];
        if let Some(buffer) = outputs.buffer(0, &shape, errors.len())? {
            buffer.copy_from_slice(&errors);
        }
        Ok(Timing::default())
    }
}

fn error_of(attempt: &str) -> f32 {
    match tried(attempt) {
        Ok(()) => 0.0,
        Err(error) => error.raw_os_error().unwrap_or(-1) as f32,
    }
}

fn tried(attempt: &str) -> io::Result<()> {
    let (what, whom) = attempt.split_once(' ').unwrap_or((attempt, ""));
    let pid = || whom.parse().ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput);
    match what {
        "read" => std::fs::read(whom).map(drop),
        "list" => std::fs::read_dir(whom).map(drop),
        "write" => std::fs::write(whom, "trespassed"),
        "remove" => std::fs::remove_file(whom),
        "device" => std::fs::File::options().read(true).write(true).open(whom).map(drop),
        "tcp" => TcpStream::connect(whom).map(drop),
        "udp" => UdpSocket::bind(whom).map(drop),
        "unix" => UnixStream::connect(whom).map(drop),
        "unbound" => UnixDatagram::unbound().map(drop),
        "raw" => {
            Ok(rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::RAW, None)
                .map(drop)?)
        }
        "pair" => UnixDatagram::pair().map(drop),
        // As CUDA's driver does it.
        "socket" => {
            let name = format!("edgemux-trespasser-{}", std::process::id());
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?).map(drop)
        }
        "name" => std::fs::write(format!("/proc/self/task/{}/comm", rustix::thread::gettid()), "trespasser"),
        "run" => std::process::Command::new(whom).spawn().and_then(|mut child| child.wait()).map(drop),
        "signal" => Ok(rustix::process::kill_process(pid()?, Signal::CONT)?),
        "memory" => {
            let bytes = whom.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            let mut memory: Vec<u8> = Vec::new();
            memory.try_reserve_exact(bytes).map_err(|_| io::Error::from_raw_os_error(12))
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match host::main::<Trespasser>(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trespasser: {error}");
            ExitCode::FAILURE
        }
    }
}
