//! The least of many keys that change one at a time.
//!
//! A tournament: every node holds the lesser of its two children. Changing a key climbs one path; there are no stale
//! entries to skip and nothing is allocated. For a handful of keys the path is two or three comparisons, so that one
//! structure serves one session and four thousand.

use std::ops::Range;

/// Keys by index, with the least at hand. Of equal keys the one of the lower index wins.
#[derive(Clone, Debug)]
pub(super) struct MinTree<K> {
    none: K,
    /// Leaves from `leaves` on, children of node n at 2n and 2n + 1, the root at 1.
    nodes: Vec<(K, u32)>,
    leaves: usize,
}

impl<K: Copy + PartialOrd> MinTree<K> {
    /// `len` keys, all of them `none`, which is above every other.
    pub(super) fn new(len: usize, none: K) -> Self {
        let leaves = len.next_power_of_two();
        Self { none, nodes: vec![(none, 0); 2 * leaves], leaves }
    }

    /// The least key and its index; none when there are no keys.
    pub(super) fn first(&self) -> Option<(K, usize)> {
        self.found(self.nodes[1])
    }

    /// The same among the indices of a range.
    pub(super) fn first_within(&self, range: Range<usize>) -> Option<(K, usize)> {
        let mut least = (self.none, 0);
        let (mut from, mut to) = (range.start + self.leaves, range.end + self.leaves);
        while from < to {
            if from % 2 == 1 {
                least = lesser(least, self.nodes[from]);
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                least = lesser(least, self.nodes[to]);
            }
            from /= 2;
            to /= 2;
        }
        self.found(least)
    }

    /// The same among the indices outside a range.
    pub(super) fn first_outside(&self, range: Range<usize>) -> Option<(K, usize)> {
        let before = self.first_within(0..range.start);
        let after = self.first_within(range.end..self.leaves);
        match (before, after) {
            (Some(before), Some(after)) if after.0 < before.0 => Some(after),
            (before, after) => before.or(after),
        }
    }

    /// Sets a key.
    pub(super) fn set(&mut self, index: usize, key: K) {
        let mut node = self.leaves + index;
        #[expect(clippy::cast_possible_truncation, reason = "indices are of sessions")]
        let winner = (key, index as u32);
        self.nodes[node] = winner;
        while node > 1 {
            let (left, right) = (node & !1, node | 1);
            let winner = if self.nodes[right].0 < self.nodes[left].0 { right } else { left };
            node /= 2;
            self.nodes[node] = self.nodes[winner];
        }
    }

    /// Takes a key away.
    pub(super) fn clear(&mut self, index: usize) {
        self.set(index, self.none);
    }

    /// Replaces every key, keeping their order.
    pub(super) fn map(&mut self, to: impl Fn(K) -> K) {
        for (key, _) in &mut self.nodes {
            if *key < self.none {
                *key = to(*key);
            }
        }
    }

    fn found(&self, (key, index): (K, u32)) -> Option<(K, usize)> {
        (key < self.none).then_some((key, index as usize))
    }
}

fn lesser<K: PartialOrd>(left: (K, u32), right: (K, u32)) -> (K, u32) {
    if right.0 < left.0 { right } else { left }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_least_of_every_range_is_what_a_scan_finds(
            len in 1_usize..40,
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..8), 1..60),
            ends in any::<[prop::sample::Index; 2]>(),
        ) {
            let mut tree = MinTree::new(len, 7);
            let mut keys = vec![7; len];
            let mut ends = ends.map(|end| end.index(len + 1));
            ends.sort_unstable();
            let range = ends[0]..ends[1];
            for (index, key) in changes {
                let index = index.index(len);
                tree.set(index, key.min(7));
                keys[index] = key.min(7);
                let scan = |inside: &dyn Fn(usize) -> bool| {
                    (0..len).filter(|&i| inside(i) && keys[i] < 7).map(|i| (keys[i], i)).min()
                };
                prop_assert_eq!(tree.first(), scan(&|_| true));
                let within = tree.first_within(range.clone());
                prop_assert_eq!(within.map(|w| w.0), scan(&|i| range.contains(&i)).map(|s| s.0));
                let outside = tree.first_outside(range.clone());
                prop_assert_eq!(outside.map(|o| o.0), scan(&|i| !range.contains(&i)).map(|s| s.0));
            }
        }
    }
}
