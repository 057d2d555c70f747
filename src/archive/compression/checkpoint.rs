//! Places in a compressed stream from which decoding can start, and how far apart they are.

use crate::archive::inflate::WINDOW_LEN;
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

/// How far before a checkpoint decoding starts. What it makes on the way is thrown away.
///
/// Deflate refers back 32 KiB at most, but what is referred to was mostly copied from further back
/// itself. So of the window before a run-up little is needed: where SSTables are packed, a tenth of
/// the checkpoint's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunUp {
    /// Bits of compressed data.
    pub bits: u32,
    /// Plain bytes that they make.
    pub plain: u32,
}

impl RunUp {
    /// Compressed bytes at most: blocks of such a length are better started at.
    pub(in crate::archive) const MAX_BYTES: usize = 128 << 10;
    /// Plain bytes at most.
    pub(in crate::archive) const MAX_PLAIN: u64 = 256 << 10;
}

pub(in crate::archive) type Pack = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// A checkpoint, and what an index keeps of how to start there, soon.
pub struct PendingEntry {
    pub checkpoint: Checkpoint,
    /// Where to start.
    pub run_up: RunUp,
    pack: Pack,
    /// What starting at the checkpoint itself takes, if there is a run-up.
    pack_here: Option<Pack>,
}

impl PendingEntry {
    pub(super) fn new(checkpoint: Checkpoint, pack: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        Self { checkpoint, run_up: RunUp::default(), pack: Box::new(pack), pack_here: None }
    }

    /// With a run-up, from whose start `self` tells how to start.
    pub(super) fn with_run_up(mut self, run_up: RunUp, here: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        self.run_up = run_up;
        self.pack_here = Some(Box::new(here));
        self
    }

    /// The same, packed already.
    pub(in crate::archive) fn packed(self) -> Self {
        self.packed_by(|pack| {
            let packed = pack();
            Box::new(move || packed)
        })
    }

    /// The same, packed by who is given the work, and tells how to get at what comes of it.
    pub(in crate::archive) fn packed_by(self, give: impl FnOnce(Pack) -> Pack) -> Self {
        Self { pack: give(self.pack), ..self }
    }

    /// The packed form of the [`Entry`](super::Entry), at the start of the run-up. May take a
    /// fraction of a millisecond; any thread may do it.
    pub fn pack(self) -> Vec<u8> {
        (self.pack)()
    }

    /// The same without a run-up: a pass that goes on from the checkpoint has to start right there.
    pub fn pack_here(self) -> Vec<u8> {
        self.pack_here.unwrap_or(self.pack)()
    }
}

impl fmt::Debug for PendingEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingEntry").field(&self.checkpoint).finish()
    }
}

/// How far apart checkpoints are, in plain bytes.
///
/// Whoever reads a few bytes fetches and decodes a span, so spans are short. But each costs some
/// hundred bytes of the index, or some KiB, so the spacing must grow with the archive: the base
/// follows from the object's size, and doubles as the plain stream grows beyond what that let
/// expect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spacing {
    base: u64,
}

impl Spacing {
    /// The closest, for all but huge archives.
    pub const MIN: u64 = 256 << 10;

    /// An object has at most so many times the spacing. Its plain stream has up to twice as many
    /// before the spacing doubles: some 15 MB of memory for the spans.
    const SPANS: u64 = 96 << 10;

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

    /// How many spans so many plain bytes make, at most, roughly.
    pub fn most_spans(plain: u64) -> u64 {
        (plain / Self::MIN).min(2 * Self::SPANS)
    }

    /// The shortest run-up, plain bytes.
    pub(super) fn run_up(spacing: u64) -> u64 {
        (spacing / 8).min(WINDOW_LEN as u64)
    }

    /// Plain bytes beyond the spacing for which the end of a block is waited for.
    pub(super) fn patience(spacing: u64) -> u64 {
        // Ordinary blocks, of data that hardly has to be packed, reach 1 MiB. A spacing below the
        // closest is for tests.
        if spacing < Self::MIN { spacing / 2 } else { (spacing / 2).max(1 << 20) }
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
        assert_eq!(Spacing::for_object(0).at(0), 256 << 10);
        assert_eq!(Spacing::for_object(1 << 30).at(10 << 30), 256 << 10);
        let huge = Spacing::for_object(200_000_000_000);
        assert_eq!(huge.at(0), 2 << 20);
        assert_eq!(huge.at(300_000_000_000), 2 << 20);
        // A bomb: 10 TB from 10 GB.
        assert_eq!(Spacing::for_object(10 << 30).at(10 << 40), 32 << 20);
        assert_eq!(Spacing::none().at(u64::MAX), u64::MAX);
    }
}
