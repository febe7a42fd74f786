//! A worker with the daemon's end in hand: what the cases do over and over.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use edgemux_runtime_api::client::{
    Contents, InputTensor, Job, LaneEvent, LaneReader, OutputContents, OutputTarget, OutputTensor, Worker,
};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::protocol::{RequestId, SessionId};
use edgemux_runtime_api::runtime::{Memory, Timing};
use edgemux_runtime_api::tensor::Signature;
use tempfile::TempDir;

use crate::{Answer, CaseResult, Fault, ModelCase, RunCase, Slow, Subject, Tensor};

/// Longest a worker may take to greet; a loaded machine is slow, and a sanitised library too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Room for outputs that is never too small for the suite's models.
pub(crate) const HINT: usize = 1 << 20;

pub(crate) struct Bench<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) worker: Worker,
    pub(crate) readers: Vec<LaneReader>,
    folder: TempDir,
    last_request: RequestId,
    last_session: SessionId,
}

/// What came of a request.
pub(crate) type Outcome = Result<Vec<Response>, RunError>;

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) outputs: Vec<OutputTensor>,
    pub(crate) timing: Timing,
}

impl<'a> Bench<'a> {
    pub(crate) async fn start(subject: &'a Subject, lanes: usize) -> Result<Self, Fault> {
        let (worker, readers) = Worker::spawn(&subject.command, &subject.device, lanes, PATIENCE).await?;
        Ok(Self { subject, worker, readers, folder: tempfile::tempdir()?, last_request: 0, last_session: 0 })
    }

    /// A worker with one lane and the echo model.
    pub(crate) async fn with_echo(subject: &'a Subject) -> Result<(Self, SessionId), Fault> {
        let mut bench = Self::start(subject, 1).await?;
        let session = bench.load(&subject.echo).await?.0;
        Ok((bench, session))
    }

    /// Writes a model file of its own folder.
    pub(crate) fn file(&self, folder: &str, contents: &[u8]) -> Result<PathBuf, Fault> {
        let folder = self.folder.path().join(folder);
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(format!("model.{}", self.subject.format));
        std::fs::write(&file, contents)?;
        Ok(file)
    }

    pub(crate) fn new_session(&mut self) -> SessionId {
        self.last_session += 1;
        self.last_session
    }

    pub(crate) async fn load(&mut self, contents: &[u8]) -> Result<(SessionId, Signature, Memory), Fault> {
        let session = self.new_session();
        let file = self.file(&session.to_string(), contents)?;
        let (signature, memory, _) = self.worker.load(session, &file).await?;
        Ok((session, signature, memory))
    }

    /// A request with every output inline.
    pub(crate) fn job(&mut self, session: SessionId, inputs: &[Tensor]) -> Job {
        self.last_request += 1;
        let inputs = inputs.iter().map(|tensor| InputTensor {
            shape: tensor.shape.clone(),
            contents: Contents::Inline(Bytes::from(tensor.bytes.clone())),
        });
        Job {
            request: self.last_request,
            session,
            inputs: inputs.collect(),
            outputs: vec![],
            output_bytes_hint: HINT,
        }
    }

    /// Starts a request on a lane and waits until it is over.
    pub(crate) async fn run_job(&mut self, lane: usize, job: &Job) -> Result<Outcome, Fault> {
        self.worker.lanes()[lane].start(job)?;
        self.finish(lane, job.request).await
    }

    pub(crate) async fn run(&mut self, session: SessionId, inputs: &[Tensor]) -> Result<Outcome, Fault> {
        let job = self.job(session, inputs);
        self.run_job(0, &job).await
    }

    /// Waits until the request that runs on a lane is over.
    pub(crate) async fn finish(&mut self, lane: usize, started: RequestId) -> Result<Outcome, Fault> {
        let mut responses = Vec::new();
        loop {
            match self.readers[lane].next().await? {
                LaneEvent::Response { request, outputs, last, timing } => {
                    ensure!(request == started, "a response to request {request}, not {started}");
                    responses.push(Response { outputs, timing });
                    if last {
                        return Ok(Ok(responses));
                    }
                }
                LaneEvent::Failed { request, error } => {
                    ensure!(request == started, "the failure of request {request}, not {started}");
                    return Ok(Err(error));
                }
            }
        }
    }

    /// The echo model must still give back what it gets: the worker is well.
    pub(crate) async fn expect_echo(&mut self, session: SessionId, elements: usize) -> CaseResult {
        let input = Tensor::ramp(elements);
        let outcome = self.run(session, std::slice::from_ref(&input)).await?;
        let only = only(outcome?)?;
        ensure!(only.outputs.len() == 1, "{} outputs of one", only.outputs.len());
        let output = &only.outputs[0];
        ensure!(
            output.index == 0 && output.shape == input.shape,
            "output {} of shape {:?}",
            output.index,
            output.shape
        );
        ensure!(inline(output)? == &input.bytes[..], "the echo of {elements} elements differs");
        Ok(())
    }

    /// Runs a request with known answers.
    pub(crate) async fn expect(
        &mut self,
        model: &ModelCase,
        session: SessionId,
        run: &RunCase,
    ) -> CaseResult {
        let outcome = self.run(session, &run.inputs).await?;
        let response = only(outcome.map_err(|error| format!("model {}: {error}", model.name))?)?;
        check_answers(model, &run.outputs, &response.outputs)
    }

    /// Starts the slow request on a lane; it is still running when this returns.
    pub(crate) async fn start_slow(&mut self, lane: usize) -> Result<RequestId, Fault> {
        let Slow { file, inputs } = self.subject.slow.clone();
        let session = self.load(&file).await?.0;
        let job = self.job(session, &inputs);
        self.worker.lanes()[lane].start(&job)?;
        Ok(job.request)
    }
}

fn check_answers(model: &ModelCase, answers: &[Answer], outputs: &[OutputTensor]) -> CaseResult {
    ensure!(
        outputs.len() == answers.len(),
        "model {}: {} outputs for {}",
        model.name,
        outputs.len(),
        answers.len()
    );
    for (output, answer) in outputs.iter().zip(answers) {
        let spec = &model.signature.outputs[output.index];
        let checked = answer.check(spec.datatype, &output.shape, inline(output)?);
        checked.map_err(|what| format!("model {}, output {}: {what}", model.name, spec.name))?;
    }
    Ok(())
}

/// The one response of a model that is not decoupled.
pub(crate) fn only(mut responses: Vec<Response>) -> Result<Response, Fault> {
    ensure!(responses.len() == 1, "{} responses of one", responses.len());
    Ok(responses.remove(0))
}

/// The bytes of an output that was to come inline.
pub(crate) fn inline(output: &OutputTensor) -> Result<&Bytes, Fault> {
    match &output.contents {
        OutputContents::Inline(bytes) => Ok(bytes),
        OutputContents::Region(_) => Err(format!("output {} went into a region", output.index).into()),
    }
}

/// Targets for every output of a model: inline, but for one.
pub(crate) fn inline_but(outputs: usize, index: usize, target: OutputTarget) -> Vec<OutputTarget> {
    let mut targets = vec![OutputTarget::Inline; outputs];
    targets[index] = target;
    targets
}
