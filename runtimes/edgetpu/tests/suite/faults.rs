//! Delegates that claim nothing, fail, hang and crash: what the daemon's end of the worker sees of them.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use edgemux_runtime_api::client::{LaneError, LoadFailure};
use edgemux_runtime_api::error::{LoadError, RunError};

use crate::bench::Bench;

async fn refused(bench: &mut Bench, model: &str) -> String {
    match bench.load(model).await {
        Err(LoadFailure::Refused(LoadError::Invalid { reason, .. })) => reason,
        other => panic!("{model}: {other:?}"),
    }
}

#[tokio::test]
async fn a_model_that_is_not_compiled_is_refused_not_run_on_the_processor() {
    let mut bench = Bench::spawn("").await.unwrap();
    let reason = refused(&mut bench, "processor_only").await;
    assert!(
        reason.contains("compile it with edgetpu_compiler") && reason.contains("runtime tflite"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_delegate_that_claims_nothing_is_a_refusal_of_the_model() {
    let mut bench = Bench::spawn(r#""delegate-options": {"fault": "claims-nothing"}"#).await.unwrap();
    for _ in 0..2 {
        let reason = refused(&mut bench, "alone").await;
        assert!(reason.contains("took none of its edgetpu-custom-op"), "{reason}");
    }
    bench.worker.ping(1).await.unwrap();
}

#[tokio::test]
async fn a_run_that_fails_fails_its_request_and_no_other() {
    let mut bench = Bench::spawn("").await.unwrap();
    let (fails, _) = bench.load("fail").await.unwrap();
    let (echo, _) = bench.load("alone").await.unwrap();
    for _ in 0..3 {
        let outcome = bench.run(fails, &[1.0]).await.unwrap();
        assert!(
            matches!(&outcome, Err(RunError::Failed(said)) if said.contains("worker's log")),
            "{outcome:?}"
        );
        bench.echoed(fails, &[0.0]).await;
        bench.echoed(echo, &[3.0]).await;
    }
}

#[tokio::test]
async fn a_device_that_is_gone_after_a_failure_is_told_as_lost() {
    let plug = tempfile::NamedTempFile::new().unwrap();
    let fault = format!("gone:{}", plug.path().display());
    let mut bench = Bench::spawn(&format!(r#""delegate-options": {{"fault": "{fault}"}}"#)).await.unwrap();
    let (fails, _) = bench.load("fail").await.unwrap();
    assert!(matches!(bench.run(fails, &[1.0]).await.unwrap(), Err(RunError::Failed(_))));
    bench.echoed(fails, &[0.0]).await;
    assert!(matches!(bench.run(fails, &[1.0]).await.unwrap(), Err(RunError::Failed(_))));
    drop(plug);
    let outcome = bench.run(fails, &[0.0]).await.unwrap();
    assert!(
        matches!(&outcome, Err(RunError::DeviceLost(said)) if said.contains("plugged in")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_crash_in_a_run_is_the_workers_end_and_the_daemon_is_told_by_what() {
    let mut bench = Bench::spawn("").await.unwrap();
    let (session, _) = bench.load("crash").await.unwrap();
    bench.echoed(session, &[0.0]).await;
    assert!(matches!(bench.run(session, &[1.0]).await, Err(LaneError::Gone)));
    let death = bench.worker.dead().await;
    assert!(!death.from_outside());
    assert_eq!(death.status.and_then(|status| status.signal()), Some(11), "{death}");
}

#[tokio::test]
async fn a_run_that_hangs_leaves_the_worker_answering_until_it_is_killed() {
    let mut bench = Bench::spawn("").await.unwrap();
    let (session, _) = bench.load("hang").await.unwrap();
    bench.echoed(session, &[0.0]).await;
    let hung = tokio::time::timeout(Duration::from_millis(200), bench.run(session, &[1.0])).await;
    assert!(hung.is_err(), "{:?}", hung.map(|outcome| outcome.map(|_| ())));
    bench.worker.ping(1).await.unwrap();
    // What the daemon's watchdog does.
    bench.worker.kill();
    assert!(bench.worker.dead().await.from_outside());
}
