//! Those who do nothing wrong while another model does: what they see of it.

use std::time::Duration;

use edgemux_proto::inference::ModelInferRequest;
use tonic::Code;

use crate::{Daemon, Load, Outcome, is_quiet, latency};

/// Requests that each has answered before anything goes wrong, and once it is over.
const BEFORE: usize = 100;
const AFTER: usize = 50;

/// Two clients that ask without pause: of a model *apart*, on a device of its own, and of one *beside* the bad one, in the same
/// worker.
#[derive(Debug)]
pub struct Bystanders {
    apart: Load,
    beside: Load,
}

impl Bystanders {
    /// Starts them, and returns once both are answered.
    pub async fn start(daemon: &Daemon, apart: &ModelInferRequest, beside: &ModelInferRequest) -> Self {
        let (apart, beside) = (Load::start(daemon, apart, 1).await, Load::start(daemon, beside, 1).await);
        apart.until_succeeded(BEFORE).await;
        beside.until_succeeded(BEFORE).await;
        Self { apart, beside }
    }

    /// Waits until both are answered again, prints what they saw of `what`, and asserts that the one apart saw no failure.
    /// Returns what became of those of the one beside that failed.
    pub async fn end(self, what: &str) -> Vec<Outcome> {
        self.apart.until_succeeded(AFTER).await;
        self.beside.until_succeeded(AFTER).await;
        let failed = seen(what, "apart", self.apart.stop().await);
        assert!(failed.is_empty(), "{failed:?}");
        seen(what, "beside", self.beside.stop().await)
    }
}

fn seen(what: &str, who: &str, mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let all = outcomes.len();
    // The few that wait for another worker are beyond p99.
    let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|quantile| latency(&outcomes, quantile));
    outcomes.retain(|outcome| outcome.code != Code::Ok);
    println!(
        "{what}: {who}: {all} requests, {} failed, p50 {p50:?}, p99 {p99:?}, longest {longest:?}",
        outcomes.len()
    );
    assert!(p99 < Duration::from_millis(if is_quiet() { 100 } else { 20_000 }), "{who}: {p99:?}");
    outcomes
}
