//! The device: who waits, who is next, who is in service, and whose parameters are on the chip.
//!
//! Requests wait in lanes: one per session, and one more for what is beyond its terms. All sharing modes are the same
//! station and differ in how many it takes at once and in how the next lane is chosen. The lanes of a reload group lie
//! side by side, so that "of this group" and "of another" are ranges.
//!
//! Parameters go as they do in libedgetpu (`driver/driver.cc`): an inference of another group drops all that is on the
//! chip, and each model loads its own when it next runs. So a session reloads when another group has run since its last
//! inference, and the first of a group that comes in does not reload for the others.

use std::ops::Range;

use super::requests::{Queue, RequestId, Requests};
use super::round_robin::RoundRobin;
use super::scenario::{Excess, Order, Scenario};
use super::service_order::{Place, ServiceOrder};
use super::station::{Speed, Station};
use super::tree::MinTree;
use crate::profile::Batching;
use crate::system::{Mode, Session, Slicing};

/// The device.
#[derive(Debug)]
pub(super) struct Device {
    lanes: Vec<Lane>,
    tenants: Vec<Tenant>,
    /// The lanes of each reload group.
    groups: Vec<Range<usize>>,
    turns: Turns,
    /// By lane: until when its batch waits for more.
    timers: MinTree<f64>,
    station: Station,
    width: usize,
    one_each: bool,
    /// Whether a change of group reloads.
    reloads: bool,
    /// The group that was started last.
    resident: Option<usize>,
    /// How often another group has come in.
    residency: u64,
}

/// Requests of one session and one rank that wait.
#[derive(Debug)]
struct Lane {
    queue: Queue,
    session: usize,
    class: u32,
}

/// What the device knows of a session.
#[derive(Debug)]
struct Tenant {
    /// Of its requests within the terms, and of the others if they have one.
    lanes: Range<usize>,
    group: usize,
    /// The residency of its last inference.
    loaded: u64,
    /// Mean service time, s.
    mean: f64,
    /// Reload overhead, s; 0 where nothing is reloaded.
    overhead: f64,
    batching: Option<Batching>,
    /// From arrival to deadline, s.
    latency: f64,
    in_service: bool,
}

/// How the next lane is chosen.
#[derive(Debug)]
enum Turns {
    InOrder(ServiceOrder, Order),
    RoundRobin(RoundRobin),
}

/// An inference that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// The first request of its batch.
    pub(super) first: RequestId,
    pub(super) session: usize,
    /// How many requests.
    pub(super) size: usize,
    pub(super) reload: bool,
}

impl Device {
    pub(super) fn new(scenario: &Scenario<'_>) -> Self {
        let system = scenario.system;
        let lanes_each = if scenario.policing == Some(Excess::BestEffort) { 2 } else { 1 };
        let group_of = system.groups();
        let mut ranks: Vec<_> = system.sessions.iter().map(|session| session.terms.rank()).collect();
        ranks.sort_unstable();
        ranks.dedup();

        let mut by_group: Vec<usize> = (0..system.sessions.len()).collect();
        by_group.sort_by_key(|&session| group_of[session]);
        let mut lanes_of = vec![0..0; system.sessions.len()];
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut lanes = Vec::new();
        for &session in &by_group {
            let own = lanes.len()..lanes.len() + lanes_each;
            let rank = ranks.partition_point(|&better| better < system.sessions[session].terms.rank());
            // What is beyond the terms ranks below everything.
            for class in [rank, ranks.len()].into_iter().take(lanes_each) {
                #[expect(clippy::cast_possible_truncation, reason = "at most one rank per session")]
                lanes.push(Lane { queue: Queue::EMPTY, session, class: class as u32 });
            }
            match groups.get_mut(group_of[session]) {
                Some(range) => range.end = own.end,
                None => groups.push(own.clone()),
            }
            lanes_of[session] = own;
        }
        let tenant = |(at, session): (usize, &Session)| Tenant {
            lanes: lanes_of[at].clone(),
            group: group_of[at],
            loaded: 0,
            mean: session.profile.service.mean(),
            overhead: system.overhead(session),
            batching: session.profile.batching,
            latency: session.terms.objective.map_or(f64::INFINITY, |objective| objective.latency.get()),
            in_service: false,
        };
        let batching = system.sessions.iter().any(|session| session.profile.batching.is_some());
        let (width, one_each, turns) = sharing(scenario, lanes.len(), ranks.len() + 1);
        Self {
            tenants: system.sessions.iter().enumerate().map(tenant).collect(),
            groups,
            turns,
            timers: MinTree::new(if batching { lanes.len() } else { 0 }, f64::INFINITY),
            station: Station::new(Speed::Curve(system.device.speed_up.clone())),
            width,
            one_each,
            reloads: system.device.on_chip > 0,
            resident: None,
            residency: 1,
            lanes,
        }
    }

    /// When [`Device::finish`] is due.
    pub(super) fn next(&self) -> f64 {
        self.station.next()
    }

    /// When [`Device::ripen`] is due.
    pub(super) fn next_ripe(&self) -> f64 {
        self.timers.first().map_or(f64::INFINITY, |(at, _)| at)
    }

    /// How many inferences are in service.
    pub(super) fn in_service(&self) -> usize {
        self.station.len()
    }

    /// A request has come to the queue.
    pub(super) fn join(&mut self, now: f64, id: RequestId, requests: &mut Requests) {
        requests.get_mut(id).queued = now;
        let request = requests.get(id);
        let tenant = &self.tenants[request.session as usize];
        let lane = tenant.lanes.start + usize::from(request.excess);
        let queue = &mut self.lanes[lane].queue;
        queue.push(requests, id);
        if queue.len == 1 || tenant.batching.is_some() {
            self.refresh(lane, now, requests);
        }
    }

    /// The batch that has waited longest waits no more.
    pub(super) fn ripen(&mut self, now: f64, requests: &Requests) {
        if let Some((_, lane)) = self.timers.first() {
            self.refresh(lane, now, requests);
        }
    }

    /// Ends the inference that is due, and gives its first request.
    pub(super) fn finish(&mut self, now: f64, requests: &Requests) -> Option<RequestId> {
        let first = self.station.finish()?;
        if self.one_each {
            let session = requests.get(first).session as usize;
            self.tenants[session].in_service = false;
            self.refresh_all(self.tenants[session].lanes.clone(), now, requests);
        }
        Some(first)
    }

    /// Begins the next inference, if there is room and anybody has something to run.
    pub(super) fn start(&mut self, now: f64, requests: &mut Requests) -> Option<Start> {
        if self.station.len() >= self.width {
            return None;
        }
        let lane = match &mut self.turns {
            Turns::InOrder(order, _) => order.choose(self.resident.map(|group| &self.groups[group])),
            Turns::RoundRobin(robin) => robin.choose(),
        }?;
        let session = self.lanes[lane].session;
        let tenant = &mut self.tenants[session];
        let most = tenant.batching.map_or(1, |batching| batching.size_max.get() as usize);
        let (first, size) = self.lanes[lane].queue.pop(requests, most)?;
        let left = self.resident.replace(tenant.group).filter(|&left| left != tenant.group);
        self.residency += u64::from(left.is_some());
        let reload = self.reloads && tenant.loaded != self.residency;
        tenant.loaded = self.residency;
        tenant.in_service = true;
        let service = match tenant.batching {
            Some(batching) => batch_time(&batching, size),
            None => requests.get(first).service,
        };
        let service = if reload { service + tenant.overhead } else { service };
        self.station.start(now, service, first);
        if let Turns::RoundRobin(robin) = &mut self.turns {
            robin.pay(lane, service);
            // Those of the group that left cost more from now on.
            if let Some(left) = left {
                self.refresh_all(self.groups[left].clone(), now, requests);
            }
        }
        self.refresh_all(self.tenants[session].lanes.clone(), now, requests);
        Some(Start { first, session, size, reload })
    }

    /// Counts time from `by` later.
    pub(super) fn shift(&mut self, by: f64, requests: &Requests) {
        self.station.shift(by);
        if let Turns::InOrder(order, _) = &mut self.turns {
            order.shift(by);
        }
        for (at, lane) in self.lanes.iter().enumerate() {
            // Computed as `refresh` will compute it, to the bit.
            if let (Some(batching), Some(first)) =
                (self.tenants[lane.session].batching, lane.queue.first(requests))
                && self.timers.first_within(at..at + 1).is_some()
            {
                self.timers.set(at, first.queued + batching.delay_max.get());
            }
        }
    }

    fn refresh_all(&mut self, lanes: Range<usize>, now: f64, requests: &Requests) {
        for lane in lanes {
            self.refresh(lane, now, requests);
        }
    }

    /// Brings up to date whether and where a lane stands among those that have something to run.
    fn refresh(&mut self, at: usize, now: f64, requests: &Requests) {
        let lane = &self.lanes[at];
        let tenant = &self.tenants[lane.session];
        let first = lane.queue.first(requests);
        // A batch waits for more until it is full or its first request has waited long enough.
        let ripe_at = match (tenant.batching, first) {
            (Some(batching), Some(first)) if lane.queue.len < batching.size_max.get() as usize => {
                first.queued + batching.delay_max.get()
            }
            _ => now,
        };
        if tenant.batching.is_some() {
            self.timers.set(at, if ripe_at > now { ripe_at } else { f64::INFINITY });
        }
        let first = first.filter(|_| ripe_at <= now && !(self.one_each && tenant.in_service));
        match (&mut self.turns, first) {
            (Turns::InOrder(order, by), Some(first)) => {
                let deadline = match by {
                    Order::Arrival => f64::NEG_INFINITY,
                    Order::Deadline => first.arrived + tenant.latency,
                };
                order.offer(at, Place { class: lane.class, deadline, queued: first.queued });
            }
            (Turns::RoundRobin(robin), Some(_)) => {
                let service = tenant.batching.map_or(tenant.mean, |batching| {
                    batch_time(&batching, lane.queue.len.min(batching.size_max.get() as usize))
                });
                let stays = self.resident == Some(tenant.group) && tenant.loaded == self.residency;
                robin.offer(at, lane.class, if stays { service } else { service + tenant.overhead });
            }
            (Turns::InOrder(order, _), None) => order.withdraw(at),
            (Turns::RoundRobin(robin), None) => robin.withdraw(at),
        }
    }
}

/// Most in service, whether each session has at most one there, and how the next is chosen.
fn sharing(scenario: &Scenario<'_>, lanes: usize, classes: usize) -> (usize, bool, Turns) {
    let in_order = |run_max| Turns::InOrder(ServiceOrder::new(lanes, run_max), scenario.order);
    match scenario.system.device.mode {
        Mode::Exclusive { run_max } => (1, false, in_order(run_max.get())),
        Mode::Concurrent { width } => (width.get() as usize, false, in_order(1)),
        Mode::TimeSliced(Slicing::Driver) => (usize::MAX, true, in_order(1)),
        Mode::TimeSliced(Slicing::RoundRobin { quantum }) => {
            (1, false, Turns::RoundRobin(RoundRobin::new(lanes, classes, quantum.get())))
        }
    }
}

fn batch_time(batching: &Batching, size: usize) -> f64 {
    let size = size as f64;
    batching.fixed.get() + batching.per_item.get() * size
}
