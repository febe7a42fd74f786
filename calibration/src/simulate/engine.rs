//! The loop: what happens next, and what follows from it.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::arrivals::Gaps;
use super::device::Device;
use super::outcome::Outcome;
use super::policing::Bucket;
use super::requests::{Queue, Request, RequestId, Requests};
use super::scenario::{BACKLOG_MAX, Excess, Scenario};
use super::station::{Speed, Station};
use super::tree::MinTree;
use super::watch::Watch;
use crate::profile::Profile;
use crate::system::Host;

/// Cores that a system has at the least, however busy its host is.
pub const CORES_MIN: f64 = 0.01;

/// Time is counted from a multiple of this, s. A power of two: taking it off an instant that is not before it is exact, so
/// when one session's arrivals come does not depend on when the others' do.
const EPOCH: f64 = 1024.0;

/// Requests that may still arrive while the last that are measured are inside, beyond a quarter of these.
const TAIL: u64 = 1000;

/// A run.
#[derive(Debug)]
pub(super) struct Engine<'a> {
    now: f64,
    requests: Requests,
    sources: Vec<Source<'a>>,
    /// By session: its next arrival.
    arrivals: MinTree<f64>,
    cores: Station,
    bus: Queue,
    /// When all that has come to the bus will be through.
    bus_free: f64,
    device: Device,
    watch: Watch,
    excess: Option<Excess>,
    queue_max: usize,
    /// Requests that have arrived, and how many may.
    arrived: u64,
    arrivals_max: u64,
}

/// Where one session's requests come from.
#[derive(Debug)]
struct Source<'a> {
    gaps: Gaps,
    arrivals: Xoshiro256PlusPlus,
    times: Xoshiro256PlusPlus,
    profile: &'a Profile,
    /// Time of a transfer, s.
    transfer: f64,
    bucket: Option<Bucket>,
    /// Requests let in that have not started on the device.
    ahead: usize,
}

/// What may happen, in the order in which it does at one instant: who leaves makes room for who comes.
#[derive(Clone, Copy)]
enum Event {
    Device,
    Bus,
    Cores,
    Ripe,
    Arrival(usize),
}

impl<'a> Engine<'a> {
    /// The scenario has been checked.
    pub(super) fn new(scenario: &Scenario<'a>) -> Self {
        let system = scenario.system;
        let mut stream = Xoshiro256PlusPlus::seed_from_u64(scenario.seed);
        let mut next_stream = || {
            // 2¹²⁸ numbers further on: streams do not overlap.
            stream.jump();
            stream.clone()
        };
        let sources: Vec<_> = system
            .sessions
            .iter()
            .enumerate()
            .map(|(at, session)| Source {
                gaps: Gaps::new(&scenario.arrivals_of(at)),
                arrivals: next_stream(),
                times: next_stream(),
                profile: &session.profile,
                transfer: system.device.bus.map_or(0.0, |bus| bus.transfer(session.profile.bytes_moved)),
                bucket: scenario.policing.map(|_| Bucket::new(&session.terms)),
                ahead: 0,
            })
            .collect();
        let mut engine = Self {
            now: 0.0,
            requests: Requests::new(),
            arrivals: MinTree::new(sources.len(), f64::INFINITY),
            sources,
            cores: Station::new(Speed::Cores(cores_free(&system.host))),
            bus: Queue::EMPTY,
            bus_free: 0.0,
            device: Device::new(scenario),
            watch: Watch::new(scenario),
            excess: scenario.policing,
            queue_max: scenario.queue_max.get(),
            arrived: 0,
            arrivals_max: scenario.warm_up + scenario.requests + scenario.requests / 4 + TAIL,
        };
        (0..engine.sources.len()).for_each(|session| engine.expect_arrival(session));
        engine
    }

    pub(super) fn run(mut self) -> Outcome {
        loop {
            let (at, event) = self.next();
            let overflown = self.requests.len() >= BACKLOG_MAX;
            if at == f64::INFINITY || overflown || self.watch.is_over() || self.arrived >= self.arrivals_max {
                return self.watch.outcome(self.now, overflown);
            }
            if at < EPOCH {
                self.step(at, event);
            } else {
                self.shift((at / EPOCH).floor() * EPOCH);
            }
        }
    }

    fn step(&mut self, at: f64, event: Event) {
        self.now = at;
        match event {
            Event::Device => self.device_done(),
            Event::Bus => self.bus_done(),
            Event::Cores => self.cores_done(),
            Event::Ripe => {
                self.device.ripen(at, &self.requests);
                self.start();
            }
            Event::Arrival(session) => self.arrive(session),
        }
    }

    fn next(&self) -> (f64, Event) {
        let mut next = (self.device.next(), Event::Device);
        let bus = self.bus.first(&self.requests).map_or(f64::INFINITY, |request| request.queued);
        for (at, event) in
            [(bus, Event::Bus), (self.cores.next(), Event::Cores), (self.device.next_ripe(), Event::Ripe)]
        {
            if at < next.0 {
                next = (at, event);
            }
        }
        match self.arrivals.first() {
            Some((at, session)) if at < next.0 => (at, Event::Arrival(session)),
            _ => next,
        }
    }

    fn expect_arrival(&mut self, session: usize) {
        let source = &mut self.sources[session];
        let gap = source.gaps.next(&mut source.arrivals);
        self.arrivals.set(session, gap.map_or(f64::INFINITY, |gap| self.now + gap));
    }

    fn arrive(&mut self, session: usize) {
        self.expect_arrival(session);
        let number = self.arrived;
        self.arrived += 1;
        self.watch.arrives(self.now, number, session, self.requests.len());

        let source = &mut self.sources[session];
        let cpu_before = source.profile.cpu_before.sample(&mut source.times);
        let service = source.profile.service.sample(&mut source.times);
        let cpu_after = source.profile.cpu_after.sample(&mut source.times);

        let excess = source.bucket.as_mut().is_some_and(|bucket| !bucket.take(self.now));
        if excess && self.excess == Some(Excess::Refuse) {
            return self.watch.refused(number, session);
        }
        if source.ahead >= self.queue_max {
            return self.watch.dropped(number, session);
        }
        source.ahead += 1;
        self.watch.let_in(number, session, excess);
        #[expect(clippy::cast_possible_truncation, reason = "sessions are few")]
        let id = self.requests.insert(Request {
            number,
            session: session as u32,
            excess,
            served: false,
            arrived: self.now,
            queued: self.now,
            service,
            cpu_after,
        });
        if cpu_before > 0.0 {
            self.cores.start(self.now, cpu_before, id);
        } else {
            self.transfer(id);
        }
    }

    fn cores_done(&mut self) {
        if let Some(id) = self.cores.finish() {
            if self.requests.get(id).served { self.leave(id) } else { self.transfer(id) }
        }
    }

    fn transfer(&mut self, id: RequestId) {
        let transfer = self.sources[self.requests.get(id).session as usize].transfer;
        if transfer > 0.0 {
            self.bus_free = self.bus_free.max(self.now) + transfer;
            self.requests.get_mut(id).queued = self.bus_free;
            self.bus.push(&mut self.requests, id);
        } else {
            self.join(id);
        }
    }

    fn bus_done(&mut self) {
        if let Some((id, _)) = self.bus.pop(&mut self.requests, 1) {
            self.join(id);
        }
    }

    fn join(&mut self, id: RequestId) {
        self.device.join(self.now, id, &mut self.requests);
        self.start();
    }

    /// Begins whatever the device has room for.
    fn start(&mut self) {
        while let Some(start) = self.device.start(self.now, &mut self.requests) {
            self.sources[start.session].ahead -= start.size;
            let number = self.requests.get(start.first).number;
            self.watch.started(number, start.session, start.size, start.reload);
            self.watch.in_service(self.now, self.device.in_service());
        }
    }

    fn device_done(&mut self) {
        let mut done = self.device.finish(self.now, &self.requests);
        self.watch.in_service(self.now, self.device.in_service());
        while let Some(id) = done {
            done = self.requests.next(id);
            let request = self.requests.get_mut(id);
            request.served = true;
            let cpu_after = request.cpu_after;
            if cpu_after > 0.0 {
                self.cores.start(self.now, cpu_after, id);
            } else {
                self.leave(id);
            }
        }
        self.start();
    }

    fn leave(&mut self, id: RequestId) {
        let Request { number, session, arrived, .. } = self.requests.remove(id);
        self.watch.completed(number, session as usize, self.now - arrived, self.requests.len());
    }

    /// Counts time from `by` later.
    fn shift(&mut self, by: f64) {
        self.now -= by;
        self.bus_free -= by;
        self.requests.shift(by);
        self.arrivals.map(|at| at - by);
        self.cores.shift(by);
        self.device.shift(by, &self.requests);
        self.watch.shift(by);
        for bucket in self.sources.iter_mut().filter_map(|source| source.bucket.as_mut()) {
            bucket.shift(by);
        }
    }
}

fn cores_free(host: &Host) -> f64 {
    (f64::from(host.cores.get()) - host.busy).max(CORES_MIN)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::simulate::tests::{poisson, system};
    use crate::system::{Mode, System};

    /// When the first session's requests arrive, to the bit.
    fn first_arrivals(system: &System, excess: Option<Excess>) -> Vec<(u64, u64)> {
        let scenario = Scenario { policing: excess, ..Scenario::new(system, 1) };
        let mut engine = Engine::new(&scenario);
        let (mut epoch, mut seen) = (0, Vec::new());
        while seen.len() < 2000 {
            let (at, event) = engine.next();
            if at >= EPOCH {
                epoch += (at / EPOCH) as u64;
                engine.shift((at / EPOCH).floor() * EPOCH);
                continue;
            }
            if let Event::Arrival(0) = event {
                seen.push((epoch, at.to_bits()));
            }
            engine.step(at, event);
        }
        seen
    }

    #[test]
    fn nothing_but_the_seed_changes_when_a_session_s_requests_arrive() {
        let alone = system(Mode::FIRST_COME, [poisson(0.5, 1.0)]);
        let want = first_arrivals(&alone, None);
        assert!(want.last().is_some_and(|&(epoch, _)| epoch >= 3), "over several epochs");
        let width = NonZeroU32::new(2).unwrap();
        let others =
            system(Mode::Concurrent { width }, [poisson(0.5, 0.7), poisson(0.3, 0.2), poisson(7.0, 0.1)]);
        assert_eq!(first_arrivals(&others, None), want);
        assert_eq!(first_arrivals(&others, Some(Excess::Refuse)), want);
    }
}
