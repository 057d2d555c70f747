//! The compressed bytes as bits, lowest first.

/// Bits of consumed bytes that are not used yet. They outlive a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hold {
    /// The next bit is the lowest; those above `count` are zero (but within the fast loop).
    pub(super) bits: u64,
    /// At most 63.
    pub(super) count: u32,
}

/// The held bits, and the input of one call behind them.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    pub(super) hold: Hold,
    pub(super) input: &'a [u8],
    /// Bytes of the input that were moved to `hold`.
    pub(super) at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(hold: Hold, input: &'a [u8]) -> Self {
        Self { hold, input, at: 0 }
    }

    /// Holds as many whole bytes as fit, or all that are left.
    pub(super) fn fill(&mut self) {
        while self.hold.count < 56 {
            let Some(&byte) = self.input.get(self.at) else { return };
            self.hold.bits |= u64::from(byte) << self.hold.count;
            self.hold.count += 8;
            self.at += 1;
        }
    }

    /// The next `count` (at most 32) bits, not used yet; `None` when the input ends before.
    pub(super) fn peek(&mut self, count: u32) -> Option<u32> {
        if self.hold.count < count {
            self.fill();
        }
        (self.hold.count >= count).then(|| (self.hold.bits & low_bits(count)) as u32)
    }

    /// Uses `count` held bits up.
    pub(super) fn skip(&mut self, count: u32) {
        self.hold.bits >>= count;
        self.hold.count -= count;
    }

    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let bits = self.peek(count)?;
        self.skip(count);
        Some(bits)
    }

    /// Drops the rest of a byte that is used in part.
    pub(super) fn align(&mut self) {
        self.skip(self.hold.count % 8);
    }

    /// Gives whole held bytes back to the input, as far as they came from this one.
    pub(super) fn unfill(&mut self) {
        let bytes = (self.hold.count as usize / 8).min(self.at);
        self.at -= bytes;
        self.hold.count -= bytes as u32 * 8;
        self.hold.bits &= low_bits(self.hold.count);
    }
}

/// A mask of this many (at most 63) bits.
pub(super) fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}
