//! Lines that have something to run, in the order in which it is their turn.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::queue::Slot;
use crate::round_robin::RoundRobin;
use crate::{Mode, Priority, SessionId};

/// One of the two queues of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Line {
    pub(crate) session: SessionId,
    /// What came beyond the session's terms.
    pub(crate) excess: bool,
}

/// Who is served before whom: guaranteed before best effort, then by the session's priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) best_effort: bool,
    pub(crate) priority: Priority,
}

/// Those that keep one another's parameters on the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Together(u32),
    Alone(SessionId),
}

/// The turn of a line's first slot. No two slots are the same, so the group never decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) class: Class,
    pub(crate) slot: Slot,
    pub(crate) group: Group,
}

/// Where a line belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stand {
    pub(crate) rank: Rank,
    /// What its next start is expected to cost, s.
    pub(crate) cost: f64,
    /// Until when it waits for more to run with.
    pub(crate) held_until: Option<Duration>,
}

/// Who is next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) line: Line,
    /// Requests of its group in a row if it starts; none if it comes before its turn.
    pub(crate) run: Option<u32>,
}

/// All lines that have something to run.
#[derive(Debug)]
pub(crate) struct Ready {
    turns: Turns,
    /// Best effort alone, by the age of the first slot.
    by_age: BTreeSet<(Slot, Line)>,
    /// Those that wait for more, by until when. They are in no other set.
    held: BTreeSet<(Duration, Line)>,
}

#[derive(Debug)]
enum Turns {
    InOrder(InOrder),
    RoundRobin(RoundRobin),
}

/// By rank, but for runs of one group.
#[derive(Debug)]
struct InOrder {
    by_rank: BTreeSet<(Rank, Line)>,
    /// Kept only where there are runs.
    by_group: BTreeSet<(Group, Rank, Line)>,
    run_max: u32,
    /// The group that was started last.
    resident: Option<Group>,
    /// Requests of it in a row, counted while one of another group waits.
    run: u32,
}

impl Line {
    const FIRST: Self = Self { session: 0, excess: false };
}

impl Ready {
    /// Begins anew for a mode: who was ready has to be put in again.
    pub(crate) fn new(mode: Mode) -> Self {
        let turns = match mode {
            Mode::Exclusive { run_max } => Turns::InOrder(InOrder::new(run_max.get())),
            Mode::Concurrent { .. } => Turns::InOrder(InOrder::new(1)),
            Mode::TimeSliced { quantum } => Turns::RoundRobin(RoundRobin::new(quantum.as_secs_f64())),
        };
        Self { turns, by_age: BTreeSet::new(), held: BTreeSet::new() }
    }

    /// A line belongs somewhere else than before; nowhere if it has nothing to run.
    pub(crate) fn place(&mut self, line: Line, before: Option<Stand>, stand: Option<Stand>) {
        if let Some(Stand { rank, held_until, .. }) = before {
            match held_until {
                Some(until) => {
                    self.held.remove(&(until, line));
                }
                None => {
                    self.by_age.remove(&(rank.slot, line));
                    if let Turns::InOrder(order) = &mut self.turns {
                        order.remove(rank, line);
                    }
                }
            }
        }
        match stand {
            Some(Stand { rank, cost, held_until: None }) => {
                if rank.class.best_effort {
                    self.by_age.insert((rank.slot, line));
                }
                match &mut self.turns {
                    Turns::InOrder(order) => order.insert(rank, line),
                    Turns::RoundRobin(robin) => robin.offer(line, rank.class, cost),
                }
            }
            held_or_empty => {
                self.held.extend(held_or_empty.and_then(|stand| Some((stand.held_until?, line))));
                if let Turns::RoundRobin(robin) = &mut self.turns {
                    robin.withdraw(line);
                }
            }
        }
    }

    /// The line whose turn it is.
    pub(crate) fn next(&self) -> Option<Turn> {
        match &self.turns {
            Turns::InOrder(order) => order.next(),
            Turns::RoundRobin(robin) => robin.next().map(|line| Turn { line, run: Some(1) }),
        }
    }

    /// The best-effort line whose first slot has waited longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(Duration, Line)> {
        self.by_age.first().map(|&(slot, line)| (slot.at, line))
    }

    /// Lines that wait for more, and until when, the first first.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Duration, Line)> {
        self.held.iter().copied()
    }

    /// A line that has waited for more for long enough.
    pub(crate) fn ripe(&self, now: Duration) -> Option<Line> {
        self.held.first().filter(|(until, _)| *until <= now).map(|&(_, line)| line)
    }

    /// A line starts something that is expected to cost so much, s. Gives what [`Ready::settle`] asks for.
    pub(crate) fn start(&mut self, turn: Turn, group: Group, cost: f64) -> Option<u64> {
        match &mut self.turns {
            Turns::InOrder(order) => {
                (order.resident, order.run) = (Some(group), turn.run.unwrap_or(1));
                None
            }
            Turns::RoundRobin(robin) => robin.pay(turn.line, turn.run.is_some(), cost),
        }
    }

    /// What it started cost so much more, s.
    pub(crate) fn settle(&mut self, line: Line, paid: Option<u64>, more: f64) {
        if let (Turns::RoundRobin(robin), Some(paid)) = (&mut self.turns, paid) {
            robin.settle(line, paid, more);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let turns = match &self.turns {
            Turns::InOrder(order) => order.by_rank.len() + order.by_group.len(),
            Turns::RoundRobin(robin) => robin.len(),
        };
        turns + self.by_age.len() + self.held.len()
    }
}

impl InOrder {
    fn new(run_max: u32) -> Self {
        Self { by_rank: BTreeSet::new(), by_group: BTreeSet::new(), run_max, resident: None, run: 1 }
    }

    fn insert(&mut self, rank: Rank, line: Line) {
        self.by_rank.insert((rank, line));
        if self.run_max > 1 {
            self.by_group.insert((rank.group, rank, line));
        }
    }

    fn remove(&mut self, rank: Rank, line: Line) {
        self.by_rank.remove(&(rank, line));
        if self.run_max > 1 {
            self.by_group.remove(&(rank.group, rank, line));
        }
    }

    /// As the simulator chooses, so that its predictions hold.
    fn next(&self) -> Option<Turn> {
        let &(first, line) = self.by_rank.first()?;
        let Some(resident) = self.resident.filter(|_| self.run_max > 1) else {
            return Some(Turn { line, run: Some(1) });
        };
        let mut peers = self.by_rank.iter().take_while(|(rank, _)| rank.class == first.class);
        if peers.all(|(rank, _)| rank.group == resident) {
            return Some(Turn { line, run: Some(1) });
        }
        if self.run < self.run_max
            && let Some(again) = self.first_within(resident, first.class)
        {
            return Some(Turn { line: again, run: Some(self.run + 1) });
        }
        let run = if first.group == resident { self.run } else { 1 };
        Some(Turn { line, run: Some(run) })
    }

    /// The first of a group and class.
    fn first_within(&self, group: Group, class: Class) -> Option<Line> {
        let least = Rank { class, slot: Slot { at: Duration::ZERO, arrival: 0 }, group };
        let &(of, rank, line) = self.by_group.range((group, least, Line::FIRST)..).next()?;
        (of == group && rank.class == class).then_some(line)
    }
}
