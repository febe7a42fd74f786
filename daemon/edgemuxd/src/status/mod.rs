//! The status page on `/`: what the node is doing, and has been doing over the last minutes.
//!
//! [`history`] keeps a few numbers of each device and session every some seconds, [`journal`] what happened in words, each of
//! bounded length; [`document`] puts both and what is so now into one JSON document, which the page asks for again and again.

mod document;
mod history;
mod journal;

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

pub(crate) use self::history::History;
pub(crate) use self::journal::{Journal, Kind};
use crate::node::Node;

const PAGE: &str = include_str!("page.html");
/// The page is one file, asks nobody else for anything, and is put into nobody else's.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How often it is looked what has changed.
const LOOK: Duration = Duration::from_secs(1);

/// `GET /`.
pub(crate) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE)
}

/// `GET /status.json`.
pub(crate) async fn json(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    // Strings and numbers, which always can be written.
    (headers, serde_json::to_vec(&document::of(&node)).unwrap_or_default())
}

/// Looks at the node until it is gone.
pub(crate) async fn watch(node: Weak<Node>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut changes, mut windows) = (journal::Changes::default(), history::Windows::default());
    for tick in 0_u64.. {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        changes.look(&node);
        if tick.is_multiple_of(history::PERIOD.as_secs() / LOOK.as_secs()) {
            windows.look(&node);
        }
    }
}
