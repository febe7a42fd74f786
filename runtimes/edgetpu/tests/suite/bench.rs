//! A worker with the fake delegate, and models for it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use edgemux_runtime_api::client::{
    Contents, InputTensor, Job, LaneError, LaneEvent, LaneReader, LoadFailure, OutputContents, SpawnError,
    Worker, WorkerCommand,
};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::protocol::{RequestId, SessionId};
use edgemux_runtime_api::runtime::{Details, DeviceKind, DeviceSpec, Timing};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The delegate that the build made.
pub(crate) const FAKE: &str = env!("EDGEMUX_FAKE_DELEGATE");

pub(crate) const WORKER: &str = env!("CARGO_BIN_EXE_edgemux-runtime-edgetpu");

/// TensorFlow Lite as `cargo xtask native` names it.
pub(crate) fn tensorflow_lite() -> String {
    std::env::var("TFLITEC_PREBUILT_PATH")
        .expect("these tests run under the variables of `cargo xtask native`")
}

pub(crate) fn path(model: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/models/{model}.tflite", env!("CARGO_MANIFEST_DIR")))
}

/// The device's options: both libraries, and more.
pub(crate) fn options(more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(r#"{{"delegate": "{FAKE}", "tensorflow-lite": "{}"{more}}}"#, tensorflow_lite())
}

pub(crate) fn device(options: &str) -> DeviceSpec {
    DeviceSpec { name: "coral0".into(), kind: DeviceKind::Edgetpu, threads: 1, options: options.into() }
}

/// The worker. A probe knows no options: the variables name the libraries for it.
pub(crate) fn command() -> WorkerCommand {
    WorkerCommand {
        environment: vec![
            ("TFLITE_LIBRARY_PATH".into(), tensorflow_lite().into()),
            ("EDGETPU_LIBRARY_PATH".into(), FAKE.into()),
        ],
        ..WorkerCommand::new(WORKER)
    }
}

/// A worker with one lane.
pub(crate) struct Bench {
    pub(crate) worker: Worker,
    lane: LaneReader,
    last_request: RequestId,
    last_session: SessionId,
}

impl Bench {
    pub(crate) async fn spawn(more: &str) -> Result<Self, SpawnError> {
        let (worker, mut lanes) = Worker::spawn(&command(), &device(&options(more)), 1, PATIENCE).await?;
        Ok(Self { worker, lane: lanes.remove(0), last_request: 0, last_session: 0 })
    }

    pub(crate) async fn load(&mut self, model: &str) -> Result<(SessionId, Details), LoadFailure> {
        self.last_session += 1;
        let (_, _, details) = self.worker.load(self.last_session, &path(model)).await?;
        Ok((self.last_session, details))
    }

    /// Runs a request of one FP32 vector.
    pub(crate) async fn run(
        &mut self,
        session: SessionId,
        input: &[f32],
    ) -> Result<Result<(Vec<f32>, Timing), RunError>, LaneError> {
        self.last_request += 1;
        let bytes: Vec<u8> = input.iter().flat_map(|element| element.to_le_bytes()).collect();
        let shape = vec![input.len() as i64];
        let job = Job {
            request: self.last_request,
            session,
            inputs: vec![InputTensor { shape, contents: Contents::Inline(Bytes::from(bytes)) }],
            outputs: vec![],
            output_bytes_hint: 1 << 16,
        };
        self.worker.lanes()[0].start(&job)?;
        match self.lane.next().await? {
            LaneEvent::Failed { error, .. } => Ok(Err(error)),
            LaneEvent::Response { outputs, timing, .. } => {
                let OutputContents::Inline(bytes) = &outputs[0].contents else { panic!("not inline") };
                let (elements, _) = bytes.as_chunks::<4>();
                Ok(Ok((elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(), timing)))
            }
        }
    }

    /// A request that must be answered with its own input; where its time went.
    pub(crate) async fn echoed(&mut self, session: SessionId, input: &[f32]) -> Timing {
        let (output, timing) = self.run(session, input).await.unwrap().unwrap();
        assert_eq!(output, input);
        timing
    }
}
