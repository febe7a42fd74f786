//! Measuring a run.
//!
//! The requests that are measured are cut into consecutive batches. Each batch has its own sketch and so its own mean and
//! quantiles; their spread over the batches gives the standard errors (batch means), which a single long run's own spread
//! does not, since neighbouring requests wait for the same work.

use super::outcome::{Observed, Outcome, StandardErrors};
use super::scenario::Scenario;
use super::sketch::Sketch;

/// Batches of the measured requests.
const BATCHES: u64 = 16;

/// Everything that is measured.
#[derive(Debug)]
pub(super) struct Watch {
    warm_up: u64,
    requests: u64,
    sessions: Vec<Measured>,
    /// Measured requests that are inside.
    open: u64,
    /// The batch under way; [`BATCHES`] when all have arrived.
    batch: u64,
    backlog: Backlog,
    device: Usage,
}

/// Of one session.
#[derive(Clone, Debug, Default)]
struct Measured {
    observed: Observed,
    /// Of the batch under way.
    sojourn: Sketch,
    /// Mean and quantiles, over the batches so far.
    figures: [Spread; 4],
}

/// Mean and variance of a few numbers (Welford).
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

/// The backlog at its lowest, in the first batch and in the one under way.
#[derive(Clone, Copy, Debug, Default)]
struct Backlog {
    first: usize,
    current: usize,
}

/// How much the device was used while it was watched.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    watched: bool,
    since: f64,
    in_service: usize,
    span: f64,
    busy: f64,
    area: f64,
}

impl Watch {
    pub(super) fn new(scenario: &Scenario<'_>) -> Self {
        Self {
            warm_up: scenario.warm_up,
            requests: scenario.requests,
            sessions: vec![Measured::default(); scenario.system.sessions.len()],
            open: 0,
            batch: 0,
            backlog: Backlog::default(),
            device: Usage::default(),
        }
    }

    /// Whether all that is measured has arrived and gone.
    pub(super) fn is_over(&self) -> bool {
        self.batch == BATCHES && self.open == 0
    }

    /// The request of this number arrives and finds so many inside.
    pub(super) fn arrives(&mut self, now: f64, number: u64, session: usize, inside: usize) {
        if number == self.warm_up {
            self.device.account(now);
            self.device.watched = true;
            self.backlog = Backlog { first: inside, current: inside };
        }
        while self.batch < BATCHES && number >= self.warm_up + self.requests * (self.batch + 1) / BATCHES {
            self.end_batch(inside);
        }
        if self.batch == BATCHES {
            self.device.account(now);
            self.device.watched = false;
        }
        self.count(number, session, |observed| observed.arrived += 1);
    }

    pub(super) fn refused(&mut self, number: u64, session: usize) {
        self.count(number, session, |observed| observed.refused += 1);
    }

    pub(super) fn dropped(&mut self, number: u64, session: usize) {
        self.count(number, session, |observed| observed.dropped += 1);
    }

    pub(super) fn let_in(&mut self, number: u64, session: usize, excess: bool) {
        self.open += u64::from(self.is_measured(number));
        self.count(number, session, |observed| {
            observed.inside += 1;
            observed.demoted += u64::from(excess);
        });
    }

    /// An inference began, of which this is the first request.
    pub(super) fn started(&mut self, number: u64, session: usize, size: usize, reload: bool) {
        self.count(number, session, |observed| {
            observed.inferences += 1;
            observed.batched += size as u64;
            observed.reloads += u64::from(reload);
        });
    }

    /// So many are in service from now on.
    pub(super) fn in_service(&mut self, now: f64, in_service: usize) {
        self.device.account(now);
        self.device.in_service = in_service;
    }

    /// A request leaves so many behind.
    pub(super) fn completed(&mut self, number: u64, session: usize, sojourn: f64, inside: usize) {
        if self.batch < BATCHES {
            self.backlog.current = self.backlog.current.min(inside);
        }
        if self.is_measured(number) {
            self.open -= 1;
            let measured = &mut self.sessions[session];
            measured.observed.inside -= 1;
            measured.observed.completed += 1;
            measured.sojourn.record(sojourn);
        }
    }

    /// Counts time from `by` later.
    pub(super) fn shift(&mut self, by: f64) {
        self.device.since -= by;
    }

    /// The run is over; it may have ended with a backlog beyond all bounds.
    pub(super) fn outcome(mut self, now: f64, overflown: bool) -> Outcome {
        self.device.account(now);
        for measured in &mut self.sessions {
            measured.end_batch();
        }
        let device = self.device;
        let share = |time: f64| if device.span > 0.0 { time / device.span } else { 0.0 };
        let stable = !overflown && self.keeps_up();
        let sessions = self.sessions.into_iter().map(Measured::into_observed).collect();
        Outcome { sessions, utilisation: share(device.busy), in_service: share(device.area), stable }
    }

    fn is_measured(&self, number: u64) -> bool {
        number.wrapping_sub(self.warm_up) < self.requests
    }

    fn count(&mut self, number: u64, session: usize, what: impl FnOnce(&mut Observed)) {
        if self.is_measured(number) {
            what(&mut self.sessions[session].observed);
        }
    }

    fn end_batch(&mut self, inside: usize) {
        // The last one goes on until all that is measured is done.
        if self.batch + 1 < BATCHES {
            for measured in &mut self.sessions {
                measured.end_batch();
            }
            if self.batch == 0 {
                self.backlog.first = self.backlog.current;
            }
            self.backlog.current = inside;
        }
        self.batch += 1;
    }

    fn keeps_up(&self) -> bool {
        let total =
            |of: fn(&Observed) -> u64| self.sessions.iter().map(|s| of(&s.observed)).sum::<u64>() as f64;
        let arrived = total(|observed| observed.arrived);
        let growth = self.backlog.current.saturating_sub(self.backlog.first) as f64;
        total(|observed| observed.dropped) + growth <= arrived.sqrt() + arrived / 500.0
    }
}

impl Measured {
    fn end_batch(&mut self) {
        let sketch = &self.sojourn;
        if sketch.count() == 0 {
            return;
        }
        let figures = [sketch.mean(), sketch.quantile(0.5), sketch.quantile(0.95), sketch.quantile(0.99)];
        for (spread, figure) in self.figures.iter_mut().zip(figures) {
            spread.add(figure);
        }
        self.observed.sojourn.merge(sketch);
        self.sojourn.clear();
    }

    fn into_observed(self) -> Observed {
        let [mean, p50, p95, p99] = self.figures.map(Spread::standard_error);
        Observed { errors: StandardErrors { mean, p50, p95, p99 }, ..self.observed }
    }
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    fn standard_error(self) -> f64 {
        if self.count < 2.0 {
            return f64::INFINITY;
        }
        (self.squares / (self.count - 1.0) / self.count).sqrt()
    }
}

impl Usage {
    fn account(&mut self, now: f64) {
        let time = now - self.since;
        self.since = now;
        if self.watched {
            self.span += time;
            if self.in_service > 0 {
                self.busy += time;
            }
            let in_service = self.in_service as f64;
            self.area += in_service * time;
        }
    }
}
