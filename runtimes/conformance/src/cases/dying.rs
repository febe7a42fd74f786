//! Every way for a worker to end, and who hears of it.

use edgemux_runtime_api::client::LaneError;
use edgemux_runtime_api::protocol::{Command, Reply};

use crate::bench::Bench;
use crate::system::{BareWorker, exists};
use crate::{CaseResult, Subject};

pub(super) async fn stop_ends_the_worker_whatever_it_does(subject: &Subject) -> CaseResult {
    for busy in [false, true] {
        let mut bench = Bench::start(subject, 1).await?;
        if busy {
            bench.start_slow(0).await?;
        }
        bench.worker.stop();
        let death = bench.worker.dead().await;
        ensure!(death.status.is_some_and(|status| status.success()), "busy = {busy}: it ended with {death}");
        ensure!(!exists(bench.worker.pid()), "it is not reaped");
    }
    Ok(())
}

pub(super) async fn a_killed_worker_is_reported_at_once(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    bench.start_slow(0).await?;
    bench.worker.kill();
    match bench.readers[0].next().await {
        Err(LaneError::Gone) => {}
        other => return Err(format!("the lane says {other:?}").into()),
    }
    let death = bench.worker.dead().await;
    ensure!(death.from_outside(), "its death is {death}");
    ensure!(bench.worker.ping(1).await.is_err(), "a dead worker answers");
    let session = bench.new_session();
    let file = bench.file("late", &subject.echo)?;
    ensure!(bench.worker.load(session, &file).await.is_err(), "a dead worker loads");
    let job = bench.job(session, &[]);
    let started = bench.worker.lanes()[0].start(&job);
    ensure!(started.is_err(), "a dead worker's lane takes a request");
    Ok(())
}

pub(super) async fn a_dropped_worker_leaves_no_process(subject: &Subject) -> CaseResult {
    let mut bench = Bench::start(subject, 1).await?;
    bench.start_slow(0).await?;
    let Bench { worker, mut readers, .. } = bench;
    let pid = worker.pid();
    drop(worker);
    match readers[0].next().await {
        Err(LaneError::Gone) => {}
        other => return Err(format!("the lane says {other:?}").into()),
    }
    // The lane closes when the process ends; it is reaped by a task of its own a moment later.
    while exists(pid) {
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn a_worker_without_a_daemon_leaves(subject: &Subject) -> CaseResult {
    for greeted in [false, true] {
        let mut worker = BareWorker::start(subject)?;
        if greeted {
            let version = edgemux_runtime_api::protocol::VERSION;
            worker.send(&Command::Hello { version, device: subject.device.clone() })?;
            let reply = worker.receive()?;
            ensure!(matches!(reply, Some(Reply::Hello { .. })), "it answered {reply:?}");
        }
        worker.socket = None;
        let status = worker.left().await?;
        ensure!(status.success(), "greeted = {greeted}: it left with {status}");
    }
    Ok(())
}
