//! `grpc.health.v1`, whose watches end when the daemon drains: they would keep it from its end.

use futures_util::future::ready;
use futures_util::stream::{StreamExt, once};
use tokio::sync::watch;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};
use tonic_health::server::{HealthReporter, HealthService};

/// The health service, over a reporter's statuses.
pub(super) struct Health {
    service: HealthService,
    draining: watch::Receiver<bool>,
}

impl Health {
    /// Whoever makes `draining` true must then report every status as not serving: watches see that, and end.
    pub(super) fn new(reporter: &HealthReporter, draining: watch::Receiver<bool>) -> Self {
        Self { service: HealthService::from_health_reporter(reporter.clone()), draining }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.service.check(request).await
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let draining = self.draining.clone();
        let changes = self.service.watch(request).await?.into_inner();
        let until_drained = changes.take_while(move |_| ready(!*draining.borrow()));
        let last = HealthCheckResponse { status: ServingStatus::NotServing.into() };
        Ok(Response::new(Box::pin(until_drained.chain(once(ready(Ok(last)))))))
    }
}
