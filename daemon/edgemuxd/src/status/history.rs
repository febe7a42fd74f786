//! How devices and sessions fared over the last minutes: a few numbers of each, every five seconds.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edgemux_multiplexer::SessionId;
use serde::Serialize;

use crate::node::Node;
use crate::terms::Objective;

/// How often numbers are taken.
pub(super) const PERIOD: Duration = Duration::from_secs(5);
/// How many are kept: five minutes.
pub(super) const POINTS_MAX: usize = 60;

/// A session over the last period. None where there were no requests, or nothing is predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Point {
    /// The statistic of the objective, or p99 without one, of the requests of this period, ms.
    pub(super) observed_ms: Option<f32>,
    /// The same as it was predicted then, ms.
    pub(super) predicted_ms: Option<f32>,
    /// Requests per second.
    pub(super) rate_hz: f32,
}

/// The last minutes, newest last.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Series>);

#[derive(Debug, Default)]
struct Series {
    sessions: HashMap<SessionId, VecDeque<Point>>,
    utilisation: HashMap<String, VecDeque<f32>>,
}

impl History {
    /// A session's points, oldest first.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<Point> {
        self.lock().sessions.get(&session).map(|points| points.iter().copied().collect()).unwrap_or_default()
    }

    /// The share of time that a device was in service, oldest first.
    pub(super) fn of_device(&self, device: &str) -> Vec<f32> {
        self.lock().utilisation.get(device).map(|points| points.iter().copied().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Series> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was counted when numbers were last taken.
#[derive(Debug, Default)]
pub(super) struct Windows {
    samples: HashMap<SessionId, u64>,
    looked: Option<Instant>,
}

impl Windows {
    /// Takes the numbers of the period that ends now.
    pub(super) fn look(&mut self, node: &Node) {
        let seconds =
            self.looked.replace(Instant::now()).map_or(0.0, |before| before.elapsed().as_secs_f64());
        let sessions = node.sessions();
        let mut points = Vec::with_capacity(sessions.len());
        for session in &sessions {
            // Quantiles are taken of a copy: whoever is answered waits for the lock.
            let (observed, forecast) = {
                let live = session.live();
                (live.estimator().observed().clone(), live.forecast())
            };
            let before = self.samples.insert(session.id, observed.seen()).unwrap_or(0);
            let new = observed.seen().saturating_sub(before) as usize;
            let statistic = match session.terms.guarantee() {
                Some((_, Objective { quantile: None, .. })) => {
                    observed.since(new).sum::<f64>() / new.min(observed.count() as usize).max(1) as f64
                }
                Some((_, Objective { quantile: Some(quantile), .. })) => {
                    observed.quantile_of_last(new, quantile)
                }
                None => observed.quantile_of_last(new, 0.99),
            };
            points.push((
                session.id,
                Point {
                    observed_ms: (new > 0).then_some((statistic * 1e3) as f32),
                    predicted_ms: forecast.map(|forecast| (forecast.objective * 1e3) as f32),
                    rate_hz: if seconds > 0.0 { (new as f64 / seconds) as f32 } else { 0.0 },
                },
            ));
        }
        self.samples.retain(|id, _| points.iter().any(|(known, _)| known == id));
        let mut series = node.history.lock();
        series.sessions.retain(|id, _| points.iter().any(|(known, _)| known == id));
        for (session, point) in points {
            push(series.sessions.entry(session).or_default(), point);
        }
        for device in &node.devices {
            let utilisation = device.snapshot().utilisation as f32;
            push(series.utilisation.entry(device.name.clone()).or_default(), utilisation);
        }
    }
}

fn push<T>(points: &mut VecDeque<T>, point: T) {
    if points.len() == POINTS_MAX {
        points.pop_front();
    }
    points.push_back(point);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_keeps_the_newest_points() {
        let mut points = VecDeque::new();
        (0..POINTS_MAX + 3).for_each(|point| push(&mut points, point));
        assert_eq!((points.len(), points.front(), points.back()), (POINTS_MAX, Some(&3), Some(&62)));
    }
}
