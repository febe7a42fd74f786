//! The same promises through the traits, without a process between: where a failure is easiest to debug.

use std::path::PathBuf;
use std::sync::Arc;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::runtime::{Cancel, DeviceSpec, Instance, Outputs, Runtime};
use edgemux_runtime_api::tensor::{Signature, TensorView};
use tempfile::TempDir;

use crate::{CaseResult, Fault, RunCase, Subject, Tensor};

type Check = fn(&Subject) -> CaseResult;

/// Runs the suite's part that needs no worker.
///
/// # Panics
/// With what the runtime fails.
pub fn in_process<R: Runtime>(subject: &Subject) {
    let checks: [(&str, Check); 5] = [
        ("probe and open", greets::<R>),
        ("load and run", runs::<R>),
        ("unwanted outputs", skips::<R>),
        ("two instances of one model", shares::<R>),
        ("broken files", refuses::<R>),
    ];
    let failed = |(name, check): &(&str, Check)| check(subject).err().map(|fault| format!("{name}: {fault}"));
    let failures: Vec<_> = checks.iter().filter_map(failed).collect();
    assert!(failures.is_empty(), "runtime {} fails in process\n{}", subject.runtime, failures.join("\n"));
}

fn greets<R: Runtime>(subject: &Subject) -> CaseResult {
    let probe = R::probe();
    ensure!(probe.runtime == subject.runtime, "it calls itself {:?}", probe.runtime);
    let refused = DeviceSpec { kind: subject.refused_kind, ..subject.device.clone() };
    ensure!(matches!(R::open(&refused), Err(OpenError::Kind { .. })), "it takes a {}", refused.kind);
    R::open(&subject.device)?;
    Ok(())
}

fn runs<R: Runtime>(subject: &Subject) -> CaseResult {
    let (runtime, folder) = (R::open(&subject.device)?, Folder::new(subject)?);
    for case in &subject.models {
        let model = runtime.load(&folder.file(&case.file)?)?;
        ensure!(*model.signature() == case.signature, "model {}: {:?}", case.name, model.signature());
        let mut instance = Arc::clone(&model).instantiate()?;
        for run in case.runs.iter().chain(&case.runs) {
            check_run(model.signature(), &mut *instance, run, None)?;
        }
    }
    Ok(())
}

fn skips<R: Runtime>(subject: &Subject) -> CaseResult {
    let (runtime, folder) = (R::open(&subject.device)?, Folder::new(subject)?);
    for case in &subject.models {
        let model = runtime.load(&folder.file(&case.file)?)?;
        let mut instance = Arc::clone(&model).instantiate()?;
        for (index, run) in (0..case.signature.outputs.len()).zip(case.runs.iter().cycle()) {
            check_run(model.signature(), &mut *instance, run, Some(index))?;
        }
    }
    Ok(())
}

fn shares<R: Runtime>(subject: &Subject) -> CaseResult {
    let (runtime, folder) = (R::open(&subject.device)?, Folder::new(subject)?);
    for case in &subject.models {
        let model = runtime.load(&folder.file(&case.file)?)?;
        let thread = || {
            let mut instance = Arc::clone(&model).instantiate()?;
            case.runs.iter().try_for_each(|run| check_run(model.signature(), &mut *instance, run, None))
        };
        let results = std::thread::scope(|scope| {
            let threads = [scope.spawn(thread), scope.spawn(thread)];
            threads.map(|thread| thread.join().unwrap_or_else(|_| Err("it panicked".into())))
        });
        results.into_iter().collect::<CaseResult>()?;
    }
    Ok(())
}

fn refuses<R: Runtime>(subject: &Subject) -> CaseResult {
    let (runtime, folder) = (R::open(&subject.device)?, Folder::new(subject)?);
    for (what, contents) in &subject.broken {
        let loaded = runtime.load(&folder.file(contents)?).map(|model| model.signature().clone());
        ensure!(matches!(loaded, Err(LoadError::Invalid { .. })), "{what}: {loaded:?}");
    }
    let absent = folder.file(&subject.echo)?.with_file_name("absent");
    let loaded = runtime.load(&absent).map(|model| model.signature().clone());
    ensure!(matches!(loaded, Err(LoadError::Read { .. })), "an absent file: {loaded:?}");
    Ok(())
}

struct Folder {
    folder: TempDir,
    name: String,
}

impl Folder {
    fn new(subject: &Subject) -> Result<Self, Fault> {
        Ok(Self { folder: tempfile::tempdir()?, name: format!("model.{}", subject.format) })
    }

    fn file(&self, contents: &[u8]) -> Result<PathBuf, Fault> {
        let file = self.folder.path().join(&self.name);
        std::fs::write(&file, contents)?;
        Ok(file)
    }
}

fn check_run(
    signature: &Signature,
    instance: &mut dyn Instance,
    run: &RunCase,
    skipped: Option<usize>,
) -> CaseResult {
    let views: Vec<_> = signature
        .inputs
        .iter()
        .zip(&run.inputs)
        .map(|(spec, tensor)| TensorView {
            datatype: spec.datatype,
            shape: &tensor.shape,
            bytes: &tensor.bytes,
        })
        .collect();
    let mut kept = Kept { skipped, outputs: Vec::new() };
    instance.run(&views, &mut kept, &Cancel::default())?;
    let wanted = run.outputs.len() - usize::from(skipped.is_some());
    ensure!(kept.outputs.len() == wanted, "{} outputs of {wanted}", kept.outputs.len());
    for (index, tensor) in &kept.outputs {
        run.outputs[*index].check(signature.outputs[*index].datatype, &tensor.shape, &tensor.bytes)?;
    }
    Ok(())
}

/// Keeps what an instance writes.
struct Kept {
    skipped: Option<usize>,
    outputs: Vec<(usize, Tensor)>,
}

impl Outputs for Kept {
    fn buffer(&mut self, index: usize, shape: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError> {
        if self.skipped == Some(index) {
            return Ok(None);
        }
        // Not zeroes: what is not written must show.
        self.outputs.push((index, Tensor { shape: shape.to_vec(), bytes: vec![0xEE; bytes] }));
        Ok(self.outputs.last_mut().map(|(_, tensor)| tensor.bytes.as_mut_slice()))
    }

    fn next_response(&mut self) -> Result<(), RunError> {
        Err(RunError::Failed("a second response from a model that is not decoupled".into()))
    }
}
