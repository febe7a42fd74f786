//! What is predicted is what clients see, over gRPC, in every mode.
//!
//! `PREDICTION_MIXES=all PREDICTION_REQUESTS=5000 EDGEMUX_QUIET=1 cargo test --release -p edgemux-tests --test prediction -- --nocapture`
//! gives the table of `docs/admission.md` in some ten minutes. Clients, daemon and workers share the machine's cores, so the
//! emulated devices are slow ones and their load moderate.

use edgemux_proto::edgemux::v1::{LatencyPrediction, Terms};
use edgemux_tests::{Client, Emulated, Poisson, Seen, Setup, echo, eventually, is_quiet, terms};
use tokio::task::JoinSet;

/// One model: mean in ms, coefficient of variation, reload in ms, requests per second.
type Model = (f64, Option<f64>, Option<f64>, f64);

struct Mix {
    name: &'static str,
    device: &'static str,
    models: &'static [Model],
}

const EXCLUSIVE: &str = "kind = 'gpu'\nmultiplexing = 'exclusive'\n";
const EDGETPU: &str = "kind = 'edgetpu'\nmultiplexing = 'exclusive'\n";
const SLICED: &str = "kind = 'gpu'\nmultiplexing = 'time-sliced'\nquantum-ms = 5.0\n";
/// Two at once are half as fast again as one alone; more gain a little more.
const CONCURRENT: &str = "kind = 'gpu'\nmultiplexing = 'concurrent'\nwidth = 4\n[device.emulator]\nsharing = 'speed-up'\n\
                          speed-up = [1.0, 1.5, 1.8, 2.0]\n";
/// Several at once share what one has alone.
const SHARED: &str = "kind = 'gpu'\nmultiplexing = 'concurrent'\nwidth = 16\n[device.emulator]\n\
                      sharing = 'processor-sharing'\n";

const MIXES: &[Mix] = &[
    Mix { name: "one", device: EXCLUSIVE, models: &[(10.0, None, None, 60.0)] },
    Mix {
        name: "two, one long",
        device: EXCLUSIVE,
        models: &[(5.0, None, None, 40.0), (20.0, None, None, 20.0)],
    },
    Mix { name: "one that varies", device: EXCLUSIVE, models: &[(10.0, Some(0.5), None, 50.0)] },
    Mix {
        name: "four",
        device: EXCLUSIVE,
        models: &[
            (4.0, None, None, 30.0),
            (8.0, None, None, 20.0),
            (12.0, None, None, 10.0),
            (16.0, None, None, 10.0),
        ],
    },
    Mix {
        name: "edgeTPU, two",
        device: EDGETPU,
        models: &[(4.0, None, Some(6.0), 30.0), (6.0, None, Some(9.0), 20.0)],
    },
    Mix {
        name: "edgeTPU, three",
        device: EDGETPU,
        models: &[(3.0, None, Some(5.0), 20.0), (5.0, None, Some(5.0), 20.0), (10.0, None, Some(8.0), 10.0)],
    },
    Mix {
        name: "sliced, two alike",
        device: SLICED,
        models: &[(10.0, None, None, 30.0), (10.0, None, None, 30.0)],
    },
    Mix {
        name: "sliced, one long",
        device: SLICED,
        models: &[(5.0, None, None, 50.0), (20.0, None, None, 20.0)],
    },
    Mix {
        name: "sliced, three",
        device: SLICED,
        models: &[(5.0, None, None, 30.0), (10.0, Some(0.3), None, 20.0), (15.0, None, None, 15.0)],
    },
    Mix {
        name: "speed-up, two",
        device: CONCURRENT,
        models: &[(10.0, None, None, 50.0), (10.0, None, None, 40.0)],
    },
    Mix {
        name: "speed-up, one long",
        device: CONCURRENT,
        models: &[(5.0, None, None, 60.0), (20.0, None, None, 30.0)],
    },
    Mix {
        name: "sharing, two",
        device: SHARED,
        models: &[(10.0, None, None, 30.0), (10.0, None, None, 30.0)],
    },
    Mix {
        name: "sharing, one long",
        device: SHARED,
        models: &[(5.0, None, None, 40.0), (20.0, None, None, 20.0)],
    },
];

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn model(at: usize) -> String {
    format!("m{at}")
}

/// Everybody is admitted, sends at the rate that was declared, and is compared with what was predicted then.
async fn run(mix: &Mix, requests: usize) -> Vec<(LatencyPrediction, Seen)> {
    let config = format!("[[device]]\nname = 'd'\nruntimes = ['emulator']\n{}", mix.device);
    let mut setup = Setup::bare(&config);
    for (at, &(mean, cv, reload, _)) in mix.models.iter().enumerate() {
        let mut emulated = Emulated::new(mean).not_at_start();
        emulated = cv.map_or(emulated.clone(), |cv| emulated.varied(cv));
        emulated = reload.map_or(emulated.clone(), |ms| emulated.reloads(ms));
        setup = setup.emulated(&model(at), emulated);
    }
    let daemon = setup.start().await;
    let client = daemon.client().await;
    for (at, &(.., rate)) in mix.models.iter().enumerate() {
        // A burst that Poisson arrivals do not exceed: what is policed is not predicted.
        client.admit(&Terms { burst: 1000.0, ..terms(&model(at), rate, 0.99, 10_000.0) }).await;
    }
    // Some requests teach what a trial cannot: reloads between models, and how several slow one another down.
    drive(&client, mix, requests / 5, 100).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let mut predicted = Vec::new();
    for at in 0..mix.models.len() {
        let forecast = async || client.session(&model(at)).await.predicted;
        let patience = std::time::Duration::from_secs(20);
        predicted.push(eventually("a prediction", patience, forecast).await);
    }
    let seed = number("PREDICTION_SEED", 1) as u64;
    let seen = drive(&client, mix, requests, seed).await;
    predicted.into_iter().zip(seen).collect()
}

async fn drive(client: &Client, mix: &Mix, requests: usize, seed: u64) -> Vec<Seen> {
    let total: f64 = mix.models.iter().map(|&(.., rate)| rate).sum();
    let mut running = JoinSet::new();
    for (at, &(.., rate_hz)) in mix.models.iter().enumerate() {
        let count = (requests as f64 * rate_hz / total).ceil() as usize;
        let poisson = Poisson { request: echo(&model(at), [1.0; 4]), rate_hz, count, seed: seed + at as u64 };
        let client = client.clone();
        running.spawn(async move { (at, poisson.run(client).await) });
    }
    let mut seen = running.join_all().await;
    seen.sort_by_key(|(at, _)| *at);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

/// Compares, and asserts that errors are within the promise and what the sample size leaves open. Returns a line for each
/// session.
fn compare(mix: &Mix, seen: Vec<(LatencyPrediction, Seen)>) -> String {
    let mut lines = String::new();
    for (at, (predicted, seen)) in seen.into_iter().enumerate() {
        assert_eq!(seen.failed, Vec::<String>::new(), "{}", mix.name);
        assert_eq!(seen.refused, 0, "{}", mix.name);
        let mut line = format!("{:20} m{at} {:5}", mix.name, seen.latencies.len());
        let quantiles =
            [(0.5, predicted.p50_ms, 0.05), (0.95, predicted.p95_ms, 0.08), (0.99, predicted.p99_ms, 0.12)];
        for (quantile, predicted, promised) in quantiles {
            let observed = seen.quantile(quantile) * 1e3;
            // Latencies follow one another: three times the error of independent ones.
            let noise = 3.0 * seen.error(quantile) * 1e3 / observed;
            let error = predicted / observed - 1.0;
            line += &format!(
                " | p{:2.0} {predicted:6.2} {observed:6.2} {:+5.1} % ±{:4.1}",
                quantile * 100.0,
                error * 100.0,
                noise * 100.0
            );
            // What the machine does besides is in the observation, and in what was learned.
            let allowed = if is_quiet() { promised } else { 0.6 };
            assert!(error.abs() <= allowed + noise, "{line}: more than {allowed} off");
        }
        lines += &line;
        lines.push('\n');
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_predicted_is_seen_in_each_mode() {
    // `all`, or how the names begin.
    let asked = std::env::var("PREDICTION_MIXES").ok();
    let some = ["two, one long", "edgeTPU, two", "sliced, two alike", "sharing, two"];
    let is_wanted = |mix: &&Mix| match asked.as_deref() {
        Some("all") => true,
        Some(begin) => mix.name.starts_with(begin),
        None => some.contains(&mix.name),
    };
    let mixes: Vec<_> = MIXES.iter().filter(is_wanted).collect();
    assert!(!mixes.is_empty(), "no mix's name begins with {asked:?}");
    let requests = number("PREDICTION_REQUESTS", 400);
    // Each has a daemon of its own, and waits for its emulated device most of the time: two cores bear four.
    for together in mixes.chunks(number("PREDICTION_TOGETHER", 4)) {
        let runs = together.iter().map(|mix| async move { compare(mix, run(mix, requests).await) });
        for lines in futures_util::future::join_all(runs).await {
            print!("{lines}");
        }
    }
}
