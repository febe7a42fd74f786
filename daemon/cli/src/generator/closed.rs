//! Closed loop: so many clients, each of which waits for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use super::stop::Stop;
use super::{Limits, Sent, Target};

/// Runs the clients until the limits or `stop` end them.
pub(super) async fn run(
    target: &Target,
    concurrency: usize,
    limits: Limits,
    start: Instant,
    stop: Stop,
) -> Sent {
    let turns = Arc::new(AtomicU64::new(0));
    let sent = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..concurrency {
        let (turns, sent, stop) = (Arc::clone(&turns), Arc::clone(&sent), stop.clone());
        let (sender, recorder) = (target.sender.clone(), Arc::clone(&target.recorder));
        let requests = Arc::clone(&target.requests);
        clients.spawn(async move {
            loop {
                let turn = turns.fetch_add(1, Ordering::Relaxed);
                let over = limits.requests.is_some_and(|limit| turn >= limit)
                    || limits.duration.is_some_and(|limit| start.elapsed() >= limit);
                if over || stop.is_stopped() {
                    break;
                }
                sent.fetch_add(1, Ordering::Relaxed);
                let request = requests[(turn % requests.len() as u64) as usize].clone();
                let left = Instant::now();
                let ended = sender.send(request).await;
                recorder.record(left, left, Instant::now(), ended);
            }
        });
    }
    clients.join_all().await;
    Sent { requests: sent.load(Ordering::Relaxed), sending: start.elapsed(), ..Sent::default() }
}
