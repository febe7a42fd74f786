//! Before any model: who is there, on which terms.

use edgemux_runtime_api::client::{SpawnError, Worker, probe};
use edgemux_runtime_api::error::OpenError;
use edgemux_runtime_api::protocol::{Command, VERSION};
use edgemux_runtime_api::runtime::DeviceSpec;

use crate::bench::{Bench, PATIENCE};
use crate::system::BareWorker;
use crate::{CaseResult, Subject};

pub(super) async fn the_probe_names_runtime_and_formats(subject: &Subject) -> CaseResult {
    let probe = probe(&subject.command, PATIENCE).await?;
    ensure!(probe.runtime == subject.runtime, "it calls itself {:?}", probe.runtime);
    ensure!(
        probe.formats.iter().any(|format| format == subject.format),
        "its formats are {:?}",
        probe.formats
    );
    ensure!(probe.devices.contains(&subject.device.kind), "its devices are {:?}", probe.devices);
    ensure!(!probe.devices.contains(&subject.refused_kind), "it offers {}", subject.refused_kind);
    ensure!(!probe.version.is_empty(), "it has no version");
    ensure!(probe.problem.is_none(), "it has a problem here: {:?}", probe.problem);
    Ok(())
}

pub(super) async fn the_handshake_tells_what_the_probe_tells(subject: &Subject) -> CaseResult {
    let bench = Bench::start(subject, 2).await?;
    let probed = probe(&subject.command, PATIENCE).await?;
    ensure!(*bench.worker.probe() == probed, "{:?} for {probed:?}", bench.worker.probe());
    ensure!(bench.worker.lanes().len() == 2, "{} lanes of 2", bench.worker.lanes().len());
    Ok(bench.worker.ping(1).await?)
}

pub(super) async fn another_version_is_refused(subject: &Subject) -> CaseResult {
    let worker = BareWorker::start(subject)?;
    worker.send(&Command::Hello { version: VERSION + 1, device: subject.device.clone() })?;
    let reply = worker.receive()?;
    ensure!(reply.is_none(), "it answered {reply:?}");
    let status = worker.left().await?;
    ensure!(status.code().is_some_and(|code| code != 0), "it left with {status}");
    Ok(())
}

pub(super) async fn a_message_that_makes_no_sense_ends_the_worker(subject: &Subject) -> CaseResult {
    for nonsense in [&[0xFF_u8; 64][..], &[0], &[2, 3, 4]] {
        let worker = BareWorker::start(subject)?;
        worker.send_raw(nonsense)?;
        let reply = worker.receive()?;
        ensure!(reply.is_none(), "it answered {reply:?}");
        // By its own decision: an exit code, not a signal.
        let status = worker.left().await?;
        ensure!(status.code().is_some_and(|code| code != 0), "it left with {status}");
    }
    Ok(())
}

pub(super) async fn a_device_of_another_kind_is_refused(subject: &Subject) -> CaseResult {
    let device = DeviceSpec { kind: subject.refused_kind, ..subject.device.clone() };
    match Worker::spawn(&subject.command, &device, 1, PATIENCE).await {
        Err(SpawnError::Open(OpenError::Kind { runtime, kind })) => {
            ensure!(runtime == subject.runtime && kind == device.kind.name(), "{runtime:?} refuses {kind:?}");
            Ok(())
        }
        other => Err(format!("{:?}", other.map(|(worker, _)| worker.pid())).into()),
    }
}

pub(super) async fn options_that_make_no_sense_are_refused(subject: &Subject) -> CaseResult {
    for options in ["{\"no-such-option\": 1}", "not even JSON"] {
        let device = DeviceSpec { options: options.into(), ..subject.device.clone() };
        match Worker::spawn(&subject.command, &device, 1, PATIENCE).await {
            Err(SpawnError::Open(OpenError::Options(reason))) => ensure!(!reason.is_empty(), "no reason"),
            other => return Err(format!("{options}: {:?}", other.map(|(worker, _)| worker.pid())).into()),
        }
    }
    Ok(())
}
