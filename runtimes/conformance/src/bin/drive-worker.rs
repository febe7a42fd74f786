//! Drives a runtime's worker without a daemon: commands in, answers out, a line of JSON each.
//!
//! For scripts on machines where there is no more than binaries, and for measuring a worker by itself. One command at a
//! time; every answer has `ok`, or `error` with what went wrong. `Command` lists what can be asked for.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edgemux_runtime_api::client::{
    Contents, InputTensor, Job, LaneError, LaneEvent, LaneReader, OutputContents, OutputTensor, Worker,
    WorkerCommand,
};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::protocol::{RequestId, SessionId};
use edgemux_runtime_api::runtime::{DeviceSpec, Timing};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Longest a worker may take to greet: libraries of a gigabyte are read from a cold disk.
const PATIENCE: Duration = Duration::from_secs(120);
/// Room for a request's outputs.
const OUTPUT_BYTES: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Command {
    /// Starts the worker `program` for a device, with so many lanes.
    Start { program: PathBuf, device: DeviceSpec, lanes: usize },
    /// Loads a model.
    Load { session: SessionId, file: PathBuf },
    /// Drops it.
    Unload { session: SessionId },
    /// Runs one request on a lane; its outputs are written to files in the folder `outputs`, if there is one.
    Run { lane: usize, session: SessionId, inputs: Vec<InputFile>, outputs: Option<PathBuf> },
    /// Keeps lanes busy for some seconds: lane n runs the nth of the sessions again and again.
    Saturate { sessions: Vec<SessionId>, seconds: f64, inputs: Vec<InputFile> },
    /// Kills the worker.
    Kill,
    /// Waits until the worker is dead and tells how it ended.
    Dead,
}

/// An input whose contents are in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputFile {
    shape: Vec<i64>,
    file: PathBuf,
}

/// One request as it was seen from here.
#[derive(Serialize)]
struct Seen {
    /// From handing over to the answer.
    wall_ns: u64,
    /// As the worker tells it.
    timing: Timing,
}

struct Driver {
    worker: Worker,
    readers: Vec<LaneReader>,
    last_request: RequestId,
}

type Answer = Result<Value, Box<dyn Error>>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut driver = None;
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(command) => answer(&mut driver, command).await,
            Err(error) => Err(error.into()),
        };
        let answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

async fn answer(driver: &mut Option<Driver>, command: Command) -> Answer {
    if let Command::Start { program, device, lanes } = command {
        let begun = Instant::now();
        let command = WorkerCommand::new(program);
        let (worker, readers) = Worker::spawn(&command, &device, lanes, PATIENCE).await?;
        let greeting = json!({
            "ok": true, "pid": worker.pid(), "probe": worker.probe(), "ms": milliseconds(begun),
        });
        *driver = Some(Driver { worker, readers, last_request: 0 });
        return Ok(greeting);
    }
    let driver = driver.as_mut().ok_or("no worker was started")?;
    match command {
        Command::Start { .. } => Err("handled above".into()),
        Command::Load { session, file } => {
            let begun = Instant::now();
            let (signature, memory, _) = driver.worker.load(session, &file).await?;
            Ok(json!({ "ok": true, "signature": signature, "memory": memory, "ms": milliseconds(begun) }))
        }
        Command::Unload { session } => {
            driver.worker.unload(session).await?;
            Ok(json!({ "ok": true }))
        }
        Command::Run { lane, session, inputs, outputs } => driver.run(lane, session, &inputs, outputs).await,
        Command::Saturate { sessions, seconds, inputs } => driver.saturate(&sessions, seconds, &inputs).await,
        Command::Kill => {
            driver.worker.kill();
            Ok(json!({ "ok": true }))
        }
        Command::Dead => Ok(json!({ "ok": true, "death": driver.worker.dead().await.to_string() })),
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn tensors(inputs: &[InputFile]) -> Result<Vec<InputTensor>, Box<dyn Error>> {
    let tensor = |input: &InputFile| {
        let bytes =
            std::fs::read(&input.file).map_err(|error| format!("{}: {error}", input.file.display()))?;
        Ok(InputTensor { shape: input.shape.clone(), contents: Contents::Inline(Bytes::from(bytes)) })
    };
    inputs.iter().map(tensor).collect()
}

impl Driver {
    fn job(&mut self, session: SessionId, inputs: Vec<InputTensor>) -> Job {
        self.last_request += 1;
        Job { request: self.last_request, session, inputs, outputs: vec![], output_bytes_hint: OUTPUT_BYTES }
    }

    async fn run(
        &mut self,
        lane: usize,
        session: SessionId,
        inputs: &[InputFile],
        outputs: Option<PathBuf>,
    ) -> Answer {
        let job = self.job(session, tensors(inputs)?);
        let reader = self.readers.get_mut(lane).ok_or("there is no such lane")?;
        match once(&self.worker, lane, reader, &job).await {
            Ok(Ok((seen, answers))) => {
                let files = match outputs {
                    Some(folder) => write(&folder, &answers)?,
                    None => vec![],
                };
                Ok(json!({ "ok": true, "seen": seen, "outputs": files }))
            }
            Ok(Err(error)) => {
                let lost = matches!(error, RunError::DeviceLost(_));
                Ok(json!({ "error": error.to_string(), "device_lost": lost }))
            }
            Err(LaneError::Gone) => {
                let death = self.worker.dead().await;
                Ok(json!({ "error": "the worker is gone", "death": death.to_string() }))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn saturate(&mut self, sessions: &[SessionId], seconds: f64, inputs: &[InputFile]) -> Answer {
        if sessions.len() > self.readers.len() {
            return Err(format!("{} sessions, {} lanes", sessions.len(), self.readers.len()).into());
        }
        let inputs = tensors(inputs)?;
        let begun = Instant::now();
        let end = begun + Duration::try_from_secs_f64(seconds)?;
        // Each lane numbers its requests in a stretch of its own.
        let first = self.last_request + 1;
        self.last_request += (sessions.len() as u64) << 32;
        let mut lanes = JoinSet::new();
        let idle = self.readers.split_off(sessions.len());
        let busy = std::mem::replace(&mut self.readers, idle);
        for (lane, (&session, mut reader)) in sessions.iter().zip(busy).enumerate() {
            let sender = Arc::clone(&self.worker.lanes()[lane]);
            let mut job = self.job(session, inputs.clone());
            job.request = first + ((lane as u64) << 32);
            lanes.spawn(async move {
                let mut all = Vec::new();
                while Instant::now() < end {
                    let begun = Instant::now();
                    sender.start(&job)?;
                    let outcome = finish(&mut reader, begun).await?;
                    all.push(outcome.map(|(seen, _)| seen));
                    job.request += 1;
                }
                Ok::<_, LaneError>((lane, reader, all))
            });
        }
        let mut done = BTreeMap::new();
        while let Some(lane) = lanes.join_next().await {
            let (lane, reader, all) = lane??;
            done.insert(lane, (reader, all));
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let (mut readers, seen): (Vec<_>, Vec<_>) = done.into_values().unzip();
        readers.append(&mut self.readers);
        self.readers = readers;
        let seen = seen.into_iter().map(|all| all.into_iter().collect::<Result<Vec<_>, _>>());
        Ok(json!({ "ok": true, "seconds": elapsed, "lanes": seen.collect::<Result<Vec<_>, _>>()? }))
    }
}

type Outcome = Result<(Seen, Vec<OutputTensor>), RunError>;

/// Runs one request to its end.
async fn once(
    worker: &Worker,
    lane: usize,
    reader: &mut LaneReader,
    job: &Job,
) -> Result<Outcome, LaneError> {
    let begun = Instant::now();
    worker.lanes()[lane].start(job)?;
    finish(reader, begun).await
}

async fn finish(reader: &mut LaneReader, begun: Instant) -> Result<Outcome, LaneError> {
    let mut all = Vec::new();
    loop {
        match reader.next().await? {
            LaneEvent::Failed { error, .. } => return Ok(Err(error)),
            LaneEvent::Response { outputs, last, timing, .. } => {
                all.extend(outputs);
                if last {
                    let wall_ns = begun.elapsed().as_nanos() as u64;
                    return Ok(Ok((Seen { wall_ns, timing }, all)));
                }
            }
        }
    }
}

/// Writes each output to a file of its own.
fn write(folder: &Path, outputs: &[OutputTensor]) -> Result<Vec<Value>, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    outputs
        .iter()
        .map(|output| {
            let OutputContents::Inline(bytes) = &output.contents else {
                return Err("an output came into a region".into());
            };
            let file = folder.join(output.index.to_string());
            std::fs::write(&file, bytes)?;
            Ok(json!({ "shape": output.shape, "file": file }))
        })
        .collect()
}
