//! The plain HTTP side: `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::daemons::Daemons;
use crate::run::Shown;

/// The routes, over a controller.
pub fn routes<D: Daemons>(shown: Shown<D>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready::<D>))
        .route("/metrics", get(exposition::<D>))
        .with_state(Arc::new(shown))
}

async fn ready<D: Daemons>(State(shown): State<Arc<Shown<D>>>) -> (StatusCode, &'static str) {
    match shown.is_ready().await {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "sessions and nodes are not all known yet\n"),
    }
}

async fn exposition<D: Daemons>(State(shown): State<Arc<Shown<D>>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shown.exposition())
}
