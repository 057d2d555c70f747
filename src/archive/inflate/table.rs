//! Tables that turn the next bits into symbols, for the fast loop.
//!
//! An entry is found by as many bits as the table is wide. It holds one symbol with all that is
//! needed to go on, or, where both their codes fit, two literals. Codes longer than the table is
//! wide are left to [`Code`].
#![allow(clippy::inline_always, reason = "parts of the fast loop, which is slower with calls in it")]

use super::BadDeflate;
use super::bits::low_bits;
use super::code::{Code, MAX_SYMBOLS};
use std::sync::LazyLock;

/// Bits that find an entry for literals and lengths. Fewer make pairs of literals rare, more leave
/// no room in the L1 cache.
const LITLEN_WIDTH: usize = 12;
/// Bits that find an entry for distances.
const DISTANCE_WIDTH: usize = 9;

pub(super) const END_OF_BLOCK: u16 = 256;

/// What a symbol above 256 or a distance symbol means: a first value, and how many bits follow to
/// be added to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extra {
    pub(super) base: u16,
    pub(super) bits: u32,
}

impl Extra {
    /// The value, given the bits behind the code.
    pub(super) fn value(self, bits: u64) -> usize {
        usize::from(self.base) + (bits & low_bits(self.bits)) as usize
    }
}

/// RFC 1951, 3.2.5. `None`: 286 and 287 are never used.
pub(super) fn length(symbol: u16) -> Option<Extra> {
    let (base, bits) = match symbol - END_OF_BLOCK - 1 {
        n @ 0..=7 => (3 + n, 0),
        n @ 8..=27 => {
            let bits = n / 4 - 1;
            (3 + ((4 + n % 4) << bits), bits)
        }
        28 => (258, 0),
        _ => return None,
    };
    Some(Extra { base, bits: bits.into() })
}

/// RFC 1951, 3.2.5. `None`: 30 and 31 are never used.
pub(super) fn distance(symbol: u16) -> Option<Extra> {
    let (base, bits) = match symbol {
        0..=3 => (1 + symbol, 0),
        4..=29 => {
            let bits = symbol / 2 - 1;
            (1 + ((2 + symbol % 2) << bits), bits)
        }
        _ => return None,
    };
    Some(Extra { base, bits: bits.into() })
}

/// One or more literals, or a length.
///
/// | bits | literals | a length |
/// |---|---|---|
/// | 0-5 | bits of their codes | bits of its code and its extra bits |
/// | 6-7 | how many they are: 1 or 2 | 0 |
/// | 8-15 | the first | bits of its code; above, [`Self::END`] and [`Self::LONG`] |
/// | 16-24 | the second (16-23) | the base |
/// | 25-29 | | mask of the extra bits |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Litlen(u32);

impl Litlen {
    const END: u32 = 1 << 14;
    const LONG: u32 = 1 << 15;

    fn literal(literal: u16, len: usize) -> Self {
        Self(u32::from(literal) << 8 | 1 << 6 | len as u32)
    }

    fn then(self, next: Self) -> Self {
        let count = self.count() as u32;
        Self((self.0 + (next.0 & 0xff)) | (next.0 >> 8) << (8 + 8 * count))
    }

    fn symbol(symbol: u16, len: usize) -> Self {
        let len = len as u32;
        if symbol < END_OF_BLOCK {
            return Self::literal(symbol, len as usize);
        }
        if symbol == END_OF_BLOCK {
            return Self(Self::END | len << 8 | len);
        }
        match length(symbol) {
            Some(Extra { base, bits }) => {
                Self(((1 << bits) - 1) << 25 | u32::from(base) << 16 | len << 8 | (len + bits))
            }
            None => Self(Self::LONG),
        }
    }

    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 63
    }

    /// The same modulo 64.
    #[inline(always)]
    pub(super) fn raw_bits(self) -> u32 {
        self.0
    }

    /// How many literals it holds; 0: it is none.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        (self.0 >> 6 & 3) as usize
    }

    #[inline(always)]
    pub(super) fn is_literal(self) -> bool {
        self.0 & 0xc0 != 0
    }

    /// As many as [`Self::count`] says are literals.
    #[inline(always)]
    pub(super) fn literals(self) -> [u8; 4] {
        (self.0 >> 8).to_le_bytes()
    }

    #[inline(always)]
    pub(super) fn is_length(self) -> bool {
        self.0 & (0xc0 | Self::END | Self::LONG) == 0
    }

    #[inline(always)]
    pub(super) fn is_long(self) -> bool {
        self.0 & Self::LONG != 0
    }

    #[inline(always)]
    pub(super) fn is_end(self) -> bool {
        self.0 & Self::END != 0
    }

    /// The length, given the bits from its code on.
    #[inline(always)]
    pub(super) fn length(self, bits: u64) -> usize {
        let extra = (bits >> (self.0 >> 8 & 15)) as u32 & self.0 >> 25;
        ((self.0 >> 16 & 0x1ff) + extra) as usize
    }
}

/// A distance. Bits 0-7: bits of its code and its extra bits, 8-15: bits of its code, 16-31: mask
/// of its extra bits, 32-47: its base. All zero: its code is longer, or there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Distance(u64);

impl Distance {
    fn symbol(symbol: u16, len: usize) -> Self {
        match distance(symbol) {
            Some(Extra { base, bits }) => {
                let mask = (1_u64 << bits) - 1;
                Self(u64::from(base) << 32 | mask << 16 | (len as u64) << 8 | (len as u64 + u64::from(bits)))
            }
            None => Self(0),
        }
    }

    #[inline(always)]
    pub(super) fn is_long(self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        (self.0 & 63) as u32
    }

    /// The same modulo 64.
    #[inline(always)]
    pub(super) fn raw_bits(self) -> u32 {
        self.0 as u32
    }

    /// The distance, given the bits from its code on.
    #[inline(always)]
    pub(super) fn distance(self, bits: u64) -> usize {
        let extra = bits >> (self.0 >> 8 & 15) & (self.0 >> 16 & 0xffff);
        ((self.0 >> 32) + extra) as usize
    }
}

/// Everything that a block with Huffman codes is read with.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    pub(super) litlen: Code,
    pub(super) distance: Code,
    litlens: [Litlen; 1 << LITLEN_WIDTH],
    distances: [Distance; 1 << DISTANCE_WIDTH],
}

impl Codes {
    pub(super) fn new(litlen_lens: &[u8], distance_lens: &[u8]) -> Result<Self, BadDeflate> {
        let mut codes = Self {
            litlen: Code::new(litlen_lens, true, BadDeflate("invalid literal/lengths set"))?,
            distance: Code::new(distance_lens, true, BadDeflate("invalid distances set"))?,
            litlens: [Litlen(Litlen::LONG); 1 << LITLEN_WIDTH],
            distances: [Distance(0); 1 << DISTANCE_WIDTH],
        };
        codes.fill();
        Ok(codes)
    }

    pub(super) fn set(&mut self, litlen_lens: &[u8], distance_lens: &[u8]) -> Result<(), BadDeflate> {
        self.litlen = Code::new(litlen_lens, true, BadDeflate("invalid literal/lengths set"))?;
        self.distance = Code::new(distance_lens, true, BadDeflate("invalid distances set"))?;
        self.fill();
        Ok(())
    }

    /// The codes of RFC 1951, 3.2.6.
    pub(super) fn fixed() -> &'static Self {
        static FIXED: LazyLock<Box<Codes>> = LazyLock::new(|| {
            let mut lens = [8; MAX_SYMBOLS];
            lens[144..256].fill(9);
            lens[256..280].fill(7);
            Box::new(Codes::new(&lens, &[5; 32]).expect("the fixed codes are complete"))
        });
        &FIXED
    }

    #[inline(always)]
    pub(super) fn litlen(&self, bits: u64) -> Litlen {
        self.litlens[bits as usize % (1 << LITLEN_WIDTH)]
    }

    #[inline(always)]
    pub(super) fn distance(&self, bits: u64) -> Distance {
        self.distances[bits as usize % (1 << DISTANCE_WIDTH)]
    }

    /// An entry for a code longer than the table is wide. `None`: there is no such code.
    #[cold]
    pub(super) fn long_litlen(&self, bits: u64) -> Option<Litlen> {
        let decoded = self.litlen.longer_than(LITLEN_WIDTH, bits)?;
        let entry = Litlen::symbol(decoded.symbol, decoded.len as usize);
        (entry != Litlen(Litlen::LONG)).then_some(entry)
    }

    /// The same for distances.
    #[cold]
    pub(super) fn long_distance(&self, bits: u64) -> Option<Distance> {
        let decoded = self.distance.longer_than(DISTANCE_WIDTH, bits)?;
        let entry = Distance::symbol(decoded.symbol, decoded.len as usize);
        (!entry.is_long()).then_some(entry)
    }

    /// A table of n bits is that of n - 1 bits twice, but for the codes of n bits.
    fn fill(&mut self) {
        let table = &mut self.litlens;
        table[0] = Litlen(Litlen::LONG);
        let mut singles = [(Litlen(0), 0_usize); 256];
        let mut starts = [0_usize; LITLEN_WIDTH + 2];
        let mut count = 0;
        for len in 1..=LITLEN_WIDTH {
            let half = 1 << (len - 1);
            table.copy_within(..half, half);
            starts[len] = count;
            for (symbol, code) in self.litlen.with_len(len) {
                let entry = Litlen::symbol(symbol, len);
                table[usize::from(code)] = entry;
                if entry.is_literal() {
                    singles[count] = (entry, code.into());
                    count += 1;
                }
            }
            starts[len + 1] = count;
            for first in 1..len {
                for &(a, code) in &singles[starts[first]..starts[first + 1]] {
                    for &(b, next) in &singles[starts[len - first]..starts[len - first + 1]] {
                        table[code | next << first] = a.then(b);
                    }
                }
            }
        }
        let table = &mut self.distances;
        table[0] = Distance(0);
        for len in 1..=DISTANCE_WIDTH {
            let half = 1 << (len - 1);
            table.copy_within(..half, half);
            for (symbol, code) in self.distance.with_len(len) {
                table[usize::from(code)] = Distance::symbol(symbol, len);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_distances_follow_each_other_without_gaps() {
        // 258 has a symbol of its own, and is the last of 284 as well.
        let mut next = 3;
        for symbol in 257..285 {
            let Extra { base, bits } = length(symbol).unwrap();
            assert_eq!(base, next);
            next += 1 << bits;
        }
        assert_eq!((next, length(285)), (259, Some(Extra { base: 258, bits: 0 })));
        let mut next = 1;
        for symbol in 0..30 {
            let Extra { base, bits } = distance(symbol).unwrap();
            assert_eq!(u32::from(base), next);
            next += 1 << bits;
        }
        assert_eq!(next, 32_769);
        assert_eq!([length(286), length(287), distance(30), distance(31)], [None; 4]);
    }

    /// Reads every sequence of bits with the table, and then symbol by symbol.
    #[test]
    fn an_entry_says_what_its_codes_say() {
        let mut lens = [9; 288];
        // 2^-2 + 2 * 2^-4 + 4 * 2^-5 + 256 * 2^-9 = 1
        lens[7] = 2;
        lens[100..102].fill(4);
        lens[255..259].fill(5);
        lens[263..288].fill(0);
        let codes = Codes::new(&lens, &[5; 32]).unwrap();
        let mut pairs = 0;
        for bits in 0..1 << LITLEN_WIDTH {
            let entry = codes.litlen(bits);
            let first = codes.litlen.decode(bits, 15).unwrap();
            if first.symbol > 255 {
                assert_eq!(entry, Litlen::symbol(first.symbol, first.len as usize));
                continue;
            }
            let second = codes.litlen.decode(bits >> first.len, LITLEN_WIDTH as u32 - first.len).ok();
            let second = second.filter(|second| second.symbol < 256);
            assert_eq!(entry.literals()[0], first.symbol as u8);
            assert_eq!(entry.count(), 1 + usize::from(second.is_some()));
            assert_eq!(entry.bits(), first.len + second.map_or(0, |second| second.len));
            if let Some(second) = second {
                assert_eq!(entry.literals()[1], second.symbol as u8);
                pairs += 1;
            }
        }
        assert!(pairs > 500);
    }
}
