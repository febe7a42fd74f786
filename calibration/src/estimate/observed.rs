//! Latencies of the last requests.

/// How many are kept.
const KEPT: usize = 2048;

/// The last latencies, and their quantiles.
#[derive(Clone, Debug)]
pub struct Observed {
    last: Box<[f32; KEPT]>,
    seen: u64,
}

impl Default for Observed {
    fn default() -> Self {
        Self { last: Box::new([0.0; KEPT]), seen: 0 }
    }
}

impl Observed {
    /// Takes note of a latency, s.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a clock's")]
    pub(super) fn record(&mut self, latency: f64) {
        self.last[(self.seen % KEPT as u64) as usize] = latency as f32;
        self.seen += 1;
    }

    /// How many there were ever.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// How many are kept.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.seen.min(KEPT as u64)
    }

    /// Their mean, s; 0 of none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let kept = self.kept();
        kept.iter().map(|&latency| f64::from(latency)).sum::<f64>() / kept.len().max(1) as f64
    }

    /// A quantile of them, s; 0 of none. Sorts a copy.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> f64 {
        of_sorted(self.kept().to_vec(), quantile)
    }

    /// The same of the last `count` of them.
    #[must_use]
    pub fn quantile_of_last(&self, count: usize, quantile: f64) -> f64 {
        of_sorted(self.since(count).collect(), quantile)
    }

    /// The last `count` of them, s, the latest first.
    pub fn since(&self, count: usize) -> impl Iterator<Item = f64> + '_ {
        let kept = self.kept();
        let next = (self.seen % KEPT as u64) as usize;
        let (after, before) = kept.split_at(next.min(kept.len()));
        after.iter().rev().chain(before.iter().rev()).take(count).map(|&latency| f64::from(latency))
    }

    fn kept(&self) -> &[f32] {
        &self.last[..self.count() as usize]
    }
}

fn of_sorted<T: Copy + Into<f64>>(mut latencies: Vec<T>, quantile: f64) -> f64 {
    latencies.sort_unstable_by(|&a, &b| a.into().total_cmp(&b.into()));
    let at = (quantile.clamp(0.0, 1.0) * latencies.len() as f64).ceil() as usize;
    latencies.get(at.max(1) - 1).map_or(0.0, |&latency| latency.into())
}
