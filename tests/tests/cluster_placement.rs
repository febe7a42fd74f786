//! The same applications, placed by several policies on four real nodes, and driven by real clients: ours breaks no
//! objective, and hosts at least as many as any other that breaks none.
//!
//! `CLUSTER_SECONDS=300 CLUSTER_TOGETHER=5 EDGEMUX_QUIET=1 cargo test --release -p edgemux-tests --test cluster_placement --
//! --nocapture` is the run of `docs/experiments.md`. Nodes are `edgemuxd` with one emulated device each, two Corals and two
//! Jetson Nanos by their published profiles. What a policy places is loaded without terms, as a server does that admits all
//! it is told to; once more, what ours places is loaded by each node's own admission.

use std::fmt::Write;
use std::pin::pin;
use std::time::Duration;

use edgemux_calibration::system::Mode;
use edgemux_calibration::terms::{Objective, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Seconds};
use edgemux_placement::app::{App, AppId};
use edgemux_placement::assess::{Limits, Paper as PaperFormulas};
use edgemux_placement::catalogue::{Catalogue, KindId, ModelId};
use edgemux_placement::cluster::Cluster;
use edgemux_placement::load::{Load, Tenant};
use edgemux_placement::policy::ours::Options;
use edgemux_placement::policy::{Fit, Knapsack, Order, Ours, Paper, Policy};
use edgemux_placement::published::{self, EDGETPU, NANO};
use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::objective::Statistic as WireStatistic;
use edgemux_tests::{Client, Daemon, Emulated, Poisson, Seen, Setup, echo, is_quiet};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use tokio::task::JoinSet;

const NODES: [KindId; 4] = [EDGETPU, NANO, EDGETPU, NANO];
const APPS: usize = 40;
/// What a request costs a device besides the model's own time, as it would be measured there: the way into its worker and
/// back.
const PATH_MS: f64 = 0.5;
/// Clients wait so long after their last request, s: what has no answer then never would have had one in time.
const GRACE_S: f64 = 3.0;
/// Standard errors by which an objective is missed beyond doubt.
const SURE: f64 = 3.0;
/// From so long a run on everything is tried.
const LONG_RUN_S: f64 = 30.0;
/// Requests of each application by which a node learns what it costs beside the others, before it admits the next one.
const ROUNDS: usize = 10;

/// Who says where applications go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Memory,
    MemoryAndUtilisation,
    Paper,
    Ours,
    /// Ours; then the daemon of each node decides as well.
    OursAdmitted,
}

/// The last one is for long runs: what models cost has to be learned before.
const WHO: [Who; 5] = [Who::Memory, Who::MemoryAndUtilisation, Who::Paper, Who::Ours, Who::OursAdmitted];

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "worst fit, memory",
            Self::MemoryAndUtilisation => "worst fit, memory and utilisation",
            Self::Paper => "heterogeneous, paper",
            Self::Ours => "ours",
            Self::OursAdmitted => "ours, admitted by the nodes",
        }
    }

    fn policy(self) -> Box<dyn Policy> {
        let limits = Limits::PAPER;
        let knapsack = |utilisation| Knapsack { fit: Fit::Worst, utilisation, limits };
        match self {
            Self::Memory => Box::new(knapsack(false)),
            Self::MemoryAndUtilisation => Box::new(knapsack(true)),
            Self::Paper => {
                let judge = PaperFormulas { limits };
                Box::new(Paper { order: Order::Heterogeneous, judge, formulas: "paper" })
            }
            // An application is one model on one node here.
            Self::Ours | Self::OursAdmitted => {
                Box::new(Ours::new(Options { parts: 1, ..Options::default() }))
            }
        }
    }
}

/// What comes: random applications with objectives of one kind.
#[derive(Clone, Copy, Debug)]
struct Workload {
    quantile: Option<Quantile>,
    seed: u64,
}

impl Workload {
    fn name(self) -> String {
        let what = if self.quantile.is_some() { "p99" } else { "mean" };
        format!("{what} objectives, list {}", self.seed)
    }

    /// As `edgemux experiment cluster` draws them: from hardly busy to nearly a third of its fastest device, with an
    /// objective of some times the longest that its model takes.
    fn apps(self, catalogue: &Catalogue) -> Vec<App> {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let models = catalogue.models.len() as u32;
        let app = |at| {
            let model = ModelId(random.random_range(0..models));
            let costs = || catalogue.kinds.iter().filter_map(|kind| kind.cost(model));
            let service = costs().map(|cost| cost.profile.service.mean()).fold(f64::INFINITY, f64::min);
            let reload = |reload: edgemux_calibration::profile::Reload| reload.overhead.get();
            let longest = costs()
                .map(|cost| cost.profile.service.mean() + cost.profile.reload.map_or(0.0, reload))
                .fold(0.0, f64::max);
            let rate = 0.02 * 15.0_f64.powf(random.random()) / service;
            let (statistic, times) = match self.quantile {
                Some(quantile) => (Statistic::Quantile(quantile), random.random_range(3.0..10.0)),
                None => (Statistic::Mean, random.random_range(1.5..5.0)),
            };
            let objective = Objective { statistic, latency: Seconds::new(longest * times).expect("a time") };
            let terms = Terms::poisson(Hertz::new(rate).expect("a rate"), Some(objective));
            App { name: format!("app{at:02}"), model, terms }
        };
        (0..APPS).map(app).collect()
    }
}

/// The published profiles, each inference as long as it would be measured on a node.
fn catalogue() -> Catalogue {
    let mut catalogue = published::catalogue().expect("the table that is built in");
    for cost in catalogue.kinds.iter_mut().flat_map(|kind| &mut kind.costs).flatten() {
        cost.profile.service = cost.profile.service.later(Seconds::from_ms(PATH_MS).expect("a time"));
    }
    catalogue
}

/// Places applications one after the other, where there is room.
fn place(who: Who, catalogue: &Catalogue, apps: &[App]) -> Cluster {
    let (mut cluster, mut policy) = (Cluster::new(catalogue.clone(), NODES), who.policy());
    for app in apps {
        let id = cluster.announce(app.clone());
        match policy.place(&cluster, id) {
            Ok(plan) => cluster.apply(&plan),
            Err(_) => cluster.withdraw(id),
        }
    }
    cluster
}

/// A daemon with what a node hosts in its repository: times as they are with what is compiled together, every application a
/// model of its own, and those that keep each other's parameters a group.
fn setup(cluster: &Cluster, load: &Load) -> Setup {
    let kind = if load.kind() == EDGETPU { "edgetpu" } else { "gpu" };
    let mode = match load.setting().mode {
        Mode::Concurrent { .. } => {
            "multiplexing = 'concurrent'\nwidth = 32\n[device.emulator]\nsharing = 'processor-sharing'\n"
        }
        _ => "multiplexing = 'exclusive'\n",
    };
    let config = format!("[[device]]\nname = 'd'\nruntimes = ['emulator']\nkind = '{kind}'\n{mode}");
    load.tenants().iter().fold(Setup::bare(&config), |setup, tenant| {
        let class = load.classes().iter().find(|class| class.model == tenant.model).expect("its class");
        let model = Emulated::new(class.service.mean() * 1e3 - PATH_MS).not_at_start();
        let group = if load.setting().together { "together".to_owned() } else { tenant.model.0.to_string() };
        let model =
            if load.kind() == EDGETPU { model.reloads(class.overhead * 1e3).group(&group) } else { model };
        setup.emulated(&cluster.app(tenant.app).name, model)
    })
}

/// One node with all that is loaded on it.
struct Node {
    daemon: Daemon,
    client: Client,
    hosted: Vec<AppId>,
}

impl Node {
    async fn start(cluster: &Cluster, load: &Load, who: Who) -> Self {
        let daemon = setup(cluster, load).start().await;
        let client = daemon.client().await;
        let mut hosted = Vec::new();
        for Tenant { app, .. } in load.tenants() {
            let name = &cluster.app(*app).name;
            if who != Who::OursAdmitted {
                client.load(name).await.expect("anything is loaded that promises nothing");
            } else if !admits(&client, cluster.app(*app)).await {
                continue;
            }
            hosted.push(*app);
            if who != Who::OursAdmitted {
                continue;
            }
            // The next verdict is by what was learned. What costs a reload is seen only once others have run in between.
            for _ in 0..ROUNDS {
                for app in &hosted {
                    client.infer(echo(&cluster.app(*app).name, [1.0; 4])).await.expect("an answer");
                }
            }
        }
        Self { daemon, client, hosted }
    }
}

/// Does the node itself take an application in, by what it has learned and predicts?
async fn admits(client: &Client, app: &App) -> bool {
    let objective = app.terms.objective.expect("everybody has one");
    let statistic = match objective.statistic {
        Statistic::Mean => WireStatistic::Mean(true),
        Statistic::Quantile(quantile) => WireStatistic::Quantile(quantile.get()),
    };
    let latency_ms = objective.latency.get() * 1e3;
    let terms = v1::Terms {
        model: app.name.clone(),
        rate_hz: app.terms.rate.get(),
        // One that Poisson arrivals do not exceed.
        burst: 1000.0,
        objective: Some(v1::Objective { statistic: Some(statistic), latency_ms }),
        ..v1::Terms::default()
    };
    let reserved = client.reserve(&terms.model, &terms).await.expect("an answer");
    let verdict = reserved.verdict.expect("a verdict");
    if verdict.admitted {
        client.commit(&reserved.reservation).await.expect("it is loaded");
    } else {
        assert!(!verdict.reasons.is_empty(), "{verdict:?}");
        println!("{} is refused by its node: {}", app.name, verdict.reasons[0].message);
    }
    verdict.admitted
}

/// One application, and what its clients saw.
struct Outcome {
    app: App,
    seen: Seen,
}

impl Outcome {
    /// The figure that its objective is about, as a multiple of the objective; without end where requests got no answer.
    fn times(&self) -> f64 {
        if self.unanswered() > 0 {
            return f64::INFINITY;
        }
        let objective = self.app.terms.objective.expect("everybody has one");
        let seen = match objective.statistic {
            Statistic::Mean => self.seen.mean(),
            Statistic::Quantile(quantile) => self.seen.quantile(quantile.get()),
        };
        seen / objective.latency.get()
    }

    fn unanswered(&self) -> usize {
        self.seen.refused + self.seen.failed.len()
    }

    /// Is the objective missed by more than chance makes of so many requests, were it this many times as long?
    fn is_missed(&self, times: f64) -> bool {
        let objective = self.app.terms.objective.expect("everybody has one");
        let wanted = objective.latency.get() * times;
        let (figures, most, least_error): (Vec<f64>, f64, f64) = match objective.statistic {
            Statistic::Mean => (self.seen.latencies.clone(), wanted, 0.0),
            Statistic::Quantile(quantile) => {
                let late = self.seen.latencies.iter().map(|&latency| f64::from(u8::from(latency > wanted)));
                let beyond = 1.0 - quantile.get();
                let n = self.seen.latencies.len() as f64;
                (late.collect(), beyond, (beyond * (1.0 - beyond) / n).sqrt())
            }
        };
        self.unanswered() > 0 || mean(&figures) - SURE * batch_error(&figures).max(least_error) > most
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard error of the mean of values that follow one another, from the means of 16 batches; without end of too few.
fn batch_error(values: &[f64]) -> f64 {
    const BATCHES: usize = 16;
    if values.len() < 2 * BATCHES {
        return f64::INFINITY;
    }
    let means: Vec<f64> = values.chunks(values.len() / BATCHES).take(BATCHES).map(mean).collect();
    let of_all = mean(&means);
    let squares: f64 = means.iter().map(|mean| (mean - of_all).powi(2)).sum();
    (squares / (BATCHES * (BATCHES - 1)) as f64).sqrt()
}

/// What came of one policy.
struct Run {
    who: Who,
    placed: usize,
    outcomes: Vec<Outcome>,
}

impl Run {
    async fn of(who: Who, workload: Workload, seconds: f64) -> Self {
        let catalogue = catalogue();
        let cluster = place(who, &catalogue, &workload.apps(&catalogue));
        let nodes = cluster.nodes().map(|(_, load)| Node::start(&cluster, load, who));
        let nodes: Vec<Node> = futures_util::future::join_all(nodes).await;
        let mut driving = JoinSet::new();
        for node in &nodes {
            for &id in &node.hosted {
                let (app, client) = (cluster.app(id).clone(), node.client.clone());
                let request = echo(&app.name, [1.0; 4]);
                let poisson = Poisson::during(seconds, request, app.terms.rate.get(), u64::from(id.0));
                driving.spawn(async move { (id, Outcome { app, seen: poisson.run(client).await }) });
            }
        }
        let mut answers = pin!(driving.join_all());
        let patience = Duration::from_secs_f64(seconds + GRACE_S);
        let mut outcomes = match tokio::time::timeout(patience, &mut answers).await {
            Ok(outcomes) => outcomes,
            Err(_) => {
                // Whoever waits still is told at once.
                nodes.iter().for_each(|node| node.daemon.process().signal(Signal::KILL));
                answers.await
            }
        };
        outcomes.sort_by_key(|(id, _)| *id);
        Self { who, placed: cluster.hosted(), outcomes: outcomes.into_iter().map(|(_, seen)| seen).collect() }
    }

    fn hosted(&self) -> usize {
        self.outcomes.len()
    }

    /// Objectives missed beyond doubt, were they this many times as long.
    fn missed(&self, times: f64) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.is_missed(times)).count()
    }

    /// A line of the table.
    fn line(&self) -> String {
        let observed = self.outcomes.iter().filter(|outcome| outcome.times() > 1.0).count();
        let unanswered: usize = self.outcomes.iter().map(Outcome::unanswered).sum();
        let missed = self.missed(1.0);
        let (placed, hosted) = (self.placed, self.hosted());
        let name = self.who.name();
        format!(
            "| {name} | {placed} | {hosted} | {observed} | {missed} | {} | {unanswered} |",
            hosted - missed
        )
    }

    /// A line for each application.
    fn details(&self) -> String {
        let mut lines = String::new();
        for outcome in &self.outcomes {
            let Outcome { app, seen } = outcome;
            writeln!(
                lines,
                "  {} at {:6.2}/s: {:6.3} of its objective, {} answered, {} not{}",
                app.name,
                app.terms.rate.get(),
                outcome.times(),
                seen.latencies.len(),
                outcome.unanswered(),
                if outcome.is_missed(1.0) { "  MISSED" } else { "" },
            )
            .expect("a string takes it");
        }
        lines
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_breaks_no_objective_and_hosts_as_many_as_any_that_breaks_none() {
    let seconds = number("CLUSTER_SECONDS", 3) as f64;
    let seed = number("CLUSTER_LIST", 1);
    let is_long = seconds >= LONG_RUN_S;
    let quantiles: &[Option<Quantile>] = if is_long { &[None, Some(Quantile::P99)] } else { &[None] };
    let who = if is_long { &WHO[..] } else { &WHO[..WHO.len() - 1] };
    for &quantile in quantiles {
        let workload = Workload { quantile, seed };
        let mut runs = Vec::new();
        for together in who.chunks(number("CLUSTER_TOGETHER", 1).max(1) as usize) {
            let running = together.iter().map(|&who| Run::of(who, workload, seconds));
            runs.extend(futures_util::future::join_all(running).await);
        }
        println!("{}, {seconds} s\n", workload.name());
        println!("| policy | placed | hosted | missed | missed beyond doubt | kept | unanswered |");
        println!("|---|---:|---:|---:|---:|---:|---:|");
        for run in &runs {
            println!("{}", run.line());
        }
        println!();
        for run in &runs {
            println!("{}\n{}", run.who.name(), run.details());
        }
        check(&runs);
    }
}

fn check(runs: &[Run]) {
    // A machine with other work is seen in every latency: there only what is missed by far counts, whoever placed it.
    let times = if is_quiet() { 1.0 } else { 2.0 };
    let of = |who: Who| runs.iter().find(|run| run.who == who).expect("everybody ran");
    for run in runs.iter().filter(|run| matches!(run.who, Who::Ours | Who::OursAdmitted)) {
        assert_eq!(run.missed(times), 0, "{}\n{}", run.who.name(), run.details());
        assert!(run.hosted() > 0);
    }
    let ours = of(Who::Ours);
    for run in runs.iter().filter(|run| run.missed(times) == 0) {
        assert!(ours.hosted() >= run.hosted(), "{} hosts {}", run.who.name(), run.hosted());
    }
    let memory = of(Who::Memory);
    assert!(memory.missed(times) > 0, "who looks at memory alone breaks some\n{}", memory.details());
}
