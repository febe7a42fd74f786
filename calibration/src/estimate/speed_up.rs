//! How requests in service slow one another down.
//!
//! While n are in service, each is served at φ(n)/n of the speed that it has alone. What a request did of its work is the
//! integral of that over its time, so one that ran beside others still tells what it would have taken alone.
//!
//! φ itself is learned from balances: over a while, the work that was finished is Σ φ(n)·Tₙ, where Tₙ is the time with n in
//! service. Each balance moves the curve a little towards fulfilling it (normalised least mean squares: Widrow and Hoff,
//! 1960). The work of a request is its session's mean as measured alone; otherwise any curve would confirm itself.

use crate::system::SpeedUp;

/// Most requests in service together that are told apart.
const TOGETHER_MAX: usize = 64;
/// Requests of one balance.
const BALANCE: u32 = 32;
/// How far one balance moves the curve.
const STEP: f64 = 0.1;

/// Who is in service, and what the device has done.
#[derive(Clone, Debug)]
pub struct Trajectory {
    /// φ(1), φ(2), …
    curve: Vec<f64>,
    in_service: usize,
    since: f64,
    /// Work done for each request that has been in service all along, s.
    work: f64,
    /// Of the present balance: time by requests in service, work finished, and requests.
    times: Vec<f64>,
    finished: f64,
    requests: u32,
    samples: u64,
}

impl Trajectory {
    /// Begins with a curve, nobody in service, and tells apart up to `width` together.
    #[must_use]
    pub fn new(speed_up: &SpeedUp, width: usize) -> Self {
        let width = width.clamp(1, TOGETHER_MAX);
        Self {
            curve: (1..=width).map(|n| speed_up.at(n)).collect(),
            in_service: 0,
            since: 0.0,
            work: 0.0,
            times: vec![0.0; width],
            finished: 0.0,
            requests: 0,
            samples: 0,
        }
    }

    /// A request starts. Returns the work done so far, of which the difference to that at its end is its own.
    pub fn started(&mut self, now: f64) -> f64 {
        self.advance(now);
        self.in_service += 1;
        self.work
    }

    /// A request ends.
    pub fn finished(&mut self, now: f64) -> f64 {
        self.advance(now);
        self.in_service = self.in_service.saturating_sub(1);
        self.work
    }

    /// A request that ended was one of those that take so long alone, s: its part of the balance.
    pub fn completed(&mut self, alone: f64) {
        if alone > 0.0 && alone.is_finite() {
            self.finished += alone;
            self.requests += 1;
            if self.requests >= BALANCE {
                self.settle();
            }
        }
    }

    /// The work of a request that ended is not known: this balance cannot be drawn.
    pub fn lost(&mut self) {
        self.times.fill(0.0);
        (self.finished, self.requests) = (0.0, 0);
    }

    /// Requests in service.
    #[must_use]
    pub fn in_service(&self) -> usize {
        self.in_service
    }

    /// The curve as it is known.
    #[must_use]
    pub fn speed_up(&self) -> SpeedUp {
        SpeedUp::new(self.curve.clone()).unwrap_or_else(|_| SpeedUp::none())
    }

    /// Balances drawn in which several were in service.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    fn advance(&mut self, now: f64) {
        if !now.is_finite() {
            return;
        }
        let passed = now - self.since;
        self.since = now;
        // Written so that NaN is no time.
        if !(passed > 0.0 && self.in_service > 0) {
            return;
        }
        let level = self.in_service.min(self.curve.len());
        self.work += passed * self.curve[level - 1] / self.in_service as f64;
        self.times[level - 1] += passed;
    }

    /// Moves the curve towards the balance, and back to what a curve can be: no step down, none above 1.
    fn settle(&mut self) {
        let together = &self.times[1..];
        let energy: f64 = together.iter().map(|time| time * time).sum();
        let total: f64 = self.times.iter().sum();
        // Too little was together to say anything.
        if energy.sqrt() > 0.05 * total {
            let explained: f64 = self.times.iter().zip(&self.curve).map(|(time, phi)| time * phi).sum();
            let step = STEP * (self.finished - explained) / energy;
            for (phi, time) in self.curve[1..].iter_mut().zip(together) {
                *phi += step * time;
            }
            for n in 1..self.curve.len() {
                self.curve[n] = self.curve[n].clamp(self.curve[n - 1], self.curve[n - 1] + 1.0);
            }
            self.samples += 1;
        }
        self.lost();
    }
}
