//! Deficit round robin (Shreedhar and Varghese, *Efficient Fair Queuing Using Deficit Round-Robin*, 1996) in device time.
//!
//! Lanes with something to run stand in a ring, one ring per rank. A lane that is visited earns a quantum, and its first
//! request starts once the deficit covers what it is expected to cost; then it pays what it really cost. A lane that
//! runs empty leaves the ring and its deficit is forgotten; one that comes back takes the last place.
//!
//! A quantum may be far below the cost of a request, and going around thousands of times for one request would be slow.
//! So nobody goes around: from its deficit it follows in which round a lane will be able to pay, and the next lane is the
//! one of the earliest such round. Visits in between are credited when the lane is looked at again.

use super::tree::MinTree;

/// Most rounds that a lane saves for one request: the longest run does not count beyond 64 bits.
const SAVING_MAX: u64 = 1 << 30;

/// (class, round, place in the ring): when a lane will be able to pay; the least is next.
type Due = (u32, u64, u64);

const NEVER: Due = (u32::MAX, u64::MAX, u64::MAX);

/// Lanes that have something to run, by when they will be able to pay.
#[derive(Debug)]
pub(super) struct RoundRobin {
    quantum: f64,
    due: MinTree<Due>,
    savings: Vec<Savings>,
    rings: Vec<Pointer>,
    /// The last place given away.
    place: u64,
}

/// Of one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Savings {
    /// In its ring; 0 when it is in none.
    place: u64,
    /// The round of its first visit that is not yet credited.
    visit: u64,
    /// What it may spend, s.
    deficit: f64,
}

/// Of one ring: the round, and the place visited last.
#[derive(Clone, Copy, Debug, Default)]
struct Pointer {
    round: u64,
    place: u64,
}

impl Savings {
    /// Credits the visits up to a round.
    fn credit(&mut self, before: u64, quantum: f64) {
        let visits = before.saturating_sub(self.visit) as f64;
        self.deficit += visits * quantum;
        self.visit = self.visit.max(before);
    }
}

impl RoundRobin {
    pub(super) fn new(lanes: usize, classes: usize, quantum: f64) -> Self {
        Self {
            quantum,
            due: MinTree::new(lanes, NEVER),
            savings: vec![Savings::default(); lanes],
            rings: vec![Pointer::default(); classes],
            place: 0,
        }
    }

    /// The first request of a lane will cost so much, s.
    pub(super) fn offer(&mut self, lane: usize, class: u32, cost: f64) {
        let pointer = self.rings[class as usize];
        let savings = &mut self.savings[lane];
        if savings.place == 0 {
            self.place += 1;
            *savings = Savings { place: self.place, visit: pointer.round, deficit: 0.0 };
        }
        let passed = savings.place <= pointer.place;
        savings.credit(pointer.round + u64::from(passed), self.quantum);
        // Its turn lasts as long as it can pay.
        let round = if savings.place == pointer.place && savings.deficit >= cost {
            pointer.round
        } else {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped, and a negative one is 0"
            )]
            let visits = ((cost - savings.deficit) / self.quantum).ceil() as u64;
            savings.visit + visits.clamp(1, SAVING_MAX) - 1
        };
        self.due.set(lane, (class, round, savings.place));
    }

    /// A lane has nothing to run.
    pub(super) fn withdraw(&mut self, lane: usize) {
        self.savings[lane] = Savings::default();
        self.due.clear(lane);
    }

    /// Chooses the next lane.
    pub(super) fn choose(&mut self) -> Option<usize> {
        let ((class, round, place), lane) = self.due.first()?;
        self.rings[class as usize] = Pointer { round, place };
        self.savings[lane].credit(round + 1, self.quantum);
        Some(lane)
    }

    /// The chosen lane pays.
    pub(super) fn pay(&mut self, lane: usize, cost: f64) {
        self.savings[lane].deficit -= cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs lanes that always have something to run; (lane, cost) in the order of service.
    fn saturated(quantum: f64, costs: &[f64], served: usize) -> Vec<usize> {
        let mut robin = RoundRobin::new(costs.len(), 1, quantum);
        for (lane, &cost) in costs.iter().enumerate() {
            robin.offer(lane, 0, cost);
        }
        (0..served)
            .map(|_| {
                let lane = robin.choose().unwrap();
                robin.pay(lane, costs[lane]);
                robin.offer(lane, 0, costs[lane]);
                lane
            })
            .collect()
    }

    #[test]
    fn a_turn_lasts_as_long_as_the_deficit() {
        // 3 per turn: lane 0 runs three of 1; lane 1 runs one of 2, then 3 + 1 makes two.
        assert_eq!(saturated(3.0, &[1.0, 2.0], 10), [0, 0, 0, 1, 0, 0, 0, 1, 1, 0]);
    }

    #[test]
    fn saving_for_many_rounds_is_the_same_as_going_around() {
        let costs = [5.0, 3.0, 7.0, 0.5];
        let mut want = Vec::new();
        let mut deficits = [0.0; 4];
        while want.len() < 200 {
            for (lane, &cost) in costs.iter().enumerate() {
                deficits[lane] += 0.125;
                while deficits[lane] >= cost {
                    deficits[lane] -= cost;
                    want.push(lane);
                }
            }
        }
        want.truncate(200);
        assert_eq!(saturated(0.125, &costs, 200), want);
    }

    #[test]
    fn a_better_rank_goes_first_and_the_turn_goes_on_after_it() {
        let mut robin = RoundRobin::new(3, 2, 10.0);
        robin.offer(0, 1, 4.0);
        robin.offer(1, 1, 4.0);
        let mut order = Vec::new();
        for step in 0..5 {
            if step == 1 {
                robin.offer(2, 0, 4.0);
            }
            let lane = robin.choose().unwrap();
            robin.pay(lane, 4.0);
            match lane {
                2 => robin.withdraw(2),
                lane => robin.offer(lane, 1, 4.0),
            }
            order.push(lane);
        }
        assert_eq!(order, [0, 2, 0, 1, 1]);
    }

    #[test]
    fn who_runs_empty_keeps_no_credit() {
        let mut robin = RoundRobin::new(2, 1, 10.0);
        robin.offer(0, 0, 1.0);
        assert_eq!(robin.choose(), Some(0));
        robin.pay(0, 1.0);
        robin.withdraw(0);
        robin.offer(1, 0, 1.0);
        robin.offer(0, 0, 1.0);
        assert_eq!(robin.choose(), Some(1), "the 9 left do not buy a turn before the others");
    }
}
