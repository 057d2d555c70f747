//! What an index needs of the plain bytes alone: hashes of spans, and how to start at checkpoints.

use super::packers::Packers;
use crate::archive::compression::{PendingEntry, Segment};

/// Goes before an [`IndexBuilder`](super::IndexBuilder), on a thread of its own where there is one
/// to spare: it takes nearly all of the builder's time.
#[derive(Debug, Default)]
pub struct SpanHasher {
    hasher: blake3::Hasher,
    packers: Option<Packers>,
}

impl SpanHasher {
    /// Has so many threads pack entries.
    pub fn with_packers(threads: usize) -> Self {
        Self { packers: Packers::start(threads), ..Self::default() }
    }

    /// Hashes the bytes, and packs the entries.
    pub fn segment(&mut self, mut segment: Segment) -> Segment {
        self.hasher.update(&segment.plain);
        if segment.checkpoint.is_some() {
            segment.span_hash = Some(self.take());
        }
        let pack = |entry: PendingEntry| match &self.packers {
            Some(packers) => packers.pack(entry),
            None => entry.packed(),
        };
        segment.entries = segment.entries.into_iter().map(pack).collect();
        segment
    }

    /// What is to come behind the last segment.
    pub fn end(mut self) -> Segment {
        Segment { span_hash: Some(self.take()), ..Segment::default() }
    }

    fn take(&mut self) -> [u8; 32] {
        let hash = *self.hasher.finalize().as_bytes();
        self.hasher.reset();
        hash
    }
}
