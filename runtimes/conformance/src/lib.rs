//! One suite that every runtime passes: through its traits in this process, and through a real worker process with the
//! daemon's own end of the protocol.
//!
//! A runtime describes itself as a [`Subject`]: data, not code. The suite has the cases; what a runtime cannot do is an
//! [`Exception`] with a reason, which is printed, never silent. A runtime's test is then
//!
//! ```text
//! edgemux_runtime_conformance::in_process::<MyRuntime>(&subject());
//! edgemux_runtime_conformance::as_worker(&subject());
//! ```

#![forbid(unsafe_code)]

/// Ends a case with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+).into());
        }
    };
}

mod bench;
mod cases;
mod direct;
mod subject;
mod system;

use std::time::{Duration, Instant};

pub use self::cases::CASES;
pub use self::direct::in_process;
pub use self::subject::{Answer, Exception, ModelCase, RunCase, Slow, Subject, Tensor};

/// Why a case failed.
type Fault = Box<dyn std::error::Error + Send + Sync>;
type CaseResult = Result<(), Fault>;

/// Longest any case may take: a worker that hangs fails its case, not the suite.
const CASE_PATIENCE: Duration = Duration::from_secs(60);

/// Runs every case against a worker process of the runtime.
///
/// # Panics
/// With the list of the cases that failed.
pub fn as_worker(subject: &Subject) {
    let mut failures = subject.unknown_exceptions();
    for case in CASES {
        if let Some(exception) = subject.exception(case.name) {
            println!("except {}: {}", case.name, exception.reason);
            continue;
        }
        let begun = Instant::now();
        match run(subject, case) {
            Ok(()) => println!("pass   {} ({} ms)", case.name, begun.elapsed().as_millis()),
            Err(fault) => {
                println!("FAIL   {}: {fault}", case.name);
                failures.push(format!("{}: {fault}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "runtime {} fails\n{}", subject.runtime, failures.join("\n"));
}

/// Each case has a tokio runtime of its own, so that nothing it leaves behind meets the next.
fn run(subject: &Subject, case: &cases::Case) -> CaseResult {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    tokio.block_on(async {
        match tokio::time::timeout(CASE_PATIENCE, (case.run)(subject)).await {
            Ok(result) => result,
            Err(_) => Err(format!("not over after {CASE_PATIENCE:?}").into()),
        }
    })
}
