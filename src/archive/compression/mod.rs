//! How the tar in an archive is compressed, told by its first bytes, and one decoder for all of the
//! ways.
//!
//! A [`Decoder`] takes compressed bytes in any pieces and hands out the plain ones in [`Segment`]s,
//! with the places from which a later reader can start. How many of these there are is the format's
//! doing: anywhere in a plain tar, every few MiB in a gzip and in lz4 of independent blocks, only
//! at the start of a frame in zstd and in lz4 of linked blocks.

mod checkpoint;
mod format;
mod frames;
pub mod gzip;
mod lz4;
mod probe;
mod stored;
mod stream;
mod zstd;

pub use checkpoint::{Checkpoint, PendingEntry, RunUp, Spacing};
pub(super) use probe::compression_of;
pub use stream::{SEGMENT_LEN, Segment, Summary};

use crate::Result;
use format::{Decode, Format, bad_entry};
use gzip::Helpers;

/// What is around the tar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Compression {
    Gzip,
    Zstd,
    Lz4,
    /// Nothing: a plain tar.
    None,
}

/// In the order of [`Compression`].
const FORMATS: [Format; 4] = [gzip::FORMAT, zstd::FORMAT, lz4::FORMAT, stored::FORMAT];

/// Longest packed checkpoint, bytes.
pub const MAX_PACKED_LEN: usize = gzip::MAX_PACKED_LEN;

impl Compression {
    /// What these first bytes of an archive start, by their magic numbers; `None` when they start
    /// nothing that is read. Whether it really is one, and of a tar, is not looked at.
    pub fn of(first_bytes: &[u8]) -> Option<Self> {
        FORMATS.iter().find(|format| (format.starts)(first_bytes)).map(|format| format.compression)
    }

    /// Plain bytes of the first frame, where its header, which these bytes begin with, says so: few
    /// tools can know.
    pub fn content_size(self, first_bytes: &[u8]) -> Option<u64> {
        /// What says that it is larger than this lies.
        const BELIEVED: u64 = 1 << 56;
        (self.format().content_size)(first_bytes).filter(|&size| size <= BELIEVED)
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        self.format().name
    }

    fn format(self) -> &'static Format {
        &FORMATS[self as usize]
    }
}

/// Decodes a stream of any [`Compression`]. After an error it is of no more use.
#[derive(Debug)]
pub struct Decoder {
    compression: Compression,
    stream: Box<dyn Decode>,
}

impl Decoder {
    /// At the start.
    pub fn new(compression: Compression, spacing: Spacing) -> Self {
        Self { compression, stream: (compression.format().start)(spacing) }
    }

    /// At a checkpoint, with all checks: input goes on with the byte [`Checkpoint::byte`]. `packed`
    /// is what an index keeps of the checkpoint ([`PendingEntry::pack_here`]).
    pub fn resume(checkpoint: &Checkpoint, packed: &[u8], spacing: Spacing) -> Result<Self> {
        let format = format_of(packed)?;
        Ok(Self { compression: format.compression, stream: (format.resume)(checkpoint, packed, spacing)? })
    }

    /// At a checkpoint, for the bytes up to the next one only: there are no further checkpoints,
    /// and what could be checked only at a later end is not.
    pub fn enter(checkpoint: &Checkpoint, packed: &[u8]) -> Result<Self> {
        let format = format_of(packed)?;
        Ok(Self { compression: format.compression, stream: (format.enter)(checkpoint, packed, Spacing::none())? })
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Has other threads help, where the format and a long stream allow it: what is pushed may then
    /// be queued for a while.
    pub fn set_helpers(&mut self, helpers: Helpers) {
        self.stream.set_helpers(helpers);
    }

    /// Decodes some of what is queued, for want of more input. False when nothing is.
    pub fn work(&mut self, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<bool> {
        self.stream.work(out)
    }

    /// Decodes all of `compressed` into segments.
    pub fn push(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        self.stream.push(compressed, out)
    }

    /// The plain bytes of a span of `len` that these compressed bytes hold, after [`Self::enter`].
    /// It may give fewer; whether they are right is for the index's hash to tell.
    pub fn span(mut self, compressed: &[u8], len: usize) -> Result<Vec<u8>> {
        self.stream.span(compressed, len)
    }

    /// Checks that the stream ended where it may. `out` gets what became known of the last
    /// checkpoints.
    pub fn finish(self, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary> {
        self.stream.finish(out)
    }
}

/// The format whose packed checkpoint begins so.
fn format_of(packed: &[u8]) -> Result<&'static Format> {
    let format = packed.first().and_then(|tag| FORMATS.iter().find(|format| format.tags.contains(tag)));
    format.ok_or_else(|| bad_entry(packed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const START: Checkpoint = Checkpoint { bit: 0, plain: 0, member_crc: 0, member_len: 0 };

    #[test]
    fn each_format_has_its_row_and_first_bytes_of_its_own() {
        let mut tags: Vec<u8> = Vec::new();
        for format in &FORMATS {
            assert_eq!(format.compression.name(), format.name);
            tags.extend(format.tags);
        }
        tags.sort_unstable();
        assert_eq!(tags, [0, 1, 2, 3, 4, 5], "a tag is kept for ever: it is in indexes");
        for packed in [&[2][..], &[3], &[4], &gzip::Window::default().pack()] {
            Decoder::enter(&START, packed).unwrap();
            Decoder::resume(&START, packed, Spacing::none()).unwrap();
        }
    }

    #[test]
    fn an_unknown_format_is_not_taken_for_another() {
        for packed in [&[6, 0, 0][..], &[255], &[2, 0], &[3, 1], &[]] {
            let error = Decoder::resume(&START, packed, Spacing::none()).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{packed:?}");
            assert!(error.to_string().starts_with("a checkpoint of the seek index"), "{packed:?}: {error}");
        }
    }
}
