//! Many requests on one `ModelStreamInfer`: answers are matched to requests by their id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edgemux_proto::inference::infer_parameter::ParameterChoice;
use edgemux_proto::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::sender::Failure;
use crate::client::Client;

/// With this set, a model of several answers marks the last one, be it empty.
const ASK_FINAL: &str = "triton_enable_empty_final_response";
/// Marks the last answer to a request.
const FINAL: &str = "triton_final_response";

/// Tells one request's sender how it ended.
type Waiter = oneshot::Sender<Result<(), Failure>>;
/// The requests under way by their id, or why there will be no more answers.
type State = Result<HashMap<String, Waiter>, Failure>;

/// The requests that wait for their end.
#[derive(Debug)]
struct Waiting {
    state: Mutex<State>,
}

/// One stream, shared by its clones; it is closed when the last is dropped.
#[derive(Debug, Clone)]
pub(crate) struct StreamSender {
    to_server: mpsc::Sender<ModelInferRequest>,
    waiting: Arc<Waiting>,
    next_id: Arc<AtomicU64>,
    timeout: Duration,
}

// === impl StreamSender ===

impl StreamSender {
    /// A server may open its side only with the first answer, so that nothing is waited for here.
    pub(super) fn open(client: &Client, timeout: Duration, outstanding: usize) -> Self {
        let (to_server, requests) = mpsc::channel(outstanding);
        let waiting = Arc::new(Waiting { state: Mutex::new(Ok(HashMap::new())) });
        let (client, told) = (client.clone(), Arc::clone(&waiting));
        tokio::spawn(async move {
            match client.inference().model_stream_infer(ReceiverStream::new(requests)).await {
                Ok(opened) => read(opened.into_inner(), &told).await,
                Err(status) => told.end(Failure::from(&status)),
            }
        });
        Self { to_server, waiting, next_id: Arc::new(AtomicU64::new(0)), timeout }
    }

    pub(super) async fn send(&self, mut request: ModelInferRequest) -> Result<(), Failure> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        request.id.clone_from(&id);
        let on = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        request.parameters.insert(ASK_FINAL.to_owned(), on);

        let (ended, end) = oneshot::channel();
        self.waiting.add(id.clone(), ended)?;
        let answered = async {
            if self.to_server.send(request).await.is_err() {
                // The reader learns why, and tells everyone who waits.
                self.waiting.end(Failure::new("UNAVAILABLE", "the stream was closed"));
            }
            end.await.unwrap_or_else(|_| Err(Failure::new("UNAVAILABLE", "the stream was closed")))
        };
        tokio::time::timeout(self.timeout, answered).await.unwrap_or_else(|_| {
            self.waiting.remove(&id);
            Err(Failure::timed_out(self.timeout))
        })
    }
}

// === impl Waiting ===

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: String, ended: Waiter) -> Result<(), Failure> {
        match &mut *self.lock() {
            Ok(requests) => {
                requests.insert(id, ended);
                Ok(())
            }
            Err(failure) => Err(failure.clone()),
        }
    }

    fn remove(&self, id: &str) -> Option<Waiter> {
        self.lock().as_mut().ok()?.remove(id)
    }

    fn finish(&self, id: &str, ended: Result<(), Failure>) {
        if let Some(waiter) = self.remove(id) {
            // A waiter that gave up no longer listens.
            let _ = waiter.send(ended);
        }
    }

    /// Fails every request under way and every later one; the first cause given stays.
    fn end(&self, failure: Failure) {
        let mut state = self.lock();
        if let Ok(requests) = &mut *state {
            for (_, waiter) in requests.drain() {
                let _ = waiter.send(Err(failure.clone()));
            }
            *state = Err(failure);
        }
    }
}

/// Reads answers until the stream ends.
async fn read(mut answers: Streaming<ModelStreamInferResponse>, waiting: &Waiting) {
    let ended = loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                let response = answer.infer_response.unwrap_or_default();
                if !answer.error_message.is_empty() {
                    waiting.finish(&response.id, Err(Failure::new("IN_STREAM", &answer.error_message)));
                } else if is_final(&response) {
                    waiting.finish(&response.id, Ok(()));
                }
            }
            Ok(None) => break Failure::new("UNAVAILABLE", "the server closed the stream"),
            Err(status) => break Failure::from(&status),
        }
    };
    waiting.end(ended);
}

/// Whether this is the last answer to its request. A server that does not mark it gives one answer to each.
fn is_final(response: &ModelInferResponse) -> bool {
    match response.parameters.get(FINAL).and_then(|parameter| parameter.parameter_choice.as_ref()) {
        Some(ParameterChoice::BoolParam(last)) => *last,
        _ => true,
    }
}
