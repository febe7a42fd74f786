//! `ModelStreamInfer`: many requests on one stream, each answered when it completes, errors in the stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use edgemux_proto::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream};
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

use super::drained;
use super::infer::{self, Underway, Way, boolean};
use crate::access::Caller;
use crate::node::Node;
use crate::traces::Traces;

/// One request's next response, with the request if there may be more.
type Step = (Option<Underway>, Option<Result<ModelInferResponse, Status>>, String);

/// The responses of one stream. It is polled by the transport and owns everything the stream needs: a client that goes
/// away drops it, and with it every request under way.
pub(super) struct Responses {
    node: Arc<Node>,
    of: Of,
    requests: Option<Streaming<ModelInferRequest>>,
    underway: FuturesUnordered<BoxFuture<'static, Step>>,
    limit: usize,
    draining: BoxFuture<'static, ()>,
}

/// Whose a stream is, and what goes for all of its requests.
#[derive(Debug)]
pub(super) struct Of {
    pub caller: Caller,
    pub metadata: MetadataMap,
    pub traces: Option<Arc<Traces>>,
}

/// Serves a stream until the client ends it or the daemon drains.
pub(super) fn serve(
    node: Arc<Node>,
    of: Of,
    requests: Streaming<ModelInferRequest>,
    draining: watch::Receiver<bool>,
) -> Responses {
    let limit = node.config().limits.requests_per_stream;
    Responses {
        node,
        of,
        requests: Some(requests),
        underway: FuturesUnordered::new(),
        limit,
        draining: Box::pin(drained(draining)),
    }
}

impl Responses {
    fn take(&mut self, request: ModelInferRequest) -> Option<ModelStreamInferResponse> {
        let id = request.id.clone();
        let Of { caller, metadata, traces } = &self.of;
        let traced = traces.as_ref().and_then(|traces| traces.begin(metadata, caller.tenant()));
        let way = Way { caller, deadline: None, streaming: true, traced };
        match infer::start(&self.node, request, way) {
            Ok(underway) => {
                self.underway.push(Box::pin(step(underway)));
                None
            }
            Err(status) => Some(refused(id, &status)),
        }
    }

    /// Takes what has come, as many as may be under way; one that is refused at once is the answer.
    fn poll_requests(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<Result<ModelStreamInferResponse, Status>> {
        if self.draining.as_mut().poll(context).is_ready() {
            self.requests = None;
            self.draining = Box::pin(std::future::pending());
        }
        while self.underway.len() < self.limit {
            let requests = self.requests.as_mut()?;
            match requests.poll_next_unpin(context) {
                Poll::Pending => return None,
                Poll::Ready(None) => self.requests = None,
                Poll::Ready(Some(Ok(request))) => {
                    if let Some(refused) = self.take(request) {
                        return Some(Ok(refused));
                    }
                }
                Poll::Ready(Some(Err(status))) => {
                    self.requests = None;
                    return Some(Err(status));
                }
            }
        }
        None
    }
}

impl Stream for Responses {
    type Item = Result<ModelStreamInferResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(answer) = self.poll_requests(context) {
                return Poll::Ready(Some(answer));
            }
            match self.underway.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) if self.requests.is_none() => return Poll::Ready(None),
                Poll::Ready(None) => return Poll::Pending,
                Poll::Ready(Some((underway, answer, id))) => {
                    if let Some(underway) = underway {
                        self.underway.push(Box::pin(step(underway)));
                    }
                    match answer {
                        None => {}
                        Some(Ok(mut response)) => {
                            // A request of a plain model has exactly one response, which is its last.
                            response
                                .parameters
                                .entry("triton_final_response".into())
                                .or_insert_with(|| boolean(true));
                            return Poll::Ready(Some(Ok(ModelStreamInferResponse {
                                error_message: String::new(),
                                infer_response: Some(response),
                            })));
                        }
                        Some(Err(status)) => return Poll::Ready(Some(Ok(refused(id, &status)))),
                    }
                }
            }
        }
    }
}

async fn step(mut underway: Underway) -> Step {
    let id = underway.id().to_owned();
    match underway.next().await {
        Some(Ok(response)) => (Some(underway), Some(Ok(response)), id),
        Some(Err(status)) => (None, Some(Err(status)), id),
        None => (None, None, id),
    }
}

fn refused(id: String, status: &Status) -> ModelStreamInferResponse {
    ModelStreamInferResponse {
        error_message: status.message().to_owned(),
        infer_response: Some(ModelInferResponse { id, ..Default::default() }),
    }
}
