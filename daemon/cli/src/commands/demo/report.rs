//! The demo's result.

use serde::Serialize;

use crate::format;
use crate::generator::LoadResult;
use crate::output::Report;

/// A demo's figures.
#[derive(Debug, Serialize)]
pub(super) struct Demo {
    seconds: f64,
    seed: u64,
    /// The part of the time for which all sessions together kept the device busy.
    utilisation: Option<f64>,
    sessions: Vec<LoadResult>,
}

// === impl Demo ===

impl Demo {
    pub(super) fn new(seconds: f64, seed: u64, sessions: Vec<LoadResult>) -> Self {
        let utilisation = sessions.iter().map(|session| session.utilisation).sum();
        Self { seconds, seed, utilisation, sessions }
    }

    /// Whether every session answered, and none with an error.
    pub(super) fn complete(&self) -> bool {
        self.sessions.iter().all(|session| session.failed == 0 && session.succeeded > 0)
    }
}

// === impl Report for Demo ===

impl Report for Demo {
    fn text(&self) -> String {
        let utilisation = self.utilisation.map_or_else(|| "-".to_owned(), format::percent);
        format!(
            "\n{}\nThe device was busy for {utilisation} of the time. Latencies are those of clients over gRPC, from the \
             moment each request was due;\nqueue and service are the server's own.\n",
            LoadResult::table(&self.sessions)
        )
    }
}
