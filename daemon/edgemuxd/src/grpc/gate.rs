//! Every call's way in: it is found out who calls, and what only operators may call is kept from others.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Request, Status};
use tower_layer::Layer;

use crate::access::Caller;
use crate::connection::Peer;
use crate::node::Node;

/// What changes or tells of the whole node.
const OPERATORS_ONLY: [&str; 6] = [
    "/edgemux.v1.Devices/SetMultiplexing",
    "/edgemux.v1.Devices/Fence",
    "/edgemux.v1.Devices/Unfence",
    "/edgemux.v1.Calibration/Export",
    "/edgemux.v1.Calibration/Import",
    "/edgemux.v1.Calibration/List",
];

/// What probes ask that know no secrets, and what tells none.
const FOR_ANYBODY: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
];

/// Puts a [`Caller`] with every call, or answers it.
#[derive(Clone, Debug)]
pub(super) struct Gate(pub(super) Arc<Node>);

/// The services behind it.
#[derive(Clone, Debug)]
pub(super) struct Gated<S> {
    node: Arc<Node>,
    services: S,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, services: S) -> Gated<S> {
        Gated { node: Arc::clone(&self.0), services }
    }
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match identified(&self.node, &request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.services.call(request))
            }
            Err(refused) => Either::Right(ready(Ok(refused.into_http()))),
        }
    }
}

fn identified(node: &Node, request: &http::Request<Body>) -> Result<Caller, Status> {
    let path = request.uri().path();
    let authorization = request.headers().get(http::header::AUTHORIZATION);
    // What is no text is nobody's token.
    let authorization = authorization.map(|value| value.to_str().unwrap_or("Bearer"));
    let unknown = Peer::default();
    let peer = request.extensions().get::<Peer>().unwrap_or(&unknown);
    match node.access().caller(peer, authorization) {
        Ok(caller) if !caller.is_admin() && OPERATORS_ONLY.contains(&path) => {
            let tenant = caller.tenant().unwrap_or_default();
            Err(Status::permission_denied(format!("tenant '{tenant}' is no admin, and this is for admins")))
        }
        Ok(caller) => Ok(caller),
        Err(_) if FOR_ANYBODY.contains(&path) => Ok(Caller::nobody()),
        Err(unknown) => Err(Status::unauthenticated(unknown.to_string())),
    }
}

/// Who calls. Nothing comes past the gate without one.
pub(super) fn caller(extensions: &http::Extensions) -> Result<&Caller, Status> {
    extensions.get().ok_or_else(|| Status::internal("a call came past the gate"))
}

/// Who calls, and what they ask.
pub(super) fn known<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let (_, extensions, asked) = request.into_parts();
    Ok((caller(&extensions)?.clone(), asked))
}
