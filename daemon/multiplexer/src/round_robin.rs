//! Deficit round robin (Shreedhar and Varghese, *Efficient Fair Queuing Using Deficit Round-Robin*, 1996) in device time.
//!
//! Lines with something to run stand in a ring, one ring per class. A line that is visited earns a quantum, and its first
//! request starts once the deficit covers what it is expected to cost; then it pays, and what it really cost besides when
//! that is known. A line that runs empty leaves the ring and its deficit is forgotten; one that comes back takes the last
//! place. Two lines that always have something to run get device times that differ over any interval by at most a quantum
//! and the longest request of each, if every request costs what was expected.
//!
//! A quantum may be far below the cost of a request. Nobody goes around until it is covered: from the deficit it follows in
//! which round a line will be able to pay, and the next is the one of the earliest such round. Visits in between are
//! credited when the line is looked at again.

use std::collections::{BTreeMap, BTreeSet};

use crate::ready::{Class, Line};

/// Most rounds that a line saves for one request: the longest run does not count beyond 64 bits.
const SAVING_MAX: f64 = (1_u64 << 30) as f64;
/// Shortest quantum, s.
const QUANTUM_MIN: f64 = 1e-6;

/// (class, round, place in the ring): when a line will be able to pay; the least is next.
type Due = (Class, u64, u64);

/// Lines that have something to run, by when they will be able to pay.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    quantum: f64,
    due: BTreeSet<(Due, Line)>,
    savings: BTreeMap<Line, Savings>,
    /// Of each class that has lines.
    rings: BTreeMap<Class, Ring>,
    /// The last place given away.
    place: u64,
}

/// Of one line.
#[derive(Clone, Copy, Debug)]
struct Savings {
    due: Due,
    place: u64,
    /// The round of its first visit that is not yet credited.
    visit: u64,
    /// What it may spend, s.
    deficit: f64,
    /// What its first request is expected to cost, s.
    cost: f64,
}

/// The round, the place visited last, and how many lines there are.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    round: u64,
    place: u64,
    lines: usize,
}

impl RoundRobin {
    pub(crate) fn new(quantum: f64) -> Self {
        Self {
            quantum: quantum.max(QUANTUM_MIN),
            due: BTreeSet::new(),
            savings: BTreeMap::new(),
            rings: BTreeMap::new(),
            place: 0,
        }
    }

    /// The first request of a line will cost so much, s.
    pub(crate) fn offer(&mut self, line: Line, class: Class, cost: f64) {
        if self.savings.get(&line).is_some_and(|savings| savings.due.0 != class) {
            self.withdraw(line);
        }
        let ring = self.rings.entry(class).or_default();
        let savings = self.savings.entry(line).or_insert_with(|| {
            self.place += 1;
            ring.lines += 1;
            let place = self.place;
            Savings { due: (class, 0, place), place, visit: ring.round, deficit: 0.0, cost }
        });
        self.due.remove(&(savings.due, line));
        savings.cost = cost;
        savings.plan(ring, self.quantum);
        self.due.insert((savings.due, line));
    }

    /// A line has nothing to run.
    pub(crate) fn withdraw(&mut self, line: Line) {
        let Some(savings) = self.savings.remove(&line) else { return };
        self.due.remove(&(savings.due, line));
        let class = savings.due.0;
        if let Some(ring) = self.rings.get_mut(&class) {
            ring.lines -= 1;
            if ring.lines == 0 {
                self.rings.remove(&class);
            }
        }
    }

    /// The line whose turn it is, of the best class.
    pub(crate) fn next(&self) -> Option<Line> {
        self.due.first().map(|&(_, line)| line)
    }

    /// A line starts its first request and pays what it is expected to cost, s, whether it is its turn or not. Another
    /// offer or a withdrawal follows. Gives the line's place.
    pub(crate) fn pay(&mut self, line: Line, in_turn: bool, cost: f64) -> Option<u64> {
        let savings = self.savings.get_mut(&line)?;
        let (class, round, place) = savings.due;
        if let Some(ring) = self.rings.get_mut(&class).filter(|_| in_turn) {
            (ring.round, ring.place) = (round, place);
            savings.credit(round + 1, self.quantum);
        }
        savings.deficit -= cost;
        Some(savings.place)
    }

    /// It cost so much more than was expected, s; less, if negative. A line that has left its place since then has left
    /// that behind too.
    pub(crate) fn settle(&mut self, line: Line, place: u64, more: f64) {
        let Some(savings) = self.savings.get_mut(&line).filter(|savings| savings.place == place) else {
            return;
        };
        let Some(ring) = self.rings.get(&savings.due.0) else { return };
        self.due.remove(&(savings.due, line));
        savings.deficit -= more;
        savings.plan(ring, self.quantum);
        self.due.insert((savings.due, line));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.due.len() + self.savings.len() + self.rings.len()
    }
}

impl Savings {
    /// Credits the visits up to a round.
    fn credit(&mut self, before: u64, quantum: f64) {
        let visits = before.saturating_sub(self.visit) as f64;
        self.deficit += visits * quantum;
        self.visit = self.visit.max(before);
    }

    /// When will it be able to pay?
    fn plan(&mut self, ring: &Ring, quantum: f64) {
        let passed = self.place <= ring.place;
        self.credit(ring.round + u64::from(passed), quantum);
        // Its turn lasts as long as it can pay.
        let round = if self.place == ring.place && self.deficit >= self.cost {
            ring.round
        } else {
            let visits = ((self.cost - self.deficit) / quantum).ceil().clamp(1.0, SAVING_MAX);
            self.visit + visits as u64 - 1
        };
        self.due.1 = round;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Priority;

    const CLASS: Class = Class { best_effort: false, priority: Priority::DEFAULT };

    fn line(session: u32) -> Line {
        Line { session, excess: false }
    }

    /// Runs lines that always have something to run, in the order of service.
    fn saturated(quantum: f64, costs: &[f64], served: usize) -> Vec<u32> {
        let mut robin = RoundRobin::new(quantum);
        for (at, &cost) in costs.iter().enumerate() {
            robin.offer(line(at as u32), CLASS, cost);
        }
        (0..served)
            .map(|_| {
                let next = robin.next().unwrap();
                let cost = costs[next.session as usize];
                robin.pay(next, true, cost);
                robin.offer(next, CLASS, cost);
                next.session
            })
            .collect()
    }

    #[test]
    fn a_turn_lasts_as_long_as_the_deficit() {
        // 3 per turn: the first runs three of 1; the second one of 2, then 3 + 1 makes two.
        assert_eq!(saturated(3.0, &[1.0, 2.0], 10), [0, 0, 0, 1, 0, 0, 0, 1, 1, 0]);
    }

    #[test]
    fn saving_for_many_rounds_is_the_same_as_going_around() {
        let costs = [5.0, 3.0, 7.0, 0.5];
        let mut want = Vec::new();
        let mut deficits = [0.0; 4];
        while want.len() < 200 {
            for (line, &cost) in costs.iter().enumerate() {
                deficits[line] += 0.125;
                while deficits[line] >= cost {
                    deficits[line] -= cost;
                    want.push(line as u32);
                }
            }
        }
        want.truncate(200);
        assert_eq!(saturated(0.125, &costs, 200), want);
    }

    #[test]
    fn who_runs_empty_keeps_no_credit_and_rings_without_lines_are_forgotten() {
        let mut robin = RoundRobin::new(10.0);
        robin.offer(line(0), CLASS, 1.0);
        robin.pay(line(0), true, 1.0);
        robin.withdraw(line(0));
        assert_eq!(robin.len(), 0);
        robin.offer(line(1), CLASS, 1.0);
        robin.offer(line(0), CLASS, 1.0);
        assert_eq!(robin.next(), Some(line(1)), "the 9 left do not buy a turn before the others");
    }

    #[test]
    fn what_it_really_cost_is_paid() {
        let mut robin = RoundRobin::new(1.0);
        for at in 0..2 {
            robin.offer(line(at), CLASS, 1.0);
        }
        let place = robin.pay(line(0), true, 1.0).unwrap();
        robin.offer(line(0), CLASS, 1.0);
        robin.settle(line(0), place, 3.0);
        let mut next = Vec::new();
        for _ in 0..5 {
            let line = robin.next().unwrap();
            robin.pay(line, true, 1.0);
            robin.offer(line, CLASS, 1.0);
            next.push(line.session);
        }
        assert_eq!(next, [1, 1, 1, 1, 0], "three rounds pay for what was not expected");
    }

    #[test]
    fn who_comes_back_owes_nothing_for_the_last_time() {
        let mut robin = RoundRobin::new(1.0);
        robin.offer(line(0), CLASS, 1.0);
        let place = robin.pay(line(0), true, 1.0).unwrap();
        robin.withdraw(line(0));
        robin.offer(line(0), CLASS, 1.0);
        robin.offer(line(1), CLASS, 1.0);
        robin.settle(line(0), place, 9.0);
        assert_eq!(robin.next(), Some(line(0)));
    }
}
