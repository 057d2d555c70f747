//! Places in a compressed stream from which decoding can start, and how far apart they are.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place from which decoding can start, given the [`Entry`](super::Entry) that belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Bits of compressed data before it.
    pub bit: u64,
    /// Plain bytes before it.
    pub plain: u64,
    /// CRC-32 of the plain bytes of the gzip member it lies in, up to it; 0 in what is no gzip.
    pub member_crc: u32,
    /// How many plain bytes these are.
    pub member_len: u64,
}

impl Checkpoint {
    /// At a whole byte, where nothing has to be known of what is before it.
    pub(super) fn at_byte(byte: u64, plain: u64) -> Self {
        Self { bit: byte * 8, plain, member_crc: 0, member_len: 0 }
    }

    /// Offset of the compressed byte that holds its first bit: input goes on from there.
    pub fn byte(&self) -> u64 {
        self.bit / 8
    }
}

/// A checkpoint, and what an index keeps of how to start there, soon.
pub struct PendingEntry {
    pub checkpoint: Checkpoint,
    pack: Box<dyn FnOnce() -> Vec<u8> + Send>,
}

impl PendingEntry {
    pub(super) fn new(checkpoint: Checkpoint, pack: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        Self { checkpoint, pack: Box::new(pack) }
    }

    /// The same, packed already.
    pub(in crate::archive) fn packed(self) -> Self {
        let checkpoint = self.checkpoint;
        let packed = self.pack();
        Self::new(checkpoint, move || packed)
    }

    /// The packed form of the [`Entry`](super::Entry). May take a fraction of a millisecond; any
    /// thread may do it.
    pub fn pack(self) -> Vec<u8> {
        (self.pack)()
    }
}

impl fmt::Debug for PendingEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingEntry").field(&self.checkpoint).finish()
    }
}

/// How far apart checkpoints are, in plain bytes.
///
/// A window costs up to ~8 KiB in the index, so the spacing must grow with the archive: the base
/// follows from the object's size, and doubles as the plain stream grows beyond what that let
/// expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spacing {
    base: u64,
}

impl Spacing {
    /// The closest, for all but huge archives.
    pub const MIN: u64 = 2 << 20;

    /// An object is not cut into (many) more spans than this: 300 GB end up at 8 MiB and ~270 MB of
    /// windows.
    const SPANS: u64 = 24 << 10;

    /// The farthest apart: a span is inflated as a whole, into memory.
    const MAX: u64 = 32 << 20;

    /// For an archive whose object is this long, bytes.
    pub fn for_object(size: u64) -> Self {
        let mut base = Self::MIN;
        while base < Self::MAX && size / base > Self::SPANS {
            base *= 2;
        }
        Self { base }
    }

    /// No checkpoints but the one at the start.
    pub const fn none() -> Self {
        Self { base: u64::MAX }
    }

    /// Exactly this base, at least 1 KiB: for tests and measurements.
    pub fn every(bytes: u64) -> Self {
        Self { base: bytes.max(1 << 10) }
    }

    /// The spacing that holds from this plain offset on.
    pub fn at(self, plain: u64) -> u64 {
        let mut spacing = self.base;
        // Each further 2 * SPANS of the current spacing double it, so their number grows with the
        // logarithm only.
        while spacing < Self::MAX && plain / spacing >= 2 * Self::SPANS {
            spacing *= 2;
        }
        spacing
    }
}

/// Where a decoder is, and whether a checkpoint is due there: for those whose places to start from
/// come by themselves.
#[derive(Debug)]
pub(super) struct Progress {
    spacing: Spacing,
    /// Compressed bytes so far.
    pub(super) consumed: u64,
    /// Plain bytes so far.
    pub(super) plain: u64,
    /// Where the last checkpoint was.
    last: Option<(u64, u64)>,
}

impl Progress {
    pub(super) fn new(spacing: Spacing) -> Self {
        Self { spacing, consumed: 0, plain: 0, last: None }
    }

    /// At a checkpoint: it is not told of again.
    pub(super) fn at(checkpoint: &Checkpoint, spacing: Spacing) -> Self {
        let place = (checkpoint.byte(), checkpoint.plain);
        Self { spacing, consumed: place.0, plain: place.1, last: Some(place) }
    }

    /// Plain bytes up to the next checkpoint that is wanted.
    pub(super) fn room(&self) -> u64 {
        let Some((_, plain)) = self.last else { return 0 };
        plain.saturating_add(self.spacing.at(self.plain)).saturating_sub(self.plain)
    }

    /// A checkpoint right here, if one is wanted. A stream that yields hardly anything is cut by
    /// its compressed length.
    pub(super) fn checkpoint(&mut self, packed: impl FnOnce() -> Vec<u8>) -> Option<PendingEntry> {
        let starved = |(consumed, _)| self.consumed - consumed >= self.spacing.at(self.plain).saturating_mul(2);
        if self.room() > 0 && !self.last.is_some_and(starved) {
            return None;
        }
        self.last = Some((self.consumed, self.plain));
        let packed = packed();
        Some(PendingEntry::new(Checkpoint::at_byte(self.consumed, self.plain), move || packed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_grows_so_that_the_index_does_not() {
        assert_eq!(Spacing::for_object(0).at(0), 2 << 20);
        assert_eq!(Spacing::for_object(1 << 30).at(10 << 30), 2 << 20);
        let huge = Spacing::for_object(200_000_000_000);
        assert_eq!(huge.at(0), 8 << 20);
        assert_eq!(huge.at(300_000_000_000), 8 << 20);
        // A bomb: 10 TB from 10 GB.
        assert_eq!(Spacing::for_object(10 << 30).at(10 << 40), 32 << 20);
        assert_eq!(Spacing::none().at(u64::MAX), u64::MAX);
    }
}
