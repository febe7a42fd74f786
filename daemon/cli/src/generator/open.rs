//! Open loop: requests leave on schedule, whatever the server does.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::arrivals::{ArrivalKind, Arrivals};
use super::pacer::Pacer;
use super::stop::Stop;
use super::{Limits, Sent, Target};
use crate::error::Error;

/// Sends the schedule and waits for every answer.
pub(super) async fn run(
    target: &Target,
    rate_hz: f64,
    kind: ArrivalKind,
    limits: Limits,
    start: Instant,
    mut stop: Stop,
) -> Result<Sent, Error> {
    let mut pacer = Pacer::new().map_err(Error::Timer)?;
    let permits = Arc::new(Semaphore::new(limits.outstanding));
    let mut sent = Sent::default();
    let within = |due| limits.duration.is_none_or(|limit| due <= limit);
    let schedule = Arrivals::new(kind, rate_hz, target.seed).take_while(|&due| within(due));
    let mut schedule =
        schedule.take(limits.requests.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX));

    while let Some(due) = schedule.next() {
        let Some(due) = start.checked_add(due) else { break };
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            waited = pacer.until(due) => waited.map_err(Error::Timer)?,
        }
        let permit = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                sent.limit_hits += 1;
                tokio::select! {
                    biased;
                    () = stop.stopped() => break,
                    permit = Arc::clone(&permits).acquire_owned() => match permit {
                        Ok(permit) => permit,
                        Err(_) => break,
                    },
                }
            }
        };
        if !within(start.elapsed()) && sent.limit_hits > 0 {
            // The time is up and the server is behind: what is still due would only prolong the run.
            sent.skipped = 1 + schedule.count() as u64;
            break;
        }
        let request = target.request(sent.requests);
        sent.requests += 1;
        let (sender, recorder) = (target.sender.clone(), Arc::clone(&target.recorder));
        tokio::spawn(async move {
            let left = Instant::now();
            let ended = sender.send(request).await;
            recorder.record(due, left, Instant::now(), ended);
            drop(permit);
        });
    }
    sent.sending = start.elapsed();
    // Every request gives its permit back when it has ended.
    let _all = permits.acquire_many(u32::try_from(limits.outstanding).unwrap_or(u32::MAX)).await;
    Ok(sent)
}
