//! A multiplexer with a hand on its clock, and a device that runs what it says.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU32;
use std::time::Duration;

use edgemux_multiplexer::{
    Action, Batching, Event, Excess, Mode, Multiplexer, Policing, Priority, Refusal, RequestId, SessionId,
    Settings,
};

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

pub fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

pub fn runs_of(run_max: u32) -> Mode {
    Mode::Exclusive { run_max: number(run_max) }
}

pub fn concurrent(width: u32) -> Mode {
    Mode::Concurrent { width: number(width) }
}

pub fn guaranteed() -> Settings {
    Settings {
        queue_limit: 100_000,
        guaranteed: true,
        priority: Priority::DEFAULT,
        policing: None,
        group: None,
        batching: None,
        expected: None,
    }
}

pub fn best_effort() -> Settings {
    Settings { guaranteed: false, ..guaranteed() }
}

pub fn policed(rate_hz: f64, burst: f64, excess: Excess) -> Settings {
    Settings { policing: Some(Policing { rate_hz, burst, excess }), ..guaranteed() }
}

pub fn batched(size_max: u32, delay_max: Duration) -> Settings {
    Settings { batching: Some(Batching { size_max: number(size_max), delay_max }), ..guaranteed() }
}

/// The dispatch of one request alone where one runs at a time.
pub fn starts(request: RequestId) -> Action {
    Action::Dispatch { request, lane: 0, more: false }
}

/// The dispatch of requests that run together.
pub fn starts_together(lane: usize, requests: &[RequestId]) -> Vec<Action> {
    let last = requests.len();
    let dispatch = |(at, &request)| Action::Dispatch { request, lane, more: at + 1 < last };
    requests.iter().enumerate().map(dispatch).collect()
}

#[derive(Default)]
pub struct Bench {
    pub multiplexer: Multiplexer,
    pub now: Duration,
}

/// What a request got from a device that runs what the multiplexer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub request: RequestId,
    pub session: SessionId,
    pub arrived: Duration,
    pub started: Duration,
    pub ended: Duration,
    /// It came beyond its session's terms.
    pub excess: bool,
}

impl Bench {
    /// Sessions 0, 1, …, two to a worker, that can run.
    pub fn new(mode: Mode, sessions: &[Settings]) -> Self {
        let mut bench = Self { multiplexer: Multiplexer::new(mode), now: Duration::ZERO };
        for (session, &settings) in (0..).zip(sessions) {
            bench.tell(Event::Added { session, worker: session / 2, settings });
            bench.tell(Event::Resumed(session));
        }
        bench
    }

    pub fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.multiplexer.handle(self.now, event, &mut actions);
        actions
    }

    pub fn arrive(&mut self, request: RequestId, session: SessionId) -> Vec<Action> {
        self.arrive_with(request, session, 0, None)
    }

    pub fn arrive_with(
        &mut self,
        request: RequestId,
        session: SessionId,
        priority: u32,
        deadline_ms: Option<u64>,
    ) -> Vec<Action> {
        let deadline = deadline_ms.map(ms);
        self.tell(Event::Arrived { request, session, priority: Priority::new(priority), deadline })
    }

    /// The end of a request that took long enough not to be worth handing over ahead of time.
    pub fn finish(&mut self, request: RequestId) -> Vec<Action> {
        self.finish_after(request, ms(5))
    }

    pub fn finish_after(&mut self, request: RequestId, service: Duration) -> Vec<Action> {
        self.tell(Event::Finished { request, service: Some(service) })
    }

    pub fn on_device(&self) -> Vec<RequestId> {
        self.multiplexer.on_device().collect()
    }

    /// Ends what is on the device, one after the other, until nothing more starts; the order of what started.
    pub fn run_down(&mut self) -> Vec<RequestId> {
        let mut order = Vec::new();
        while let Some(&request) = self.on_device().first() {
            for action in self.finish(request) {
                if let Action::Dispatch { request, .. } = action {
                    order.push(request);
                }
            }
        }
        order
    }

    /// Runs requests 0, 1, … that arrive at these times, in order, until all are done with. `service` says how long so
    /// many requests of a session take together. Who leaves makes room for who comes at the same moment.
    pub fn run(
        &mut self,
        arrivals: &[(Duration, SessionId)],
        mut service: impl FnMut(SessionId, usize) -> Duration,
    ) -> Run {
        let mut run = Run::default();
        let mut ends = BinaryHeap::new();
        let mut members: BTreeMap<RequestId, (Vec<RequestId>, Duration, Duration)> = BTreeMap::new();
        let mut excess = std::collections::HashSet::new();
        let mut next = 0;
        loop {
            let arrival = arrivals.get(next).map_or(Duration::MAX, |&(at, _)| at);
            let wake = self.multiplexer.wake_at().unwrap_or(Duration::MAX);
            let end = ends.peek().map_or(Duration::MAX, |&Reverse((at, _))| at);
            let at = end.min(wake).min(arrival);
            if at == Duration::MAX {
                return run;
            }
            self.now = self.now.max(at);
            let actions = if end == at {
                let Some(Reverse((_, leader))) = ends.pop() else { return run };
                let (requests, started, took) = members.remove(&leader).unwrap_or_default();
                for request in requests {
                    let (arrived, session) = arrivals[request as usize];
                    let excess = excess.contains(&request);
                    run.served.push(Served { request, session, arrived, started, ended: at, excess });
                }
                self.finish_after(leader, took)
            } else if wake == at {
                self.tell(Event::Woken)
            } else {
                next += 1;
                self.arrive((next - 1) as RequestId, arrivals[next - 1].1)
            };
            let mut batch = Vec::new();
            for action in actions {
                match action {
                    Action::Dispatch { request, more, .. } => {
                        batch.push(request);
                        if !more {
                            let took = service(arrivals[batch[0] as usize].1, batch.len());
                            ends.push(Reverse((self.now + took, batch[0])));
                            members.insert(batch[0], (std::mem::take(&mut batch), self.now, took));
                        }
                    }
                    Action::Demoted(request) => {
                        excess.insert(request);
                    }
                    Action::Refuse(request, refusal) => run.refused.push((request, refusal)),
                    Action::Expire(_) | Action::Drained(_) => {}
                }
            }
        }
    }
}

/// What became of requests, in the order in which it did.
#[derive(Debug, Default)]
pub struct Run {
    pub served: Vec<Served>,
    pub refused: Vec<(RequestId, Refusal)>,
}

impl Run {
    /// Of one session, in the order of arrival.
    pub fn of(&self, session: SessionId) -> Vec<Served> {
        let mut its: Vec<_> =
            self.served.iter().copied().filter(|served| served.session == session).collect();
        its.sort_by_key(|served| served.request);
        its
    }
}

impl Served {
    pub fn sojourn(&self) -> Duration {
        self.ended - self.arrived
    }
}

/// A stream of pseudo-random numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// In (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Poisson arrivals, at whole nanoseconds.
    pub fn poisson(&mut self, rate_hz: f64, count: usize) -> Vec<Duration> {
        let mut at = Duration::ZERO;
        let mut gap = || Duration::from_secs_f64(-self.unit().ln() / rate_hz);
        std::iter::repeat_with(|| {
            at += gap();
            at
        })
        .take(count)
        .collect()
    }
}

/// The arrivals of sessions 0, 1, … in the order of time.
pub fn merge(of_sessions: &[Vec<Duration>]) -> Vec<(Duration, SessionId)> {
    let each = (0..).zip(of_sessions);
    let mut all: Vec<_> =
        each.flat_map(|(session, times)| times.iter().map(move |&at| (at, session))).collect();
    all.sort_unstable();
    all
}
