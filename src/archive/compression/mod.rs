//! How the tar in an archive is compressed, told by its first bytes, and one decoder for all of the ways.
//!
//! A [`Decoder`] takes compressed bytes in any pieces and hands out the plain ones in [`Segment`]s,
//! with the places from which a later reader can start. How many of these there are is the format's
//! doing: anywhere in a plain tar, every few MiB in a gzip and in lz4 of independent blocks, only
//! at the start of a frame in zstd and in lz4 of linked blocks.

mod checkpoint;
mod entry;
pub mod gzip;
mod lz4;
mod probe;
mod stored;
mod stream;
mod zstd;

pub use checkpoint::{Checkpoint, PendingEntry, Spacing};
pub use entry::{Entry, MAX_PACKED_LEN};
pub(super) use probe::compression_of;
pub use stream::{SEGMENT_LEN, Segment, Summary};

use self::zstd::ZstdDecoder;
use crate::{Error, Result};
use gzip::{Helpers, Inflater, Stop};
use lz4::Lz4Decoder;
use stored::Stored;

/// What is around the tar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Compression {
    /// Nothing: a plain tar.
    None,
    Gzip,
    Zstd,
    Lz4,
}

impl Compression {
    /// What these first bytes of an archive start, by their magic numbers; `None` when they start
    /// nothing that is read. Whether it really is one, and of a tar, is not looked at.
    pub fn of(first_bytes: &[u8]) -> Option<Self> {
        probe::magic_of(first_bytes)
    }

    /// Plain bytes of the first frame, where its header, which these bytes begin with, says so: few tools can know.
    pub fn content_size(self, first_bytes: &[u8]) -> Option<u64> {
        /// What says that it is larger than this lies.
        const BELIEVED: u64 = 1 << 56;
        let size = match self {
            Self::None | Self::Gzip => None,
            Self::Zstd => ::zstd::zstd_safe::get_frame_content_size(first_bytes).ok()?,
            Self::Lz4 => lz4::content_size(first_bytes),
        };
        size.filter(|&size| size <= BELIEVED)
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "plain tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        }
    }
}

/// Decodes a stream of any [`Compression`]. After an error it is of no more use.
#[derive(Debug)]
pub enum Decoder {
    None(Stored),
    Gzip(Box<Inflater>),
    Zstd(Box<ZstdDecoder>),
    Lz4(Box<Lz4Decoder>),
}

impl Decoder {
    /// At the start.
    pub fn new(compression: Compression, spacing: Spacing) -> Self {
        match compression {
            Compression::None => Self::None(Stored::new(spacing)),
            Compression::Gzip => Self::Gzip(Box::new(Inflater::new(spacing))),
            Compression::Zstd => Self::Zstd(Box::new(ZstdDecoder::new(spacing))),
            Compression::Lz4 => Self::Lz4(Box::new(Lz4Decoder::new(spacing))),
        }
    }

    /// At a checkpoint, with all checks: input goes on with the byte [`Checkpoint::byte`].
    pub fn resume(checkpoint: &Checkpoint, entry: &Entry, spacing: Spacing) -> Result<Self> {
        Ok(match entry {
            Entry::None => Self::None(Stored::at(checkpoint, spacing)),
            Entry::Gzip(window) => Self::Gzip(Box::new(Inflater::resume(checkpoint, window, spacing)?)),
            Entry::Zstd => Self::Zstd(Box::new(ZstdDecoder::at(checkpoint, spacing))),
            Entry::Lz4(block) => Self::Lz4(Box::new(Lz4Decoder::at(checkpoint, block.as_deref(), spacing))),
        })
    }

    /// At a checkpoint, for the bytes up to the next one only: there are no further checkpoints,
    /// and what could be checked only at a later end is not.
    pub fn enter(checkpoint: &Checkpoint, entry: &Entry) -> Result<Self> {
        match entry {
            Entry::Gzip(window) => Ok(Self::Gzip(Box::new(Inflater::enter(checkpoint, window)?))),
            _ => Self::resume(checkpoint, entry, Spacing::none()),
        }
    }

    /// Has other threads help, where the format and a long stream allow it: what is pushed may then
    /// be queued for a while.
    pub fn set_helpers(&mut self, helpers: Helpers) {
        if let Self::Gzip(inflater) = self {
            inflater.set_helpers(helpers);
        }
    }

    /// Decodes some of what is queued, for want of more input. False when nothing is.
    pub fn work(&mut self, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<bool> {
        match self {
            Self::Gzip(inflater) => inflater.work(out),
            _ => Ok(false),
        }
    }

    pub fn compression(&self) -> Compression {
        match self {
            Self::None(_) => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
            Self::Lz4(_) => Compression::Lz4,
        }
    }

    /// Decodes all of `compressed` into segments.
    pub fn push(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        match self {
            Self::None(stored) => stored.push(compressed, out),
            Self::Gzip(inflater) => inflater.push(compressed, out),
            Self::Zstd(decoder) => decoder.push(compressed, out),
            Self::Lz4(decoder) => decoder.push(compressed, out),
        }
    }

    /// The plain bytes of a span of `len` that these compressed bytes hold, after [`Self::enter`].
    /// It may give fewer; whether they are right is for the index's hash to tell.
    pub fn span(mut self, compressed: &[u8], len: usize) -> Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(len);
        if let Self::Gzip(inflater) = &mut self {
            let mut input = compressed;
            while let Stop::Checkpoint(_) = inflater.inflate(&mut input, &mut plain)? {}
            // The capacity may be more than was asked for.
            plain.truncate(len);
            return Ok(plain);
        }
        self.push(compressed, &mut |segment| {
            if plain.len() + segment.plain.len() > len {
                return Err(Error::corrupt("a span holds more than the seek index says"));
            }
            plain.extend_from_slice(&segment.plain);
            Ok(())
        })?;
        Ok(plain)
    }

    /// Checks that the stream ended where it may. `out` gets what became known of the last checkpoints.
    pub fn finish(self, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary> {
        match self {
            Self::None(stored) => Ok(stored.finish()),
            Self::Gzip(inflater) => inflater.finish(out),
            Self::Zstd(decoder) => decoder.finish(),
            Self::Lz4(decoder) => decoder.finish(),
        }
    }
}
