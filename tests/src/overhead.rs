//! What the way through a daemon adds to calling a runtime's library directly.

use std::time::{Duration, Instant};

use edgemux_proto::inference::ModelInferRequest;

use crate::{Client, Daemon};

/// Rounds; in each first the one, then the other.
const ROUNDS: usize = 10;
/// Requests of a round, one after the other.
const REQUESTS: usize = 200;
/// Clients at once, for the throughput.
const CLIENTS: usize = 4;

/// Times `direct`, an inference by the library in this process, and `request`, the same by the daemon, in turns, and prints a
/// row of a table: latencies one at a time, what the daemon adds, and what each gets done in a second.
pub async fn overhead(daemon: &Daemon, what: &str, request: &ModelInferRequest, mut direct: impl FnMut()) {
    let client = daemon.client().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(daemon.client().await);
    }
    let (mut alone, mut served) = (Vec::new(), Vec::new());
    let (mut by_library, mut by_daemon, mut added_us) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms both up.
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        let mut direct: Vec<_> = (0..REQUESTS).map(|_| timed(&mut direct)).collect();
        let library_hz = REQUESTS as f64 / begun.elapsed().as_secs_f64();
        let mut one_by_one = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            one_by_one.push(asked(&client, request).await);
        }
        let begun = Instant::now();
        let asking = clients.iter().map(|client| {
            let (client, request) = (client.clone(), request.clone());
            tokio::spawn(async move {
                for _ in 0..REQUESTS {
                    asked(&client, &request).await;
                }
            })
        });
        for client in asking.collect::<Vec<_>>() {
            client.await.expect("every request is answered");
        }
        let daemon_hz = (CLIENTS * REQUESTS) as f64 / begun.elapsed().as_secs_f64();
        if round > 0 {
            let median = |times: &mut [Duration]| quantile(times, 0.5).as_secs_f64();
            added_us.push((median(&mut one_by_one) - median(&mut direct)) * 1e6);
            alone.extend(direct);
            served.extend(one_by_one);
            by_library.push(library_hz);
            by_daemon.push(daemon_hz);
        }
    }
    let ratios: Vec<_> =
        by_daemon.iter().zip(&by_library).map(|(daemon, library)| daemon / library).collect();
    let ms = |times: &mut Vec<Duration>, at| quantile(times, at).as_secs_f64() * 1e3;
    println!(
        "| {what} | {:.3} | {:.3} | {:.3} | {:.3} | {} | {:.0} | {:.0} | {} |",
        ms(&mut alone, 0.5),
        ms(&mut alone, 0.99),
        ms(&mut served, 0.5),
        ms(&mut served, 0.99),
        of_rounds(&added_us, 0),
        mean(&by_library),
        mean(&by_daemon),
        of_rounds(&ratios, 2),
    );
}

/// The table's head.
pub fn overhead_head() {
    println!(
        "| model | library p50, ms | p99 | daemon p50, ms | p99 | added, µs (of {ROUNDS} rounds) | library, 1/s | daemon, {CLIENTS} clients, 1/s | ratio (of {ROUNDS} rounds) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

fn timed(run: &mut impl FnMut()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

async fn asked(client: &Client, request: &ModelInferRequest) -> Duration {
    let begun = Instant::now();
    client.infer(request.clone()).await.expect("an answer");
    begun.elapsed()
}

fn quantile(times: &mut [Duration], quantile: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() as f64 * quantile) as usize).min(times.len() - 1)]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean over the rounds, with the least and the most.
fn of_rounds(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({least:.digits$} to {most:.digits$})", mean(values))
}
