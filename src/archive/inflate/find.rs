//! Where in a deflate stream a block may begin, found without what is before it.
//!
//! Only a dynamic block that is not the last is looked for: nearly all are, and its header says
//! most about itself. A few bits exclude nearly all places, the code length code, which must be
//! complete, nearly all of the others; what is left, [`super::guess`] tries.

use std::array;
use std::sync::LazyLock;

/// Bits of the kind of block and both counts.
const LOOK: u32 = 13;
/// BFINAL 0 and BTYPE 2, lowest bit first.
const DYNAMIC: u64 = 0b100;
/// Counts above these are none of deflate's; they stand for 257 and 1 less.
const MAX_COUNT: u64 = 29;
/// Bits before the code length code's lengths.
const BEFORE_LENGTHS: usize = 17;
/// The longest header up to there, bytes, and what reading eight bytes at any bit may take more.
const MARGIN: usize = 24;

/// For [`LOOK`] bits: how many bits further on a header may begin at the soonest.
static DISTANCES: LazyLock<Box<[u8; 1 << LOOK]>> = LazyLock::new(|| {
    let distance = |bits: usize| (0..LOOK).find(|&at| may_begin(bits as u64 >> at, LOOK - at)).unwrap_or(LOOK) as u8;
    Box::new(array::from_fn(distance))
});

/// For four lengths of three bits: how much of all codes they take, in 128ths.
static SHARES: LazyLock<Box<[u16; 1 << 12]>> = LazyLock::new(|| {
    let share = |len: usize| if len == 0 { 0 } else { 128 >> len };
    Box::new(array::from_fn(|lens| (0..4).map(|at| share(lens >> (3 * at) & 7)).sum()))
});

/// Whether a header may begin with these bits, of which `known` are.
fn may_begin(bits: u64, known: u32) -> bool {
    let kind = known.min(3);
    let counts = [(3, 8), (8, 13)];
    bits & ((1 << kind) - 1) == DYNAMIC & ((1 << kind) - 1)
        && counts.iter().all(|&(from, to)| known < to || (bits >> from & 31) <= MAX_COUNT)
}

/// The first bit from `from` on, and before `end`, at which a dynamic block may begin. What begins
/// right before the end of the bytes is not found.
pub(super) fn candidate(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    let distances = &**DISTANCES;
    let end = end.min(bytes.len().saturating_sub(MARGIN) * 8);
    let mut at = from;
    while at < end {
        let bits = bits(bytes, at);
        let distance = distances[bits as usize % (1 << LOOK)];
        if distance > 0 {
            at += usize::from(distance);
        } else if has_complete_code(bits >> LOOK, self::bits(bytes, at + BEFORE_LENGTHS)) {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// Whether the code length code, which has `count` + 4 lengths, is complete.
fn has_complete_code(count: u64, lens: u64) -> bool {
    let shares = &**SHARES;
    let mut lens = lens & ((1 << (3 * (4 + (count & 15)))) - 1);
    let mut sum = 0;
    for _ in 0..5 {
        sum += shares[lens as usize % (1 << 12)];
        lens >>= 12;
    }
    sum == 128
}

/// At least 57 bits from a bit on.
fn bits(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes[at / 8..].first_chunk().expect("the margin is more");
    u64::from_le_bytes(*eight) >> (at % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quick look against the rule itself, at each bit of arbitrary bytes.
    #[test]
    fn nothing_is_jumped_over() {
        let mut state = 1_u64;
        let bytes: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let is_one = |at: usize| {
            let bits_at = |at: usize, count: usize| {
                (0..count).fold(0, |sum, i| sum | u64::from(bytes[(at + i) / 8] >> ((at + i) % 8) & 1) << i)
            };
            let lens = (0..4 + bits_at(at + 13, 4) as usize).map(|i| bits_at(at + 17 + 3 * i, 3));
            let share: u64 = lens.map(|len| if len == 0 { 0 } else { 128 >> len }).sum();
            bits_at(at, 3) == 0b100 && bits_at(at + 3, 5) < 30 && bits_at(at + 8, 5) < 30 && share == 128
        };
        let end = (bytes.len() - MARGIN) * 8;
        let expected: Vec<_> = (0..end).filter(|&at| is_one(at)).collect();
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = candidate(&bytes, from, usize::MAX) {
            found.push(at);
            from = at + 1;
        }
        assert_eq!(found, expected);
        assert!(found.len() > 10);
        assert_eq!(candidate(&bytes, found[3], found[3]), None);
        assert_eq!(candidate(&[], 0, 100), None);
    }
}
