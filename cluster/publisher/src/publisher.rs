//! The loop: look, decide, write, wait.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::args::Args;
use crate::backoff::Backoff;
use crate::board::{Action, Board, Outcome};
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::metrics::Metrics;

/// A daemon is looked at so often if it says nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// News that come in a row are one.
const BETWEEN_LOOKS_MIN: Duration = Duration::from_millis(100);
/// A publisher that is told to end has so long to say so.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// Publishes a node until it is told to end.
#[derive(Debug)]
pub struct Publisher {
    cluster: Cluster,
    daemon: Daemon,
    board: Board,
    metrics: Arc<Metrics>,
    /// Of looks that failed.
    backoff: Backoff,
    complaint: Option<String>,
}

// === impl Publisher ===

impl Publisher {
    /// Of the node that the arguments name.
    #[must_use]
    pub fn new(client: kube::Client, args: &Args, metrics: Arc<Metrics>) -> Self {
        Self {
            cluster: Cluster::new(client, args),
            daemon: Daemon::new(args.server.clone(), args.credentials.clone(), args.period()),
            board: Board::new(args.period()),
            metrics,
            backoff: Backoff::default(),
            complaint: None,
        }
    }

    /// Goes on until `stop` is over, then says that nobody publishes any more.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            never = self.publish() => match never {},
            () = stop => (),
        }
        info!("told to end");
        self.board.stopping(Timestamp::now());
        let farewell = async {
            loop {
                self.act().await;
                if self.board.is_told() {
                    break;
                }
                self.until(self.board.next_at(Instant::now())).await;
            }
        };
        if tokio::time::timeout(FAREWELL_MAX, farewell).await.is_err() {
            warn!("ended without the cluster having heard of it: the Lease runs out by itself");
        }
    }

    async fn publish(&mut self) -> std::convert::Infallible {
        loop {
            let looked = Instant::now();
            let look_at = looked + self.look().await;
            loop {
                self.act().await;
                let act_at = self.board.next_at(Instant::now());
                let at = act_at.map_or(look_at, |at| at.min(look_at));
                let news = async {
                    self.daemon.news().await;
                    tokio::time::sleep_until(looked + BETWEEN_LOOKS_MIN).await;
                };
                let is_news = tokio::select! {
                    () = tokio::time::sleep_until(at) => false,
                    // A daemon that is away has no news.
                    () = news, if self.board.is_reached() => true,
                };
                if is_news || Instant::now() >= look_at {
                    break;
                }
            }
        }
    }

    /// Looks at the daemon; when to look again at the latest.
    async fn look(&mut self) -> Duration {
        let seen = self.daemon.look().await;
        self.board.looked(Timestamp::now(), &seen);
        self.metrics.looked(seen.is_ok());
        match seen {
            Ok(seen) => {
                if self.complaint.take().is_some() || self.backoff.failures() > 0 {
                    info!(epoch = seen.epoch, "edgemuxd answers");
                }
                self.backoff.succeeded();
                LOOK_EVERY
            }
            Err(away) => {
                if self.complaint.as_ref() != Some(&away.message) {
                    warn!(reason = away.reason, "{}; going on looking", away.message);
                    self.complaint = Some(away.message);
                }
                self.backoff.failed(rand::random())
            }
        }
    }

    /// Does what is to be done now.
    async fn act(&mut self) {
        while let Some(action) = self.board.next(Instant::now()) {
            let outcome = self.cluster.perform(&action, Timestamp::now()).await;
            self.metrics.wrote(&action, &outcome);
            self.note(&action, &outcome);
            self.board.done(Instant::now(), &action, outcome, rand::random());
        }
    }

    fn note(&self, action: &Action, outcome: &Outcome) {
        match (action, outcome) {
            (Action::Declare, Outcome::Done(_)) => info!("the AcceleratorNode is there"),
            (Action::Tell(status), Outcome::Done(_)) => tracing::debug!(
                epoch = status.epoch,
                devices = status.accelerators.len(),
                sessions = status.sessions.len(),
                "told the cluster"
            ),
            _ => (),
        }
    }

    async fn until(&self, at: Option<Instant>) {
        match at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
