//! Sets of residues as words of bits, against sets of numbers.

use cipherloom_ir::Residues;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A power of two, residues modulo it, and another of them.
fn sets() -> impl Strategy<Value = (u32, BTreeSet<u32>, u32)> {
    (0u32..12).prop_flat_map(|log| {
        let modulus = 1u32 << log;
        let some = proptest::collection::btree_set(0..modulus, 0..=(modulus as usize).min(96));
        (Just(modulus), some, 0..modulus)
    })
}

fn listed(set: &Residues) -> Vec<u32> {
    set.iter().collect()
}

fn expected(residues: impl Iterator<Item = u32>) -> Vec<u32> {
    residues.collect::<BTreeSet<u32>>().into_iter().collect()
}

proptest! {
    #[test]
    fn every_operation_is_that_of_sets((modulus, numbers, by) in sets()) {
        let set = Residues::of(modulus, numbers.iter().copied());
        prop_assert_eq!(listed(&set), expected(numbers.iter().copied()));
        prop_assert_eq!(set.count(), numbers.len() as u64);
        prop_assert_eq!(set.count_nonzero(), numbers.iter().filter(|r| **r != 0).count() as u64);
        let rotated = set.rotated(by);
        prop_assert_eq!(listed(&rotated), expected(numbers.iter().map(|r| (r + by) % modulus)));
        let mut both = set.clone();
        both.extend(&rotated);
        prop_assert_eq!(listed(&both), expected(numbers.iter().flat_map(|r| [*r, (r + by) % modulus])));
        if modulus > 1 {
            prop_assert_eq!(listed(&set.halved()), expected(numbers.iter().map(|r| r % (modulus / 2))));
            prop_assert_eq!(listed(&set.coarser()), expected(numbers.iter().map(|r| r / 2)));
            prop_assert_eq!([set.halved().modulus(), set.coarser().modulus()], [modulus / 2; 2]);
        }
        for half in (0..modulus.trailing_zeros()).map(|bit| 1 << bit) {
            prop_assert_eq!(listed(&set.without_bit(half)), expected(numbers.iter().map(|r| r & !half)));
        }
    }
}
