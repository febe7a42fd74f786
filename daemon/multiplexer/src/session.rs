//! One session: what it is entitled to, its two queues, and its account.

use std::time::Duration;

use crate::police::Account;
use crate::queue::{Place, Queue, Slot};
use crate::ready::{Class, Group, Line, Rank, Stand};
use crate::{Excess, Priority, Refusal, RequestId, Settings, WorkerId};

/// Shortest and longest time after which a client is told to come again to a queue that is full.
const RETRY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(60));

/// Requests over which their mean service time is taken, about.
const MEAN_OVER: f64 = 16.0;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) worker: WorkerId,
    pub(crate) settings: Settings,
    /// Its worker can run it.
    pub(crate) running: bool,
    pub(crate) closed: bool,
    /// Expected service time, rather too long than too short; none before anything is known.
    pub(crate) service: Option<Duration>,
    /// Mean service time lately, s.
    mean: Option<f64>,
    account: Option<Account>,
    /// Within the terms, and beyond.
    queues: [Queue; 2],
    /// Where its lines stand in the order of all.
    pub(crate) stands: [Option<Stand>; 2],
}

/// What became of a request that arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// It waits, among those beyond the terms or not; another may have had to give way.
    Waits {
        excess: bool,
        place: Place,
        gave_way: Option<RequestId>,
    },
    Refused(Refusal),
}

impl Session {
    pub(crate) fn new(now: Duration, worker: WorkerId, settings: Settings) -> Self {
        Self {
            worker,
            running: false,
            closed: false,
            service: settings.expected,
            mean: settings.expected.map(|expected| expected.as_secs_f64()),
            account: settings.policing.and_then(|policing| Account::new(now, policing)),
            settings,
            queues: [Queue::default(), Queue::default()],
            stands: [None; 2],
        }
    }

    /// Entitled to something else from now on. An account under the same terms goes on.
    pub(crate) fn change(&mut self, now: Duration, settings: Settings) {
        if settings.policing != self.settings.policing {
            self.account = settings.policing.and_then(|policing| Account::new(now, policing));
        }
        self.service = self.service.or(settings.expected);
        self.mean = self.mean.or(settings.expected.map(|expected| expected.as_secs_f64()));
        self.settings = settings;
    }

    pub(crate) fn queue(&self, excess: bool) -> &Queue {
        &self.queues[usize::from(excess)]
    }

    pub(crate) fn queue_mut(&mut self, excess: bool) -> &mut Queue {
        &mut self.queues[usize::from(excess)]
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(Queue::is_empty)
    }

    pub(crate) fn is_best_effort(&self, excess: bool) -> bool {
        excess || !self.settings.guaranteed
    }

    /// Where one of its lines belongs, if it has something to run.
    pub(crate) fn stand(&self, now: Duration, line: Line) -> Option<Stand> {
        let queue = self.queue(line.excess);
        let slot = queue.first_slot().filter(|_| self.running)?;
        // Priority is for what comes at the declared rate: whoever is put back waits for its slot among all.
        let is_due = slot.at <= now;
        let priority = if is_due { self.settings.priority } else { Priority::DEFAULT };
        let class = Class { best_effort: self.is_best_effort(line.excess), priority };
        let rank = Rank { class, slot, group: self.group(line) };
        Some(Stand { rank, cost: self.cost(), held_until: self.held_until(now, queue) })
    }

    pub(crate) fn group(&self, line: Line) -> Group {
        self.settings.group.map_or(Group::Alone(line.session), Group::Together)
    }

    /// What its next start is expected to cost, s; 0 before anything is known.
    pub(crate) fn cost(&self) -> f64 {
        self.mean.unwrap_or(0.0)
    }

    /// Takes note of a service time.
    pub(crate) fn observe(&mut self, service: Duration) {
        let seconds = service.as_secs_f64();
        self.mean = Some(self.mean.map_or(seconds, |mean| mean + (seconds - mean) / MEAN_OVER));
        // A longer time is believed at once, a shorter one little by little.
        self.service = Some(match self.service {
            Some(expected) if service < expected => expected - (expected - service) / 8,
            _ => service,
        });
    }

    pub(crate) fn arrive(
        &mut self,
        now: Duration,
        arrival: u64,
        request: RequestId,
        priority: Priority,
        deadline: Option<Duration>,
    ) -> Arrival {
        if self.closed {
            return Arrival::Refused(Refusal::Closed);
        }
        let excess = match self.account.as_mut().map_or(Ok(()), |account| account.admit(now)) {
            Ok(()) => false,
            Err(retry_after) => match self.settings.policing.map(|policing| policing.excess) {
                Some(Excess::BestEffort) => true,
                _ => return Arrival::Refused(Refusal::Excess { retry_after }),
            },
        };
        let mut gave_way = None;
        if self.waiting() >= self.settings.queue_limit {
            // What is beyond the terms must not keep out what is within.
            gave_way = if excess { None } else { self.queue_mut(true).remove_newest() };
            if gave_way.is_none() {
                if let Some(account) = self.account.as_mut().filter(|_| !excess) {
                    account.give_back();
                }
                return Arrival::Refused(self.full());
            }
        }
        let at = match &mut self.account {
            Some(account) if !excess => account.slot(now),
            _ => now,
        };
        let place = Place { priority, deadline: deadline.unwrap_or(Duration::MAX), arrival };
        self.queue_mut(excess).push(now, Slot { at, arrival }, place, request);
        Arrival::Waits { excess, place, gave_way }
    }

    /// The refusal of a queue that is full.
    pub(crate) fn full(&self) -> Refusal {
        let waiting = u32::try_from(self.waiting()).unwrap_or(u32::MAX);
        let each = self.service.unwrap_or_default();
        Refusal::QueueFull { retry_after: each.saturating_mul(waiting).clamp(RETRY.0, RETRY.1) }
    }

    /// Most requests that leave together.
    pub(crate) fn size_max(&self) -> usize {
        self.settings.batching.map_or(1, |batching| batching.size_max.get() as usize)
    }

    /// Until when requests are kept for others to run with them; none if they are not.
    fn held_until(&self, now: Duration, queue: &Queue) -> Option<Duration> {
        // To a session that is closed nobody comes any more.
        let batching = self.settings.batching.filter(|_| !self.closed)?;
        if queue.len() >= batching.size_max.get() as usize {
            return None;
        }
        Some(queue.oldest()?.saturating_add(batching.delay_max)).filter(|&until| until > now)
    }
}
