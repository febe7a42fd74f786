//! What share of the last seconds a device was in service.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back "recent" reaches, in ticks.
const TICKS: usize = 5;

/// Busy time, sampled at ticks.
#[derive(Debug)]
pub(super) struct Utilisation {
    busy: Duration,
    samples: VecDeque<(Instant, Duration)>,
}

impl Utilisation {
    pub(super) fn new(now: Instant) -> Self {
        Self { busy: Duration::ZERO, samples: VecDeque::from([(now, Duration::ZERO)]) }
    }

    /// The device was in service for `time`.
    pub(super) fn busy(&mut self, time: Duration) {
        self.busy += time;
    }

    /// Takes a sample; called every second or so.
    pub(super) fn tick(&mut self, now: Instant) {
        self.samples.push_back((now, self.busy));
        while self.samples.len() > TICKS + 1 {
            self.samples.pop_front();
        }
    }

    /// Between 0 and 1, over the ticks kept.
    pub(super) fn recent(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((from, before)), Some((to, after))) if to > from => {
                ((*after - *before).as_secs_f64() / (*to - *from).as_secs_f64()).min(1.0)
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_busy_is_one_half_and_old_load_is_forgotten() {
        let start = Instant::now();
        let mut utilisation = Utilisation::new(start);
        assert_eq!(utilisation.recent(), 0.0);
        for second in 1..=10 {
            utilisation.busy(Duration::from_millis(500));
            utilisation.tick(start + Duration::from_secs(second));
        }
        assert!((utilisation.recent() - 0.5).abs() < 1e-9);
        for second in 11..=20 {
            utilisation.tick(start + Duration::from_secs(second));
        }
        assert_eq!(utilisation.recent(), 0.0);
    }
}
