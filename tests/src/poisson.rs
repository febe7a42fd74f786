//! Open-loop clients: requests that arrive when they arrive, however long answers take.

use std::time::{Duration, Instant};

use edgemux_proto::inference::ModelInferRequest;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tonic::Code;

use crate::Client;

/// Poisson arrivals of one request, again and again.
#[derive(Clone, Debug)]
pub struct Poisson {
    /// The request.
    pub request: ModelInferRequest,
    /// Requests per second.
    pub rate_hz: f64,
    /// How many.
    pub count: usize,
    /// Of the arrivals.
    pub seed: u64,
}

/// What open-loop clients saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Latencies of those that were answered, s, in the order of their answers.
    pub latencies: Vec<f64>,
    /// How many were refused for now.
    pub refused: usize,
    /// What else went wrong.
    pub failed: Vec<String>,
}

impl Poisson {
    /// All that arrive within `seconds`.
    pub fn during(seconds: f64, request: ModelInferRequest, rate_hz: f64, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let arrivals = std::iter::repeat_with(|| gap(&mut rng, rate_hz)).scan(0.0, |due, gap| {
            *due += gap;
            Some(*due)
        });
        let count = arrivals.take_while(|&due| due <= seconds).count();
        Self { request, rate_hz, count, seed }
    }

    /// Sends all of them over `client` and waits for every answer.
    ///
    /// A thread of its own keeps the time: the runtime's timers go by whole milliseconds, and that would be seen.
    pub async fn run(self, client: Client) -> Seen {
        let runtime = tokio::runtime::Handle::current();
        let Self { request, rate_hz, count, seed } = self;
        let (sender, mut answers) = mpsc::channel(count.max(1));
        let arrivals = std::thread::spawn(move || {
            let (mut rng, mut due) = (SmallRng::seed_from_u64(seed), Instant::now());
            for _ in 0..count {
                due += Duration::from_secs_f64(gap(&mut rng, rate_hz));
                wait_until(due);
                let (client, request, sender) = (client.clone(), request.clone(), sender.clone());
                let sent = Instant::now();
                runtime.spawn(async move {
                    let answer = client.infer(request).await;
                    // Nobody listens any more once the test has failed.
                    let _ = sender.try_send((sent.elapsed(), answer.err()));
                });
            }
        });
        let mut seen = Seen::default();
        while let Some((took, problem)) = answers.recv().await {
            match problem {
                None => seen.latencies.push(took.as_secs_f64()),
                Some(status) if status.code() == Code::ResourceExhausted => seen.refused += 1,
                Some(status) => seen.failed.push(format!("{status:?}")),
            }
        }
        arrivals.join().expect("arrivals");
        seen
    }
}

/// Until the next arrival, s.
fn gap(rng: &mut SmallRng, rate_hz: f64) -> f64 {
    -(1.0 - rng.random::<f64>()).ln() / rate_hz
}

#[expect(clippy::disallowed_methods, reason = "arrivals are the clock's: there is no event to wait for")]
fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

impl Seen {
    /// A quantile of the latencies, s.
    pub fn quantile(&self, quantile: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (quantile * sorted.len() as f64).ceil() as usize;
        sorted[at.clamp(1, sorted.len()) - 1]
    }

    /// Half the width of a 95 % confidence interval of a quantile, s: by order statistics, as if latencies were
    /// independent, which makes it too narrow under load.
    pub fn error(&self, quantile: f64) -> f64 {
        let n = self.latencies.len() as f64;
        let spread = 1.96 * (quantile * (1.0 - quantile) / n).sqrt();
        (self.quantile((quantile + spread).min(1.0)) - self.quantile((quantile - spread).max(0.0))) / 2.0
    }

    /// Their mean, s.
    pub fn mean(&self) -> f64 {
        self.latencies.iter().sum::<f64>() / self.latencies.len() as f64
    }

    /// How many took longer than this, s.
    pub fn longer_than(&self, seconds: f64) -> usize {
        self.latencies.iter().filter(|&&latency| latency > seconds).count()
    }
}
