//! Clients that ask again as soon as they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use edgemux_proto::inference::ModelInferRequest;
use tokio::task::JoinSet;
use tonic::Code;

use crate::{Client, Daemon, PATIENCE, eventually};

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When it was sent.
    pub sent: Instant,
    /// When it was answered.
    pub answered: Instant,
    /// With what.
    pub code: Code,
    /// And in which words, if it is an error.
    pub message: String,
}

/// Some clients, each on a connection of its own with one request under way.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    succeeded: Arc<AtomicUsize>,
    clients: JoinSet<Vec<Outcome>>,
}

impl Load {
    /// Starts them.
    pub async fn start(daemon: &Daemon, request: &ModelInferRequest, clients: usize) -> Self {
        let mut connected = Vec::with_capacity(clients);
        for _ in 0..clients {
            connected.push(daemon.client().await);
        }
        Self::over(connected, request)
    }

    /// Starts them over these connections.
    pub fn over(clients: Vec<Client>, request: &ModelInferRequest) -> Self {
        let (stop, succeeded) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut load = Self { stop, succeeded, clients: JoinSet::new() };
        for client in clients {
            let (stop, succeeded) = (Arc::clone(&load.stop), Arc::clone(&load.succeeded));
            load.clients.spawn(ask(client, request.clone(), stop, succeeded));
        }
        load
    }

    /// How many requests have succeeded so far.
    pub fn succeeded(&self) -> usize {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// Waits until so many more have succeeded.
    pub async fn until_succeeded(&self, more: usize) {
        let enough = self.succeeded() + more;
        let what = format!("{more} more requests have succeeded");
        eventually(&what, PATIENCE, async || (self.succeeded() >= enough).then_some(())).await;
    }

    /// Lets every request under way finish and returns what became of all.
    pub async fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until the daemon has gone away under every client.
    pub async fn ended(self) -> Vec<Outcome> {
        let outcomes = tokio::time::timeout(PATIENCE, self.clients.join_all()).await;
        outcomes.expect("a request is never answered").concat()
    }
}

/// A quantile of the time that requests took which succeeded; zero if none did.
pub fn latency(outcomes: &[Outcome], quantile: f64) -> Duration {
    let succeeded = outcomes.iter().filter(|outcome| outcome.code == Code::Ok);
    let mut took: Vec<_> = succeeded.map(|outcome| outcome.answered - outcome.sent).collect();
    took.sort_unstable();
    let at = (took.len() as f64 * quantile) as usize;
    took.get(at.min(took.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Ends when told to, or when the daemon takes no more connections.
async fn ask(
    client: Client,
    request: ModelInferRequest,
    stop: Arc<AtomicBool>,
    succeeded: Arc<AtomicUsize>,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let (code, message) = match client.infer(request.clone()).await {
            Ok(_) => (Code::Ok, String::new()),
            Err(status) => (status.code(), format!("{status:?}")),
        };
        let answered = Instant::now();
        let gone = message.contains("ConnectionRefused");
        if code == Code::Ok {
            succeeded.fetch_add(1, Ordering::Relaxed);
        }
        outcomes.push(Outcome { sent, answered, code, message });
        if gone {
            break;
        }
        if code != Code::Ok {
            // As a real client would: an error at once must not become a storm of requests.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    outcomes
}
