//! `edgemux load-test`: drives models and measures what they deliver.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::{Context, Outcome, values};
use crate::client::Client;
use crate::error::Error;
use crate::generator::{
    ArrivalKind, Demand, Limits, LoadResult, Meter, Sender, Stopper, Target, on_signal, server_times,
    with_progress,
};
use crate::model::ModelInfo;
use crate::output::Report;
use crate::tensor::{named_shape, shapes_of};

const SECONDS: f64 = 10.0;

const NOTES: &str = "\
Examples:
  edgemux load-test mobilenet_v2 --concurrency 4 --seconds 30
  edgemux load-test mobilenet_v2 --rate-hz 40 --arrivals periodic
  edgemux load-test --model mobilenet_v2=20 --model keywords=200 --seconds 60 --json

With a rate, requests fall due on a schedule of their own, whatever the server does (open loop), and a latency
counts from the moment the request was due, not from when it left: a server that stalls shows all of the wait
that it caused (no coordinated omission). Requests that fall due while --max-outstanding are under way leave late,
and the result says how many. With --concurrency, each client sends when its last request is answered.

Exit code 1 if not one request succeeded, or if the run was interrupted.";

/// Send many requests and measure throughput and latency
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// The model's name
    #[arg(required_unless_present = "model", conflicts_with = "model")]
    name: Option<String>,
    /// A model and its rate; repeat it to drive several at once
    #[arg(long, value_name = "NAME=RATE", value_parser = values::model_rate, conflicts_with_all = ["rate_hz", "concurrency"])]
    model: Vec<(String, f64)>,
    /// Requests per second, in open loop
    #[arg(long, value_name = "R", value_parser = values::positive, conflicts_with = "concurrency")]
    rate_hz: Option<f64>,
    /// Clients that each wait for their answer, in closed loop [default: 1]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// How the gaps between requests are distributed, in open loop
    #[arg(long, value_enum, default_value_t = ArrivalKind::Poisson)]
    arrivals: ArrivalKind,
    /// End after so many requests to each model
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "seconds")]
    requests: Option<u64>,
    /// End after so many seconds [default: 10]
    #[arg(long, value_name = "S", value_parser = values::seconds)]
    seconds: Option<f64>,
    /// Send all requests to a model on one stream (ModelStreamInfer)
    #[arg(long)]
    streaming: bool,
    /// The version to ask [default: the one that is served]
    #[arg(long, conflicts_with = "model")]
    version: Option<String>,
    /// An input's shape, for its free dimensions [default: 1 for each]; may be repeated
    #[arg(long, value_name = "NAME=1,3,224,224", value_parser = named_shape, conflicts_with = "model")]
    shape: Vec<(String, Vec<i64>)>,
    /// The seed of tensors and arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Unmeasured requests to each model before the run
    #[arg(long, value_name = "N", default_value_t = 3)]
    warm_up: u64,
    /// How long to wait for each answer
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
    /// Requests to each model under way at once, in open loop
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_outstanding: u32,
}

/// A run's figures.
#[derive(Debug, Serialize)]
struct LoadTest {
    /// `open` or `closed`
    r#loop: &'static str,
    /// Absent in closed loop.
    arrivals: Option<ArrivalKind>,
    streaming: bool,
    seed: u64,
    /// Ended by a signal before its time.
    interrupted: bool,
    models: Vec<LoadResult>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let limits = Limits {
        requests: args.requests,
        duration: args.requests.is_none().then(|| Duration::from_secs_f64(args.seconds.unwrap_or(SECONDS))),
        outstanding: args.max_outstanding as usize,
    };
    let mut targets = Vec::new();
    for (number, (name, demand)) in args.demands().into_iter().enumerate() {
        // Each model has a connection of its own, so that none waits behind another's tensors.
        let client = context.connect().await?;
        let target = args.target(&client, &name, demand, number as u64).await?;
        target.warm_up(args.warm_up).await?;
        targets.push((client, target));
    }
    let (models, interrupted) = drive(targets, limits).await?;
    let open = models.iter().any(|result| result.asked_rate_hz.is_some());
    let outcome = match models.iter().all(|result| result.succeeded > 0) && !interrupted {
        true => Outcome::Done,
        false => Outcome::Failed,
    };
    context.output.report(&LoadTest {
        r#loop: if open { "open" } else { "closed" },
        arrivals: open.then_some(args.arrivals),
        streaming: args.streaming,
        seed: args.seed,
        interrupted,
        models,
    })?;
    Ok(outcome)
}

/// Runs all targets at once until their limits or a signal end them. Says whether it was a signal.
pub(super) async fn drive(
    targets: Vec<(Client, Target)>,
    limits: Limits,
) -> Result<(Vec<LoadResult>, bool), Error> {
    let meters = targets
        .iter()
        .map(|(_, target)| Meter { name: target.model.name.clone(), recorder: target.recorder.clone() })
        .collect();
    let stopper = Stopper::new();
    let mut runs = JoinSet::new();
    for (number, (client, target)) in targets.into_iter().enumerate() {
        let stop = stopper.watch();
        runs.spawn(async move {
            let before = server_times(&client, &target.model).await;
            let result = target.run(limits, stop).await?;
            let times = server_times(&client, &target.model).await.since(&before);
            Ok::<_, Error>((number, result.with_server(&times)))
        });
    }
    let all = with_progress(meters, runs.join_all());
    tokio::pin!(all);
    let (ended, interrupted) = tokio::select! {
        ended = &mut all => (ended, false),
        signal = on_signal() => {
            signal?;
            stopper.stop();
            (all.await, true)
        }
    };
    let mut results = ended.into_iter().collect::<Result<Vec<_>, Error>>()?;
    results.sort_by_key(|(number, _)| *number);
    Ok((results.into_iter().map(|(_, result)| result).collect(), interrupted))
}

// === impl Args ===

impl Args {
    fn demands(&self) -> Vec<(String, Demand)> {
        let open = |rate_hz| Demand::Open { rate_hz, arrivals: self.arrivals };
        match &self.name {
            None => self.model.iter().map(|(name, rate_hz)| (name.clone(), open(*rate_hz))).collect(),
            Some(name) => {
                let closed = Demand::Closed { concurrency: self.concurrency.unwrap_or(1).into() };
                vec![(name.clone(), self.rate_hz.map_or(closed, open))]
            }
        }
    }

    async fn target(
        &self,
        client: &Client,
        name: &str,
        demand: Demand,
        number: u64,
    ) -> Result<Target, Error> {
        let info = ModelInfo::fetch(client, name, self.version.as_deref().unwrap_or_default()).await?;
        let shapes = shapes_of(&info, &self.shape)?;
        let timeout = Duration::from_millis(self.timeout_ms);
        let sender = if self.streaming {
            Sender::stream(client, timeout, self.max_outstanding as usize)
        } else {
            Sender::Unary { client: client.clone(), timeout }
        };
        Target::new(info, demand, &shapes, self.seed.wrapping_add(number), sender)
    }
}

// === impl Report for LoadTest ===

impl Report for LoadTest {
    fn text(&self) -> String {
        let mut text = LoadResult::table(&self.models);
        if self.r#loop == "open" {
            text.push_str("latencies count from the moment each request was due\n");
        }
        if self.interrupted {
            text.push_str("interrupted: the figures are of the requests until then\n");
        }
        text
    }
}
