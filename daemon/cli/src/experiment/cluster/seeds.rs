//! The same for many seeds, on all cores.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::tell::Teller;
use super::{ClusterError, Options};

/// What `work` gives for each seed, in their order. Which thread did what makes no difference to it.
pub(super) fn each_seed<T: Send>(
    options: &Options,
    teller: &mut Teller,
    what: &str,
    work: impl Fn(u64) -> Result<T, ClusterError> + Sync,
) -> Result<Vec<T>, ClusterError> {
    teller.begin(what);
    let count = u64::from(options.seeds);
    let workers =
        thread::available_parallelism().map_or(1, NonZeroUsize::get).min(options.seeds.max(1) as usize);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let teller = &*teller;
    let worker = || -> Result<Vec<(u64, T)>, ClusterError> {
        let mut results = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return Ok(results);
            }
            results.push((at, work(options.seed.wrapping_add(at))?));
            teller.done(done.fetch_add(1, Ordering::Relaxed) + 1, count);
        }
    };
    let mut results = Vec::with_capacity(options.seeds as usize);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            results.extend(worker.join().map_err(|_| ClusterError::Worker)??);
        }
        Ok::<(), ClusterError>(())
    })?;
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
