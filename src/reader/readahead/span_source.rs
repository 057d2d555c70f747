//! What can be read span by span: an archive by its seek index, a plain `Data.db` by the checksums
//! of its pieces.

use crate::archive::index::Index;
use crate::cache::CacheKey;
use crate::cassandra::sstable::checksums::PieceMap;
use crate::reader::identity::Identity;
use crate::reader::sums::Expected;
use crate::store::ObjectMeta;
use crate::view::OpenFile;
use crate::{Error, Result};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Plain bytes of spans that are read together: as much as one core is given at a time.
const GROUP: u64 = 2 << 20;

/// An object whose spans can be read.
pub(in crate::reader) struct SpanSource {
    pub(in crate::reader) object: Arc<ObjectMeta>,
    /// Spans are kept under this.
    pub(in crate::reader) identity: Identity,
    pub(in crate::reader) spans: SpanMap,
}

pub(in crate::reader) enum SpanMap {
    /// Of an archive: the plain bytes are those of its stream.
    Index(Arc<Index>),
    /// Of a `Data.db`: the plain bytes are its own.
    Pieces { map: Arc<PieceMap>, list: Arc<dyn OpenFile> },
}

/// A file, as its spans are.
#[derive(Clone)]
pub(in crate::reader) struct Target {
    pub(in crate::reader) source: Arc<SpanSource>,
    pub(in crate::reader) key: CacheKey,
    /// Where its data is in the plain stream.
    pub(in crate::reader) plain: Range<u64>,
    pub(in crate::reader) expected: Expected,
}

impl SpanSource {
    /// The span that holds the plain byte at this offset.
    pub(super) fn span_of(&self, plain_offset: u64) -> Option<usize> {
        match &self.spans {
            SpanMap::Index(index) => index.span_of(plain_offset),
            SpanMap::Pieces { map, .. } => map.span_of(plain_offset),
        }
    }

    /// The plain bytes of a span.
    pub(super) fn plain_range(&self, span: usize) -> Range<u64> {
        match &self.spans {
            SpanMap::Index(index) => index.span_plain_range(span),
            SpanMap::Pieces { map, .. } => map.span_range(span),
        }
    }

    /// The bytes of the object that hold a span.
    pub(super) fn object_range(&self, span: usize) -> Range<u64> {
        match &self.spans {
            SpanMap::Index(index) => index.span_object_range(span),
            SpanMap::Pieces { map, .. } => map.span_range(span),
        }
    }

    /// Whether spans in a row are read with less work together.
    pub(super) fn is_read_together(&self) -> bool {
        matches!(self.spans, SpanMap::Index(_))
    }

    /// The plain bytes of spans in a row.
    pub(super) fn plain_range_of(&self, spans: &Range<usize>) -> Range<u64> {
        self.plain_range(spans.start).start..self.plain_range(spans.end - 1).end
    }

    /// The bytes of the object that hold spans in a row.
    pub(super) fn object_range_of(&self, spans: &Range<usize>) -> Range<u64> {
        self.object_range(spans.start).start..self.object_range(spans.end - 1).end
    }

    /// The first of these spans that are best read together; there has to be one.
    pub(super) fn group(&self, spans: Range<usize>) -> Range<usize> {
        let start = spans.start;
        let more = |&end: &usize| {
            let plain = self.plain_range_of(&(start..end + 1));
            self.is_read_together() && plain.end - plain.start <= GROUP
        };
        start..(start + 1..spans.end).take_while(more).last().map_or(start + 1, |last| last + 1)
    }

    /// Whether all spans that hold these plain bytes can be read by themselves.
    pub(super) fn can_read(&self, plain: Range<u64>) -> bool {
        match &self.spans {
            SpanMap::Index(index) => index.can_read(plain),
            SpanMap::Pieces { .. } => true,
        }
    }

    /// `Kind::Unsupported` when the span is too long to be read by itself.
    pub(super) fn check_length(&self, span: usize) -> Result<()> {
        match &self.spans {
            SpanMap::Index(index) => index.check_length(span),
            SpanMap::Pieces { .. } => Ok(()),
        }
    }

    /// Whether the object is one file, whose checksums tell whether all of it is right.
    pub(super) fn is_one_file(&self) -> bool {
        matches!(self.spans, SpanMap::Pieces { .. })
    }
}

/// Compares the pieces of a span with their checksums.
pub(super) async fn check_pieces(map: &PieceMap, list: &dyn OpenFile, span: usize, bytes: &Bytes) -> Result<()> {
    let range = map.list_range(span);
    let len = u32::try_from(range.end - range.start).map_err(|_| Error::corrupt("it has too many chunks"))?;
    let said = list.read_at(range.start, len).await?;
    map.check(span, &said, bytes)
}
