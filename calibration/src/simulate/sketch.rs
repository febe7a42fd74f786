//! A histogram of times in buckets whose width grows with the time.
//!
//! A bucket is what an `f64`'s exponent and the first nine bits of its fraction say, so a time's bucket is a shift of its
//! bits, and a time read from the middle of its bucket is at most 1/1024 off. Sums are kept beside the buckets: moments
//! do not suffer from them.

use std::fmt;

/// Bits of the fraction that a bucket keeps.
const FRACTION_BITS: u32 = 9;
/// Buckets from a time to its double.
const OCTAVE: usize = 1 << FRACTION_BITS;
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - FRACTION_BITS;
/// 2⁻⁴⁰ s, about a picosecond: what is shorter counts as that in the buckets.
const SHORTEST: u64 = (1023 - 40) << FRACTION_BITS;
/// 2⁴⁴ s: what is longer counts as that in the buckets.
const LONGEST: usize = 84 << FRACTION_BITS;

/// Distribution of times in seconds: moments exactly, quantiles to 0.1 %. Of no times at all every figure is infinite:
/// what was never seen is not promised.
#[derive(Clone, PartialEq)]
pub struct Sketch {
    count: u64,
    sum: f64,
    square_sum: f64,
    min: f64,
    max: f64,
    /// The bucket of `counts[0]`, a multiple of [`OCTAVE`].
    first: usize,
    /// Whole octaves, from the shortest time seen to the longest.
    counts: Vec<u64>,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            square_sum: 0.0,
            min: f64::INFINITY,
            max: 0.0,
            first: 0,
            counts: Vec::new(),
        }
    }
}

impl Sketch {
    /// Adds a time; what is no time (negative, not a number) counts as 0.
    pub fn record(&mut self, time: f64) {
        let time = time.max(0.0);
        self.count += 1;
        self.sum += time;
        self.square_sum += time * time;
        self.min = self.min.min(time);
        self.max = self.max.max(time);
        *self.bucket(bucket_of(time)) += 1;
    }

    /// Adds all that another has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.square_sum += other.square_sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        for (at, &count) in other.counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            *self.bucket(other.first + at) += count;
        }
    }

    /// Forgets everything but its memory.
    pub(super) fn clear(&mut self) {
        let mut counts = std::mem::take(&mut self.counts);
        counts.fill(0);
        *self = Self { first: self.first, counts, ..Self::default() };
    }

    /// How many times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean in seconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.per_time(self.sum)
    }

    /// The mean of their squares in s².
    #[must_use]
    pub fn second_moment(&self) -> f64 {
        self.per_time(self.square_sum)
    }

    /// The longest in seconds.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The time that this fraction does not exceed, in seconds: the shortest at 0, the longest at 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is brought within 1 to count"
    )]
    pub fn quantile(&self, fraction: f64) -> f64 {
        let rank = ((fraction * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        // The ends are known better than by their bucket.
        if rank == self.count {
            return self.max;
        }
        let mut below = 0;
        for (at, &count) in self.counts.iter().enumerate() {
            if below + count >= rank {
                // Those in the bucket are taken to lie evenly.
                let part = ((rank - below) as f64 - 0.5) / count as f64;
                let (low, high) = (start_of(self.first + at), start_of(self.first + at + 1));
                return (low + part * (high - low)).clamp(self.min, self.max);
            }
            below += count;
        }
        f64::INFINITY
    }

    fn per_time(&self, sum: f64) -> f64 {
        if self.count == 0 { f64::INFINITY } else { sum / self.count as f64 }
    }

    fn bucket(&mut self, bucket: usize) -> &mut u64 {
        if bucket.wrapping_sub(self.first) >= self.counts.len() {
            self.cover(bucket);
        }
        &mut self.counts[bucket - self.first]
    }

    /// Makes room for a bucket.
    #[cold]
    fn cover(&mut self, bucket: usize) {
        let octave = bucket / OCTAVE * OCTAVE;
        if self.counts.is_empty() {
            self.first = octave;
        }
        let before = self.first.saturating_sub(octave);
        self.counts.splice(0..0, std::iter::repeat_n(0, before));
        self.first -= before;
        let len = self.counts.len().max(octave + OCTAVE - self.first);
        self.counts.resize(len, 0);
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sketch")
            .field("count", &self.count)
            .field("mean", &self.mean())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

fn bucket_of(time: f64) -> usize {
    let bucket = (time.to_bits() >> SHIFT).saturating_sub(SHORTEST) as usize;
    bucket.min(LONGEST)
}

fn start_of(bucket: usize) -> f64 {
    f64::from_bits((bucket as u64 + SHORTEST) << SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thousandth_over_nineteen_decades() {
        for scale in [1e-9, 1e-3, 1.0, 7.7, 1e5] {
            let mut sketch = Sketch::default();
            for i in 1..=100_000 {
                sketch.record(scale * f64::from(i));
            }
            for q in [1e-5_f64, 0.01, 0.5, 0.95, 0.99, 0.999_99] {
                let want = scale * (q * 1e5).ceil();
                let seen = sketch.quantile(q);
                assert!((seen / want - 1.0).abs() < 1e-3, "{q}: {seen} instead of {want}");
            }
            assert!((sketch.mean() / (50_000.5 * scale) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn what_is_always_the_same_is_read_exactly() {
        let mut sketch = Sketch::default();
        (0..1000).for_each(|_| sketch.record(0.0173));
        assert_eq!(sketch.quantile(0.5), 0.0173);
        assert_eq!(sketch.quantile(0.99), 0.0173);
    }

    #[test]
    fn two_halves_merged_are_the_whole() {
        let (mut whole, mut even, mut odd) = (Sketch::default(), Sketch::default(), Sketch::default());
        for i in 0..1000_u32 {
            // Sums of such are exact.
            let time = f64::from(i * i) / 2.0;
            whole.record(time);
            if i % 2 == 0 { &mut even } else { &mut odd }.record(time);
        }
        odd.merge(&even);
        assert_eq!(odd, whole);
        odd.clear();
        odd.merge(&whole);
        assert_eq!(odd, whole, "a cleared one is as new");
    }

    #[test]
    fn what_was_never_seen_is_not_promised() {
        let sketch = Sketch::default();
        for figure in [sketch.mean(), sketch.second_moment(), sketch.quantile(0.5), sketch.max()] {
            assert_eq!(figure, f64::INFINITY);
        }
    }

    #[test]
    fn no_number_breaks_it() {
        let mut sketch = Sketch::default();
        for time in [0.0, -0.0, -1.0, f64::NAN, f64::MIN_POSITIVE, 1e-300, 1e300, f64::MAX, f64::INFINITY] {
            sketch.record(time);
        }
        assert_eq!(sketch.count(), 9);
        assert!(sketch.quantile(0.3) < 1e-12);
        for fraction in [f64::NAN, -1.0, 2.0, f64::INFINITY] {
            assert!(!sketch.quantile(fraction).is_nan());
        }
        assert!(sketch.counts.len() <= LONGEST + OCTAVE, "memory is bounded");
    }
}
