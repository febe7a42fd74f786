//! Which weights are on the chip, followed from run to run by the driver's own rule.
//!
//! libedgetpu remembers one token, and whose weights were brought to the chip under it. Whoever runs with another token
//! makes it forget them all; whoever caches weights that are not there brings them first. Weights are known by who brought
//! them, which for libedgetpu is an operator of an interpreter: of two lanes with one model, each brings its own.

use std::collections::BTreeSet;

use crate::package::Weights;

/// An operator of an interpreter.
type Slot = (u64, usize);

/// What the driver remembers.
#[derive(Debug, Default)]
pub(crate) struct Chip {
    token: u64,
    there: BTreeSet<Slot>,
}

impl Chip {
    /// An interpreter runs its operators. Does it have to wait for weights?
    pub(crate) fn run(&mut self, interpreter: u64, operators: &[Option<Weights>]) -> bool {
        let mut waits = false;
        for (number, operator) in operators.iter().enumerate() {
            // Of a package that could not be read nothing is known; most cache weights under a token of their own.
            let (token, caches) = match operator {
                Some(weights) => (weights.token, weights.caches),
                None => (own_token(interpreter, number), true),
            };
            if token != self.token {
                self.forget();
            }
            if caches && self.there.insert((interpreter, number)) {
                self.token = token;
                waits = true;
            }
        }
        waits
    }

    /// Nothing is known to be there any more.
    pub(crate) fn forget(&mut self) {
        self.token = 0;
        self.there.clear();
    }
}

/// A token that no compiler has given to anybody, for all that one can tell: these are random 64-bit numbers.
fn own_token(interpreter: u64, number: usize) -> u64 {
    u64::MAX - (interpreter << 8) - number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caching(token: u64) -> Vec<Option<Weights>> {
        vec![Some(Weights { cached_bytes: 1000, streamed_bytes: 0, caches: true, token })]
    }

    fn streaming(token: u64) -> Vec<Option<Weights>> {
        vec![Some(Weights { cached_bytes: 0, streamed_bytes: 1000, caches: false, token })]
    }

    /// Runs (interpreter, operators) one after the other: who waits?
    fn waits(runs: &[(u64, &[Option<Weights>])]) -> Vec<bool> {
        let mut chip = Chip::default();
        runs.iter().map(|&(interpreter, operators)| chip.run(interpreter, operators)).collect()
    }

    #[test]
    fn weights_stay_until_another_group_runs() {
        let (a, b) = (caching(1), caching(2));
        let runs: [(u64, &[_]); 6] = [(1, &a), (1, &a), (2, &b), (2, &b), (1, &a), (1, &a)];
        assert_eq!(waits(&runs), [true, false, true, false, true, false]);
    }

    #[test]
    fn a_group_keeps_each_others_weights() {
        let a = caching(7);
        let runs: [(u64, &[_]); 5] = [(1, &a), (2, &a), (1, &a), (2, &a), (1, &a)];
        assert_eq!(waits(&runs), [true, true, false, false, false]);
    }

    #[test]
    fn a_model_that_streams_never_waits_and_still_drops_the_weights_of_others() {
        let (a, streams) = (caching(7), streaming(0));
        let runs: [(u64, &[_]); 5] = [(1, &a), (2, &streams), (2, &streams), (1, &a), (1, &a)];
        assert_eq!(waits(&runs), [true, false, false, true, false]);
        // Compiled together with the others it leaves them alone.
        let together = streaming(7);
        assert_eq!(waits(&[(1, &a), (2, &together), (1, &a)]), [true, false, false]);
    }

    #[test]
    fn operators_of_one_model_under_different_tokens_wait_at_every_run() {
        let both = [caching(1), caching(2)].concat();
        assert_eq!(waits(&[(1, &both), (1, &both)]), [true, true]);
        let one = [caching(1), caching(1)].concat();
        assert_eq!(waits(&[(1, &one), (1, &one)]), [true, false]);
    }

    #[test]
    fn what_cannot_be_read_is_taken_for_a_group_of_its_own() {
        let (a, unknown) = (caching(1), vec![None]);
        let runs: [(u64, &[_]); 5] = [(1, &unknown), (1, &unknown), (2, &a), (1, &unknown), (3, &unknown)];
        assert_eq!(waits(&runs), [true, false, true, true, true]);
    }

    #[test]
    fn after_a_failure_everybody_waits_once() {
        let a = caching(1);
        let mut chip = Chip::default();
        assert!(chip.run(1, &a) && !chip.run(1, &a));
        chip.forget();
        assert!(chip.run(1, &a) && !chip.run(1, &a));
    }
}
