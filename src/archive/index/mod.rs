//! The seek index of an archive: where to start for any plain byte, and what the archive holds.
//!
//! The plain stream is cut into spans at checkpoints. One span is read by itself: fetch
//! [`Index::span_object_range`], then [`Index::read_span`] decrypts, inflates and checks it. The
//! format is described in `docs/formats.md`, "Seek index"; [`IndexBuilder`] writes it as a journal,
//! so that a pass that was killed goes on from its last save point ([`replay`]).

mod builder;
mod format;
mod hasher;
mod journal;
mod packers;
mod published;

pub use builder::IndexBuilder;
pub use format::{FOOTER_LEN, Footer, VERSION};
pub use hasher::SpanHasher;
pub use journal::{Resumption, replay};
pub use published::{
    CHUNK_LEN, Opener, PUBLISHED_HEADER_LEN, PUBLISHED_PREFIX, SEALED_CHUNK_LEN, Sealer, chunk_count, published_key,
    published_len,
};

use super::compression::{Checkpoint, Decoder, RunUp};
use super::envelope::{self, BLOCK_LEN, CipherKey, HEADER_LEN};
use super::{Member, MemberKind, Region};
use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The longest span that is read by itself, bytes of plain data, and of compressed. Longer ones are
/// whole zstd frames, and huge blocks of a gzip.
pub const MAX_SPAN_LEN: u64 = 64 << 20;

/// What tells one archive from another without reading it: with CBC the last block depends on all
/// before it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Bytes of the object.
    pub object_size: u64,
    /// Its first bytes: magic and salt when it is sealed.
    pub start: [u8; HEADER_LEN],
    /// Its last bytes.
    pub end: [u8; 32],
}

impl Identity {
    /// Whether it is in openssl's envelope.
    pub fn is_sealed(&self) -> bool {
        self.start.starts_with(envelope::MAGIC)
    }

    /// Bytes before what the envelope holds.
    fn header_len(&self) -> u64 {
        if self.is_sealed() { HEADER_LEN as u64 } else { 0 }
    }
}

/// The part of the plain stream from one checkpoint to the next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// Bits of compressed data before it.
    pub bit: u64,
    /// Plain bytes before it.
    pub plain: u64,
    /// How far before it decoding starts; not before the span before.
    pub run_up: RunUp,
    /// Where what is needed to start there is: a packed [`Entry`], of a gzip mostly its window.
    pub window: WindowRef,
    /// BLAKE3 of its plain bytes.
    pub hash: [u8; 32],
}

impl Span {
    /// Bits of compressed data before the first that decoding takes.
    fn start_bit(&self) -> u64 {
        self.bit - u64::from(self.run_up.bits)
    }
}

/// Where in the index file a packed window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WindowRef {
    pub offset: u64,
    pub len: u32,
    pub crc32: u32,
}

/// An index without its windows, which stay in the file until they are needed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Index {
    pub identity: Identity,
    /// Bytes of the compressed stream, without what may follow it.
    pub compressed_size: u64,
    /// Bytes of the plain stream.
    pub plain_size: u64,
    /// By offset; none is empty, and together they are the plain stream.
    pub spans: Vec<Span>,
    /// In the order of the archive.
    pub members: Vec<Member>,
    /// What was odd about the archive.
    pub warnings: Vec<String>,
}

/// Whether a span of so many plain and object bytes can be read by itself.
fn is_short(plain: u64, object: u64) -> bool {
    plain <= MAX_SPAN_LEN && object <= MAX_SPAN_LEN
}

impl Index {
    /// The span that holds this plain byte; `None` behind the end.
    pub fn span_of(&self, plain_offset: u64) -> Option<usize> {
        if plain_offset >= self.plain_size {
            return None;
        }
        self.spans.partition_point(|span| span.plain <= plain_offset).checked_sub(1)
    }

    /// The regions of the sparse file whose data starts at this plain byte; `None` for any other
    /// file.
    pub fn sparse_regions(&self, plain_offset: u64) -> Option<&[Region]> {
        self.members.iter().filter(|member| member.offset == plain_offset).find_map(|member| match &member.kind {
            MemberKind::Sparse(regions) => Some(&regions[..]),
            _ => None,
        })
    }

    /// The plain bytes of a span.
    ///
    /// # Panics
    /// When there is no such span, like all functions here that take one.
    pub fn span_plain_range(&self, span: usize) -> Range<u64> {
        let end = self.spans.get(span + 1).map_or(self.plain_size, |next| next.plain);
        self.spans[span].plain..end
    }

    /// The bytes of the object that [`Self::read_span`] needs: for a sealed one whole cipher
    /// blocks, and the one before them.
    pub fn span_object_range(&self, span: usize) -> Range<u64> {
        let Range { start, end } = self.span_compressed_range(span);
        if !self.identity.is_sealed() {
            return start..end;
        }
        // The header is as long as a block: the block before, as an offset in the object, is the
        // offset in what is sealed.
        let block = BLOCK_LEN as u64;
        let end = end.next_multiple_of(block) + self.identity.header_len();
        // Without padding the last block is shorter.
        start / block * block..end.min(self.identity.object_size)
    }

    /// The bytes of the object that [`Self::read_spans`] needs.
    pub fn object_range(&self, spans: &Range<usize>) -> Range<u64> {
        self.span_object_range(spans.start).start..self.span_object_range(spans.end - 1).end
    }

    /// The plain bytes of spans in a row.
    pub fn plain_range(&self, spans: &Range<usize>) -> Range<u64> {
        self.span_plain_range(spans.start).start..self.span_plain_range(spans.end - 1).end
    }

    /// The bytes of the compressed stream that hold a span, and its run-up.
    fn span_compressed_range(&self, span: usize) -> Range<u64> {
        let end = self.spans.get(span + 1).map_or(self.compressed_size, |next| next.bit.div_ceil(8));
        self.spans[span].start_bit() / 8..end
    }

    /// Whether all spans that hold these plain bytes can be read by themselves.
    pub fn can_read(&self, plain: Range<u64>) -> bool {
        let first = self.spans.partition_point(|span| span.plain <= plain.start).saturating_sub(1);
        let spans = (first..self.spans.len()).take_while(|&span| self.spans[span].plain < plain.end);
        spans.into_iter().all(|span| self.check_length(span).is_ok())
    }

    /// `Kind::Unsupported` when the span is longer than [`MAX_SPAN_LEN`].
    pub fn check_length(&self, span: usize) -> Result<()> {
        let (plain, object) = (self.span_plain_range(span), self.span_object_range(span));
        if is_short(plain.end - plain.start, object.end - object.start) {
            return Ok(());
        }
        let message = format!("a span of {} bytes is too long to be read by itself", plain.end - plain.start);
        Err(Error::new(Kind::Unsupported, message))
    }

    /// Where in the index file the packed window of a span is.
    pub fn window_range(&self, span: usize) -> Range<u64> {
        let window = self.spans[span].window;
        window.offset..window.offset + u64::from(window.len)
    }

    /// The plain bytes of a span, verified; `key` is needed for a sealed object.
    /// `Kind::Unsupported` when the span is longer than [`MAX_SPAN_LEN`].
    pub fn read_span(
        &self,
        span: usize,
        packed_window: &[u8],
        key: Option<&CipherKey>,
        object_bytes: &[u8],
    ) -> Result<Vec<u8>> {
        self.read_spans(span..span + 1, packed_window, key, object_bytes)
    }

    /// The plain bytes of spans in a row, which takes less than to read them one by one: only the
    /// first one's window is needed, and its run-up.
    pub fn read_spans(
        &self,
        spans: Range<usize>,
        packed_window: &[u8],
        key: Option<&CipherKey>,
        object_bytes: &[u8],
    ) -> Result<Vec<u8>> {
        let first = &self.spans[spans.start];
        let Span { plain, run_up, window, .. } = first;
        let (bit, ahead) = (first.start_bit(), run_up.plain as usize);
        let range = self.plain_range(&spans);
        let len = range.end - range.start;
        spans.clone().try_for_each(|span| self.check_length(span))?;
        if packed_window.len() != window.len as usize || crc32fast::hash(packed_window) != window.crc32 {
            return Err(Error::corrupt("the seek index is damaged: a window's CRC-32 differs"));
        }
        let object_range = self.object_range(&spans);
        if object_bytes.len() as u64 != object_range.end - object_range.start {
            return Err(Error::invalid("not the object range of these spans"));
        }
        let opened = self.open(object_range.start, key, object_bytes)?;
        let skip = if self.identity.is_sealed() { (bit / 8 % BLOCK_LEN as u64) as usize } else { 0 };
        let compressed_end = self.span_compressed_range(spans.end - 1).end;
        // What follows in the last cipher block is another span's, or padding.
        let input = opened.as_deref().unwrap_or(object_bytes).get(skip..).unwrap_or_default();
        let input = &input[..input.len().min((compressed_end - bit / 8) as usize)];

        let start = plain - ahead as u64;
        let checkpoint = Checkpoint { bit, plain: start, member_crc: 0, member_len: 0 };
        let mut out = Decoder::enter(&checkpoint, packed_window)?.span(input, ahead + len as usize)?;
        out.drain(..ahead.min(out.len()));
        for span in spans {
            let Range { start, end } = self.span_plain_range(span);
            let bytes = out.get((start - range.start) as usize..(end - range.start) as usize);
            if bytes.is_none_or(|bytes| blake3::hash(bytes) != self.spans[span].hash) {
                return Err(Error::corrupt(format!("plain bytes {start} to {end} differ from what the index says")));
            }
        }
        debug_assert_eq!(out.len() as u64, len);
        Ok(out)
    }

    /// What is sealed in a range of a sealed object, from the second block of `bytes` on.
    fn open(&self, offset: u64, key: Option<&CipherKey>, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        if !self.identity.is_sealed() {
            return Ok(None);
        }
        let key = key.ok_or_else(|| Error::new(Kind::NoKey, "the archive is encrypted"))?;
        let (before, blocks) = bytes
            .split_first_chunk()
            .filter(|(_, blocks)| !key.is_padded() || blocks.len() % BLOCK_LEN == 0)
            .ok_or_else(|| Error::corrupt("the object does not consist of whole cipher blocks"))?;
        let mut plain = blocks.to_vec();
        key.decryptor_at(offset / BLOCK_LEN as u64, *before).decrypt(&mut plain);
        Ok(Some(plain))
    }
}
