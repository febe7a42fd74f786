//! The plain HTTP side: the status page on `/`, `/status.json`, `/healthz` and `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics;
use crate::node::Node;
use crate::status;

/// The routes, over a node.
pub fn routes(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", get(status::page))
        .route("/status.json", get(status::json))
        .route("/healthz", get(health))
        .route("/metrics", get(exposition))
        .with_state(node)
}

async fn health(Shared(node): Shared<Arc<Node>>) -> (StatusCode, &'static str) {
    if node.is_started() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }
}

async fn exposition(Shared(node): Shared<Arc<Node>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::exposition(&node))
}
