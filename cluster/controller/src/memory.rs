//! What a controller remembers of a session besides its status: whom it has asked, and when to ask again. All of it may be
//! lost, as with the process; the next controller then only asks a little sooner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// Rest after every node has refused once; twice as long each further time.
const REST: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(300);
/// Rest even if the cluster has changed meanwhile; twice as long each further time.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MIN_MAX: Duration = Duration::from_secs(30);
/// Wait before a call is made again that got no answer; twice as long each further time.
const TROUBLE: Duration = Duration::from_secs(1);
const TROUBLE_MAX: Duration = Duration::from_secs(30);

/// Of one session.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The generation of the spec that this is about.
    pub generation: i64,
    /// Asking for places.
    pub asking: Round,
    /// Asking for better places than there are.
    pub moving: Round,
    /// Calls that got no answer, by node and generation.
    pub troubles: BTreeMap<(String, i64), Trouble>,
    /// Since when nodes say that the objective is at risk.
    pub risky: BTreeMap<String, Instant>,
    /// Since when nodes do not show the session that they should have.
    pub missing: BTreeMap<String, Instant>,
}

/// Asking one node after the other.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Those that have refused.
    pub tried: BTreeSet<String>,
    /// How many have since the round began.
    pub asked: usize,
    /// Whether the next round goes on where this one has stopped.
    goes_on: bool,
    rest: Option<Rest>,
    rests: u32,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Not before then, whatever has changed.
    least: Instant,
    until: Instant,
    changes: u64,
}

/// A call that got no answer.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Times in a row.
    pub count: u32,
    /// When to call again.
    pub until: Instant,
}

impl Memory {
    /// With another spec, all is asked anew.
    pub fn turn_to(&mut self, generation: i64) {
        if self.generation != generation {
            self.generation = generation;
            self.asking = Round::default();
            self.moving = Round::default();
        }
    }

    /// A call got no answer. How often that was so by now.
    pub fn trouble(&mut self, node: &str, generation: i64, now: Instant) -> u32 {
        let trouble = self.troubles.entry((node.to_owned(), generation));
        let trouble = trouble.or_insert(Trouble { count: 0, until: now });
        trouble.until = now + doubled(TROUBLE, trouble.count, TROUBLE_MAX);
        trouble.count += 1;
        trouble.count
    }

    /// A call got an answer.
    pub fn answered(&mut self, node: &str, generation: i64) {
        self.troubles.remove(&(node.to_owned(), generation));
    }

    /// When the node may be called again; none where now.
    #[must_use]
    pub fn not_before(&self, node: &str, generation: i64, now: Instant) -> Option<Instant> {
        let trouble = self.troubles.get(&(node.to_owned(), generation))?;
        (trouble.until > now).then_some(trouble.until)
    }
}

impl Round {
    /// Whether nodes may be asked; begins anew when a rest is over. `changes` counts up whenever there might be room that
    /// was not there before.
    pub fn may_ask(&mut self, changes: u64, now: Instant) -> bool {
        let Some(rest) = self.rest else { return true };
        let over = now >= rest.until || (changes != rest.changes && now >= rest.least);
        if over {
            self.rest = None;
            self.asked = 0;
            if !self.goes_on {
                self.tried.clear();
            }
        }
        over
    }

    /// A node does not take it.
    pub fn refused(&mut self, node: &str) {
        self.tried.insert(node.to_owned());
        self.asked += 1;
    }

    /// Enough were asked for now, or all: then the next round begins with the first.
    pub fn rest(&mut self, all: bool, changes: u64, now: Instant) {
        self.goes_on = !all;
        let until = now + doubled(REST, self.rests, REST_MAX);
        let least = now + doubled(REST_MIN, self.rests, REST_MIN_MAX);
        self.rest = Some(Rest { least, until, changes });
        self.rests += 1;
    }

    /// Somebody took it.
    pub fn over(&mut self) {
        *self = Self::default();
    }

    /// Whether everybody was asked in vain.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.rest.is_some()
    }

    /// When to look again.
    #[must_use]
    pub fn until(&self, changes: u64) -> Option<Instant> {
        let rest = self.rest?;
        Some(if changes == rest.changes { rest.until } else { rest.until.min(rest.least) })
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_up_to_a_limit_and_a_change_ends_them() {
        let mut now = Instant::now();
        let mut round = Round::default();
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            round.refused("a");
            round.rest(true, 0, now);
            assert!(!round.may_ask(0, now + Duration::from_secs(seconds - 1)), "{seconds}");
            now += Duration::from_secs(seconds);
            assert!(round.may_ask(0, now), "{seconds}");
            assert!(round.tried.is_empty());
        }
        let mut round = Round::default();
        round.refused("a");
        round.rest(false, 0, now);
        assert!(!round.may_ask(1, now), "not at once: many change together");
        assert_eq!(round.until(1), Some(now + REST_MIN));
        assert!(round.may_ask(1, now + REST_MIN));
        assert_eq!((round.tried.len(), round.asked), (1, 0), "it goes on with others");
    }

    #[test]
    fn calls_without_an_answer_become_rarer_and_an_answer_ends_that() {
        let now = Instant::now();
        let mut memory = Memory::default();
        for (count, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30)] {
            assert_eq!(memory.trouble("a", 1, now), count);
            assert_eq!(memory.not_before("a", 1, now), Some(now + Duration::from_secs(seconds)));
        }
        assert_eq!(memory.not_before("a", 2, now), None);
        memory.answered("a", 1);
        assert_eq!(memory.not_before("a", 1, now), None);
    }
}
