//! What every decoder hands out: the plain stream in pieces, and what the whole was.

use super::{Checkpoint, PendingEntry};

/// Plain bytes in a full [`Segment`]: large enough for a decoder's speed, small enough for the
/// CPU's caches.
pub const SEGMENT_LEN: usize = 512 << 10;

/// A piece of the plain stream.
#[derive(Debug, Default)]
pub struct Segment {
    /// At most [`SEGMENT_LEN`] bytes; may be empty.
    pub plain: Vec<u8>,
    /// The checkpoint right behind `plain`. When it is as far into the plain stream as the one
    /// before it, it replaces it.
    pub checkpoint: Option<Checkpoint>,
    /// What became known with this segment of how to start at checkpoints; each names its
    /// checkpoint, which may lie a little further back.
    pub entries: Vec<PendingEntry>,
    /// BLAKE3 of the span that ends behind `plain`, where an index is made and it is known already.
    pub span_hash: Option<[u8; 32]>,
}

impl Segment {
    /// Plain bytes with the checkpoint behind them, if there is one.
    pub(super) fn new(plain: Vec<u8>, entry: Option<PendingEntry>) -> Self {
        let checkpoint = entry.as_ref().map(|entry| entry.checkpoint);
        Self { plain, checkpoint, entries: entry.into_iter().collect(), span_hash: None }
    }
}

/// What a whole compressed stream was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Plain bytes in all.
    pub plain_size: u64,
    /// Compressed bytes: without what may follow them.
    pub compressed_size: u64,
    pub warnings: Vec<String>,
}
