//! A load generator: sends prepared requests in open or closed loop and measures what becomes of them.
//!
//! In open loop, requests fall due on a schedule of their own, whatever the server does, and a latency counts from the
//! moment the request was *due*: when the server (or this command) lags, the wait is part of the latency. Otherwise a
//! stalled server would stall the measurement too, and hide its worst answers ("coordinated omission").
//!
//! In closed loop, each of so many clients sends its next request when its last is answered; a latency counts from the
//! sending.

mod arrivals;
mod closed;
mod open;
mod pacer;
mod progress;
mod recorder;
mod result;
mod sender;
mod server_times;
mod stop;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use edgemux_proto::inference::ModelInferRequest;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::error::Error;
use crate::model::ModelInfo;
use crate::rpc::RpcError;
use crate::tensor::{Shapes, random_request};

pub(crate) use arrivals::ArrivalKind;
pub(crate) use progress::{Meter, with_progress};
pub(crate) use recorder::Recorder;
pub(crate) use result::LoadResult;
pub(crate) use sender::Sender;
pub(crate) use server_times::server_times;
pub(crate) use stop::{EndSignals, Stop, Stopper, on_signal};

/// How many different requests are prepared for each model; they take turns.
const REQUESTS_PREPARED: usize = 4;
/// Preparing more than this would only fill memory.
const PREPARED_BYTES_MAX: usize = 64 << 20;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Demand {
    /// At a rate in requests per second, however long the answers take.
    Open { rate_hz: f64, arrivals: ArrivalKind },
    /// By so many clients, each of which waits for its answer.
    Closed { concurrency: usize },
}

/// What ends a run, and what it may not exceed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) requests: Option<u64>,
    pub(crate) duration: Option<Duration>,
    /// Requests under way at once in open loop; a request that falls due beyond it waits, and its latency runs.
    pub(crate) outstanding: usize,
}

/// One model under load.
pub(crate) struct Target {
    pub(crate) model: ModelInfo,
    pub(crate) demand: Demand,
    pub(crate) seed: u64,
    pub(crate) requests: Arc<[ModelInferRequest]>,
    pub(crate) sender: Sender,
    pub(crate) recorder: Arc<Recorder>,
}

// === impl Target ===

impl Target {
    pub(crate) fn new(
        model: ModelInfo,
        demand: Demand,
        shapes: &Shapes,
        seed: u64,
        sender: Sender,
    ) -> Result<Self, Error> {
        let requests = prepare(&model, shapes, seed)?.into();
        Ok(Self { model, demand, seed, requests, sender, recorder: Arc::new(Recorder::new()?) })
    }

    /// The request whose turn it is.
    fn request(&self, turn: u64) -> ModelInferRequest {
        self.requests[(turn % self.requests.len() as u64) as usize].clone()
    }

    /// Sends a few requests one by one, unmeasured; the first that fails ends it.
    pub(crate) async fn warm_up(&self, requests: u64) -> Result<(), Error> {
        for turn in 0..requests {
            let failed = |failure: sender::Failure| {
                RpcError::new(format!("infer `{}`", self.model.name), &failure.into_status())
            };
            self.sender.send(self.request(turn)).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Sends until the limits end it or `stop` does, then waits for every answer.
    pub(crate) async fn run(&self, limits: Limits, stop: Stop) -> Result<LoadResult, Error> {
        let start = Instant::now();
        let sent = match self.demand {
            Demand::Open { rate_hz, arrivals } => {
                open::run(self, rate_hz, arrivals, limits, start, stop).await?
            }
            Demand::Closed { concurrency } => closed::run(self, concurrency, limits, start, stop).await,
        };
        Ok(LoadResult::new(self, limits, &sent, start))
    }
}

/// What a run sent.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// Requests sent.
    requests: u64,
    /// Requests that fell due but were never sent, because the limit of outstanding ones held them back to the end.
    skipped: u64,
    /// How often a request fell due while the limit was reached.
    limit_hits: u64,
    /// From the start to the end of the sending.
    sending: Duration,
}

fn prepare(model: &ModelInfo, shapes: &Shapes, seed: u64) -> Result<Vec<ModelInferRequest>, Error> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut requests = vec![random_request(model, shapes, &mut random)?];
    let bytes: usize = requests[0].raw_input_contents.iter().map(bytes::Bytes::len).sum();
    while requests.len() < REQUESTS_PREPARED && (requests.len() + 1) * bytes <= PREPARED_BYTES_MAX {
        requests.push(random_request(model, shapes, &mut random)?);
    }
    Ok(requests)
}
