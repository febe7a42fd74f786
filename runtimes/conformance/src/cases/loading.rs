//! Models come and go.

use std::path::Path;

use edgemux_runtime_api::client::LoadFailure;
use edgemux_runtime_api::error::{LoadError, RunError};

use crate::bench::Bench;
use crate::system::Holdings;
use crate::{CaseResult, Subject};

pub(super) async fn a_model_is_loaded_with_its_signature(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    for model in &subject.models {
        let (_, signature, _) = bench.load(&model.file).await?;
        ensure!(
            signature == model.signature,
            "model {}: {signature:?} for {:?}",
            model.name,
            model.signature
        );
    }
    Ok(())
}

pub(super) async fn a_broken_file_is_refused_and_the_worker_lives(subject: &Subject) -> CaseResult {
    let (mut bench, echo) = Bench::with_echo(subject).await?;
    for (number, (what, contents)) in subject.broken.iter().enumerate() {
        let session = bench.new_session();
        let path = bench.file(&format!("broken {number}"), contents)?;
        match bench.worker.load(session, &path).await {
            Err(LoadFailure::Refused(LoadError::Invalid { file, reason })) => {
                ensure!(Path::new(&file) == path, "{what}: the error names {file:?}");
                ensure!(!reason.is_empty(), "{what}: no reason");
            }
            other => return Err(format!("{what}: {other:?}").into()),
        }
        bench.expect_echo(echo, 4).await?;
    }
    Ok(())
}

pub(super) async fn a_file_that_cannot_be_read_is_refused(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    let there = bench.file("there", &subject.echo)?;
    let absent = there.with_file_name(format!("absent.{}", subject.format));
    // A folder stands for whatever cannot be read: permissions mean nothing to a test that runs as root.
    let folder = there.with_file_name(format!("folder.{}", subject.format));
    std::fs::create_dir(&folder)?;
    for path in [absent, folder] {
        let session = bench.new_session();
        match bench.worker.load(session, &path).await {
            Err(LoadFailure::Refused(LoadError::Read { file, reason })) => {
                ensure!(Path::new(&file) == path && !reason.is_empty(), "{file:?}: {reason:?}");
            }
            other => return Err(format!("{}: {other:?}", path.display()).into()),
        }
    }
    Ok(())
}

pub(super) async fn a_truncated_file_kills_nobody(subject: &Subject) -> CaseResult {
    let (mut bench, echo) = Bench::with_echo(subject).await?;
    for model in &subject.models {
        for eighth in 0..8 {
            let session = bench.new_session();
            let path = bench.file("truncated", &model.file[..model.file.len() * eighth / 8])?;
            // What is left may happen to be a model; it must not be a crash.
            if let Err(LoadFailure::Gone(gone)) = bench.worker.load(session, &path).await {
                return Err(format!("model {}, {eighth}/8 of it: {gone}", model.name).into());
            }
        }
    }
    bench.expect_echo(echo, 4).await
}

pub(super) async fn an_unloaded_session_is_not_run(subject: &Subject) -> CaseResult {
    let (mut bench, session) = Bench::with_echo(subject).await?;
    let other = bench.load(&subject.echo).await?.0;
    bench.expect_echo(session, 4).await?;
    bench.worker.unload(session).await?;
    let outcome = bench.run(session, &[crate::Tensor::ramp(4)]).await?;
    ensure!(matches!(outcome, Err(RunError::NotLoaded(id)) if id == session), "{outcome:?}");
    let never = bench.new_session();
    let outcome = bench.run(never, &[crate::Tensor::ramp(4)]).await?;
    ensure!(matches!(outcome, Err(RunError::NotLoaded(id)) if id == never), "{outcome:?}");
    bench.expect_echo(other, 4).await
}

pub(super) async fn unloading_frees_what_loading_took(subject: &Subject) -> CaseResult {
    const ROUNDS: usize = 20;
    /// Allocators keep a little; a model that stayed would stay twenty times.
    const SLACK_KIB: usize = 4096;
    let mut bench = Bench::start(subject, 1).await?;
    let mut before = None;
    for round in 0..2 * ROUNDS {
        if round == ROUNDS {
            before = Some(Holdings::of(bench.worker.pid())?);
        }
        let session = bench.load(&subject.echo).await?.0;
        bench.expect_echo(session, 64).await?;
        bench.worker.unload(session).await?;
    }
    let before = before.ok_or("no rounds")?;
    let after = Holdings::of(bench.worker.pid())?;
    ensure!(after.descriptors <= before.descriptors, "descriptors grew: {before:?}, {after:?}");
    ensure!(after.mappings_shared <= before.mappings_shared, "mappings grew: {before:?}, {after:?}");
    ensure!(after.resident_kib <= before.resident_kib + SLACK_KIB, "memory grew: {before:?}, {after:?}");
    Ok(())
}
