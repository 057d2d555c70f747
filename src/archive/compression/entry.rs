//! What a decoder needs besides the compressed bytes to start at a checkpoint. `docs/formats.md`, "Windows".

use super::super::gzip::{self, PendingWindow, Window};
use super::Checkpoint;
use super::lz4::BlockStart;
use crate::{Error, Result};

/// Longest result of [`Entry::pack`], bytes.
pub const MAX_PACKED_LEN: usize = gzip::MAX_PACKED_LEN;

/// First bytes of packed entries; a gzip's window begins with 0 or 1.
const NONE: u8 = 2;
const ZSTD_FRAME: u8 = 3;
const LZ4_FRAME: u8 = 4;
const LZ4_BLOCK: u8 = 5;

/// What is needed to start at a checkpoint; it also tells of which format the stream is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A plain tar: nothing.
    None,
    Gzip(Window),
    /// The start of a frame: nothing.
    Zstd,
    /// The start of a frame, or of a block within one.
    Lz4(Option<Box<BlockStart>>),
}

impl Entry {
    /// The form in which an index keeps it.
    pub fn pack(&self) -> Vec<u8> {
        match self {
            Self::None => vec![NONE],
            Self::Gzip(window) => window.pack(),
            Self::Zstd => vec![ZSTD_FRAME],
            Self::Lz4(None) => vec![LZ4_FRAME],
            Self::Lz4(Some(block)) => block.pack(LZ4_BLOCK),
        }
    }

    pub fn unpack(packed: &[u8]) -> Result<Self> {
        Ok(match packed {
            [NONE] => Self::None,
            [ZSTD_FRAME] => Self::Zstd,
            [LZ4_FRAME] => Self::Lz4(None),
            [LZ4_BLOCK, block @ ..] => {
                let block = BlockStart::unpack(block);
                let block = block.ok_or_else(|| Error::corrupt("a checkpoint's block start is damaged"))?;
                Self::Lz4(Some(Box::new(block)))
            }
            window => Self::Gzip(Window::unpack(window)?),
        })
    }
}

/// A checkpoint and what is, or soon can be, known of how to start there.
#[derive(Clone, Debug)]
pub enum PendingEntry {
    Known(Checkpoint, Entry),
    /// Which bytes of the window are needed is still to be found out.
    Gzip(PendingWindow),
}

impl PendingEntry {
    pub fn checkpoint(&self) -> Checkpoint {
        match self {
            Self::Known(checkpoint, _) => *checkpoint,
            Self::Gzip(window) => window.checkpoint,
        }
    }

    /// May take a fraction of a millisecond; any thread may do it.
    pub fn into_entry(self) -> Entry {
        match self {
            Self::Known(_, entry) => entry,
            Self::Gzip(window) => Entry::Gzip(window.into_window()),
        }
    }
}
