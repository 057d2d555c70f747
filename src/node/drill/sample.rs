//! Token ranges of a table that stand for all of them.

use std::hash::{BuildHasher as _, RandomState};

/// Ranges of equal width that all tokens are divided into.
pub const SLICES: u16 = 4096;
/// Tokens of one.
const WIDTH: u64 = (1 << 63) / (SLICES as u64 / 2);

/// Tokens above `after`, up to and with `to`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TokenRange {
    pub(super) after: i64,
    pub(super) to: i64,
}

/// So many ranges, spread evenly; others with another `seed`.
pub(super) fn ranges(count: u16, seed: u64) -> Vec<TokenRange> {
    let (count, all) = (u64::from(count.clamp(1, SLICES)), u64::from(SLICES));
    let range = |number: u64| {
        let slice = (seed % all + number * all / count) % all;
        // Murmur3 gives no row the smallest token.
        let after = i64::MIN.wrapping_add_unsigned(slice * WIDTH);
        TokenRange { after, to: after.saturating_add_unsigned(WIDTH) }
    };
    (0..count).map(range).collect()
}

/// Another one at each drill, so that in time all rows are read.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranges_are_all_tokens_once() {
        for seed in [0, 7, u64::MAX] {
            let mut all = ranges(SLICES, seed);
            all.sort_by_key(|range| range.after);
            assert_eq!((all[0].after, all.last().unwrap().to), (i64::MIN, i64::MAX));
            assert!(all.is_sorted_by(|one, next| one.to == next.after), "{seed}");
        }
    }

    #[test]
    fn a_few_are_spread_and_differ() {
        let few = ranges(3, 5);
        assert_eq!(few.iter().map(|range| range.after).collect::<std::collections::HashSet<_>>().len(), 3);
        assert_ne!(few, ranges(3, 6));
    }
}
