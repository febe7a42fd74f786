//! From who is next to who runs.

use std::time::Duration;

use crate::in_service::Running;
use crate::ready::{Line, Turn};
use crate::{
    AHEAD_MAX, AHEAD_REQUESTS_MAX, Action, BEST_EFFORT_PERIOD, Mode, Multiplexer, STARVATION_BOUND, SessionId,
};

impl Multiplexer {
    /// Starts whoever is next while there is room; those found expired on the way are answered so.
    pub(crate) fn dispatch(&mut self, actions: &mut Vec<Action>) {
        while let Some(line) = self.ready.ripe(self.now) {
            self.place(line.session);
        }
        while let Some(turn) = self.next() {
            let Some(lane) = self.lane_for(turn) else { return };
            if !self.expire_first(turn.line, actions) {
                self.start(turn, lane, actions);
            }
        }
    }

    /// The next moment at which [`crate::Event::Woken`] changes anything: a batch has waited for long enough, or best
    /// effort has. None while whatever may start next is waiting for the device.
    pub fn wake_at(&self) -> Option<Duration> {
        if self.fenced {
            return None;
        }
        let can_start = |line, run| self.lane_for(Turn { line, run }).is_some();
        let held = self.ready.held().find(|&(_, line)| can_start(line, Some(1))).map(|(until, _)| until);
        let late = self.ready.oldest().filter(|&(_, line)| can_start(line, None));
        let late = late.map(|(since, _)| self.rescue_at(since));
        held.into_iter().chain(late).min()
    }

    fn next(&self) -> Option<Turn> {
        let turn = self.ready.next().filter(|_| !self.fenced)?;
        let late = self.ready.oldest().filter(|&(since, line)| {
            let needs_it = line != turn.line || self.lane_for(turn).is_none();
            needs_it && self.rescue_at(since) <= self.now && !self.keeps_best_effort_out()
        });
        Some(late.map_or(turn, |(_, line)| Turn { line, run: None }))
    }

    /// When best effort that has waited since then is served before its turn.
    fn rescue_at(&self, since: Duration) -> Duration {
        let again = self.rescued.map_or(Duration::ZERO, |before| before.saturating_add(BEST_EFFORT_PERIOD));
        since.saturating_add(STARVATION_BOUND).max(again)
    }

    /// Beside guaranteed sessions one best-effort request, or batch, is in service at a time.
    fn keeps_best_effort_out(&self) -> bool {
        self.guaranteed > 0 && self.in_service.has_best_effort()
    }

    /// The lane on which it may start now.
    fn lane_for(&self, turn: Turn) -> Option<usize> {
        let state = self.sessions.get(&turn.line.session)?;
        if self.in_service.is_empty() {
            return Some(0);
        }
        let best_effort = state.is_best_effort(turn.line.excess) && self.guaranteed > 0;
        match self.mode {
            // Predictions count one best-effort request that is there when a guaranteed one comes, and none that comes
            // while one is there; but for those that have waited for too long.
            _ if best_effort && (turn.run.is_some() || self.keeps_best_effort_out()) => None,
            Mode::Concurrent { width } if self.in_service.starts() < width.get() as usize => {
                Some(self.in_service.lowest_free_lane())
            }
            Mode::Exclusive { run_max } if !best_effort => {
                self.is_worth_handing_ahead(turn.line, run_max.get() > 1).then_some(0)
            }
            _ => None,
        }
    }

    /// Does the worker have so little to do that the next request is better with it already?
    fn is_worth_handing_ahead(&self, line: Line, same_group: bool) -> bool {
        let expected = |session: SessionId| {
            let state = self.sessions.get(&session)?;
            let alone = state.settings.batching.is_none();
            let service = state.service.filter(|_| alone)?;
            Some((state.worker, service, state.group(Line { session, ..line })))
        };
        let Some((worker, service, group)) = expected(line.session) else { return false };
        let held = self.in_service.iter().try_fold(service, |held, running| {
            let (with, service, of) = expected(running.line.session)?;
            let fits = running.lane == 0 && with == worker && (of == group || !same_group);
            fits.then(|| held.saturating_add(service))
        });
        !self.in_service.has_batches()
            && self.in_service.starts() < AHEAD_REQUESTS_MAX
            && held.is_some_and(|held| held <= AHEAD_MAX)
    }

    /// Answers the best request of a line if it has expired; the others keep the slots.
    fn expire_first(&mut self, line: Line, actions: &mut Vec<Action>) -> bool {
        let Some(state) = self.sessions.get_mut(&line.session) else { return false };
        let queue = state.queue_mut(line.excess);
        let Some((place, request)) = queue.first().filter(|(place, _)| place.deadline <= self.now) else {
            return false;
        };
        queue.remove(place);
        self.waiting.remove(&request);
        actions.push(Action::Expire(request));
        self.place(line.session);
        self.report_drained(line.session, actions);
        true
    }

    /// Starts the best request of a line, and those that run together with it.
    fn start(&mut self, turn: Turn, lane: usize, actions: &mut Vec<Action>) {
        let Turn { line, run } = turn;
        let Some(state) = self.sessions.get_mut(&line.session) else { return };
        if run.is_none() {
            self.rescued = Some(self.now);
        }
        let (size_max, cost) = (state.size_max(), state.cost());
        let best_effort = state.is_best_effort(line.excess);
        let paid = self.ready.start(turn, state.group(line), cost);
        let queue = state.queue_mut(line.excess);
        let mut leader = None;
        let mut size = 0;
        while size < size_max
            && let Some((place, request)) = queue.first()
        {
            self.waiting.remove(&request);
            // Whoever has expired by now is of no use in a batch either.
            if place.deadline <= self.now {
                queue.remove(place);
                actions.push(Action::Expire(request));
                continue;
            }
            queue.take_first();
            let leader = *leader.get_or_insert(request);
            self.in_service.push(Running { request, leader, line, lane, best_effort, cost, paid });
            size += 1;
        }
        for (left, running) in (0..size).rev().zip(self.in_service.last(size)) {
            actions.push(Action::Dispatch { request: running.request, lane, more: left > 0 });
        }
        self.place(line.session);
    }
}
