//! What the publisher counts, and whether it is well.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

use crate::board::{Action, Outcome};

/// One that has not turned for so long hangs.
const TURN_S_MAX: u64 = 120;
const WRITES: [&str; 3] = ["node", "status", "lease"];

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    reached: AtomicBool,
    looks: [AtomicU64; 2],
    writes: [[AtomicU64; 2]; 3],
    turned_s: AtomicU64,
    renewed_s: AtomicU64,
    lease_s: AtomicU64,
}

// === impl Metrics ===

impl Metrics {
    /// Renewed Leases hold so long.
    #[must_use]
    pub fn new(lease_s: u64) -> Self {
        Self { lease_s: lease_s.into(), turned_s: now_s().into(), ..Self::default() }
    }

    /// The daemon was looked at.
    pub fn looked(&self, well: bool) {
        self.turned_s.store(now_s(), Ordering::Relaxed);
        self.reached.store(well, Ordering::Relaxed);
        self.looks[usize::from(!well)].fetch_add(1, Ordering::Relaxed);
    }

    /// Something was written, or not.
    pub fn wrote(&self, action: &Action, outcome: &Outcome) {
        let (what, well) = (
            match action {
                Action::Declare => 0,
                Action::Tell(_) => 1,
                Action::Renew => 2,
            },
            matches!(outcome, Outcome::Done(_)),
        );
        self.writes[what][usize::from(!well)].fetch_add(1, Ordering::Relaxed);
        if what == 2 && well {
            self.renewed_s.store(now_s(), Ordering::Relaxed);
        }
    }

    /// In Prometheus' text format.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "edgemux_publisher_daemon_reached";
        head(&mut text, name, "gauge", "1 while the daemon answers");
        let _ = writeln!(text, "{name} {}", u8::from(self.reached.load(Ordering::Relaxed)));
        let name = "edgemux_publisher_looks_total";
        head(&mut text, name, "counter", "Looks at the daemon");
        for (count, outcome) in self.looks.iter().zip(["ok", "failed"]) {
            let _ = writeln!(text, "{name}{{outcome=\"{outcome}\"}} {}", count.load(Ordering::Relaxed));
        }
        let name = "edgemux_publisher_writes_total";
        head(&mut text, name, "counter", "Writes to the API server");
        for (counts, object) in self.writes.iter().zip(WRITES) {
            for (count, outcome) in counts.iter().zip(["ok", "failed"]) {
                let count = count.load(Ordering::Relaxed);
                let _ = writeln!(text, "{name}{{object=\"{object}\",outcome=\"{outcome}\"}} {count}");
            }
        }
        let name = "edgemux_publisher_lease_renewed_timestamp_seconds";
        head(&mut text, name, "gauge", "When the Lease was renewed last; 0 before the first time");
        let _ = writeln!(text, "{name} {}", self.renewed_s.load(Ordering::Relaxed));
        text
    }

    /// Whether it still looks at its daemon.
    fn is_alive(&self) -> bool {
        now_s().saturating_sub(self.turned_s.load(Ordering::Relaxed)) <= TURN_S_MAX
    }

    /// Whether the cluster takes the node to be there.
    fn is_ready(&self) -> bool {
        let since = now_s().saturating_sub(self.renewed_s.load(Ordering::Relaxed));
        since <= self.lease_s.load(Ordering::Relaxed)
    }
}

/// `/metrics`, `/healthz` and `/readyz`.
pub fn routes(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(exposition))
        .route("/healthz", get(async |State(metrics): State<Arc<Metrics>>| said(metrics.is_alive())))
        .route("/readyz", get(async |State(metrics): State<Arc<Metrics>>| said(metrics.is_ready())))
        .with_state(metrics)
}

async fn exposition(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.exposition())
}

fn said(well: bool) -> (StatusCode, &'static str) {
    if well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not well\n") }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_by_what_was_written_and_how_it_went() {
        let metrics = Metrics::new(20);
        assert!(metrics.is_alive() && !metrics.is_ready());
        metrics.looked(true);
        metrics.wrote(&Action::Renew, &Outcome::Done(None));
        metrics.wrote(&Action::Declare, &Outcome::Failed);
        assert!(metrics.is_ready());
        let text = metrics.exposition();
        for line in [
            "edgemux_publisher_daemon_reached 1",
            "edgemux_publisher_looks_total{outcome=\"ok\"} 1",
            "edgemux_publisher_writes_total{object=\"lease\",outcome=\"ok\"} 1",
            "edgemux_publisher_writes_total{object=\"node\",outcome=\"failed\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }
}
