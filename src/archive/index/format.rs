//! Bytes of the index file: `docs/formats.md`, "Seek index".
//!
//! `record* footer`, where a record is `u32 length of body | u32 CRC-32 of body | body` and a body
//! is `u8 kind | payload`; numbers are little-endian. Records are only ever appended; the footer
//! makes the file an index.

use super::{Identity, Index, Span, WindowRef};
use crate::archive::compression::{Checkpoint, MAX_PACKED_LEN, RunUp};
use crate::archive::tar::{MAX_MEMBERS, TarState};
use crate::archive::{Member, MemberKind};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::ops::Range;

/// Goes up with every change that an older reader would get wrong.
pub const VERSION: u32 = 3;

/// Version 2 knew no run-ups.
const DIRECT_VERSION: u32 = 2;

/// Version 1 did not tell where links lead, and took what lies behind the end of a tar for nothing.
/// One that came by neither is still right.
const LINKLESS_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"CMSEEKIX";

/// Bytes of the footer at the very end of an index file.
pub const FOOTER_LEN: usize = 56;

/// Longest head, packed and unpacked, and longest save record.
pub(super) const MAX_HEAD_LEN: usize = 384 << 20;

/// Most spans of an archive: 32 TiB of plain data.
pub(super) const MAX_SPANS: usize = 1 << 20;

/// No object or plain stream is larger: offsets, also in bits, stay far from overflow.
pub(super) const MAX_OFFSET: u64 = 1 << 56;

/// What a record's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum RecordKind {
    /// [`Start`]: always the first.
    Start = 1,
    /// A packed window, as it is.
    Window = 2,
    /// [`Save`].
    Save = 3,
    /// The [`Index`], zstd-compressed: the last.
    Head = 4,
}

impl RecordKind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Start, Self::Window, Self::Save, Self::Head].into_iter().find(|&kind| kind as u8 == byte)
    }

    pub(super) fn max_payload(self) -> usize {
        match self {
            Self::Start => 256,
            Self::Window => MAX_PACKED_LEN,
            Self::Save | Self::Head => MAX_HEAD_LEN,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) version: u32,
    pub(super) identity: Identity,
    pub(super) spacing: crate::archive::compression::Spacing,
}

/// All that is needed to go on from a checkpoint, but for what the save records before it told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Save {
    /// Complete spans since the last save.
    pub(super) spans: Vec<Span>,
    /// Members that became complete since then.
    pub(super) members: Vec<Member>,
    /// Where to go on, and its window.
    pub(super) checkpoint: Checkpoint,
    pub(super) window: WindowRef,
    pub(super) tar: TarState,
}

pub(super) const RECORD_HEADER_LEN: usize = 9;

/// Appends a record; tells where in `out` its payload starts.
pub(super) fn push_record(out: &mut Vec<u8>, kind: RecordKind, payload: &[u8]) -> usize {
    debug_assert!(payload.len() <= kind.max_payload());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind as u8]);
    crc.update(payload);
    out.extend((payload.len() as u32 + 1).to_le_bytes());
    out.extend(crc.finalize().to_le_bytes());
    out.push(kind as u8);
    let start = out.len();
    out.extend(payload);
    start
}

/// The next record's kind and payload; `None` at the end and at anything that is not a whole,
/// undamaged record.
pub(super) fn read_record(file: &mut dyn Read) -> Result<Option<(RecordKind, Vec<u8>)>> {
    let mut header = [0; RECORD_HEADER_LEN];
    if !fill(file, &mut header)? {
        return Ok(None);
    }
    let (numbers, kind) = header.split_first_chunk().expect("9 bytes");
    let numbers = u64::from_le_bytes(*numbers);
    let Some(len) = (numbers as u32).checked_sub(1) else { return Ok(None) };
    let Some(kind) = RecordKind::of(kind[0]).filter(|kind| len as usize <= kind.max_payload()) else { return Ok(None) };
    let mut payload = Vec::new();
    // Grows with what is really there, whatever the length says.
    file.take(u64::from(len)).read_to_end(&mut payload).map_err(|e| Error::io("read a seek index", e))?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind as u8]);
    crc.update(&payload);
    let whole = payload.len() == len as usize && crc.finalize() == (numbers >> 32) as u32;
    Ok(whole.then_some((kind, payload)))
}

fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(Error::io("read a seek index", error)),
    }
}

/// The last [`FOOTER_LEN`] bytes of an index file: `u64 offset of the head's payload | u32 its
/// length | u32 version | magic
/// | BLAKE3 of the payload and these 24 bytes`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Footer {
    /// Where the head's payload is in the file.
    pub head: Range<u64>,
    start: [u8; 24],
    hash: [u8; 32],
}

impl Footer {
    pub(super) fn new(offset: u64, payload: &[u8]) -> Self {
        let mut start = [0; 24];
        start[..8].copy_from_slice(&offset.to_le_bytes());
        start[8..12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        start[12..16].copy_from_slice(&VERSION.to_le_bytes());
        start[16..].copy_from_slice(MAGIC);
        Self { head: offset..offset + payload.len() as u64, start, hash: Self::hash(payload, &start) }
    }

    fn hash(payload: &[u8], start: &[u8; 24]) -> [u8; 32] {
        *blake3::Hasher::new().update(payload).update(start).finalize().as_bytes()
    }

    pub(super) fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut bytes = [0; FOOTER_LEN];
        bytes[..24].copy_from_slice(&self.start);
        bytes[24..].copy_from_slice(&self.hash);
        bytes
    }

    /// `Kind::Corrupt` when this is not the end of an index of this version in a file of this
    /// length.
    pub fn parse(bytes: &[u8; FOOTER_LEN], file_len: u64) -> Result<Self> {
        let (start, hash): (&[u8; 24], _) = bytes.split_first_chunk().expect("56 bytes");
        let number = |range: Range<usize>| start[range].iter().rev().fold(0, |value, &b| value << 8 | u64::from(b));
        let (offset, len, version) = (number(0..8), number(8..12), number(12..16));
        let fits = offset.checked_add(len).and_then(|end| end.checked_add(FOOTER_LEN as u64)) == Some(file_len);
        let known = [VERSION, DIRECT_VERSION, LINKLESS_VERSION].map(u64::from).contains(&version);
        if &start[16..] != MAGIC || !known || !fits || len > MAX_HEAD_LEN as u64 {
            return Err(Error::corrupt("not a complete seek index of this version"));
        }
        let hash = hash.try_into().expect("32 bytes are left");
        Ok(Self { head: offset..offset + len, start: *start, hash })
    }

    /// The index, given the bytes of [`Footer::head`].
    pub fn decode(&self, payload: &[u8]) -> Result<Index> {
        if Self::hash(payload, &self.start) != self.hash {
            return Err(Error::corrupt("the seek index is damaged: its head's hash differs"));
        }
        let version = &self.start[12..16];
        let index = if version == VERSION.to_le_bytes() {
            unpack(payload)
        } else {
            unpack::<DirectIndex>(payload).map(Index::from)
        };
        let index = index.ok_or_else(|| Error::corrupt("the seek index is damaged"))?;
        if !is_sound(&index, self.head.start) {
            return Err(Error::corrupt("the seek index contradicts itself"));
        }
        let linkless = |index: &Index| {
            index.warnings.is_empty() && !index.members.iter().any(|m| matches!(m.kind, MemberKind::Unsupported(_)))
        };
        if version == LINKLESS_VERSION.to_le_bytes() && !linkless(&index) {
            return Err(Error::corrupt("a seek index of an older version that left out what this one reads"));
        }
        Ok(index)
    }
}

pub(super) fn pack(index: &Index) -> Result<Vec<u8>> {
    let plain = postcard::to_stdvec(index).map_err(|e| Error::corrupt("cannot encode the index").with_source(e))?;
    let packed = zstd::bulk::compress(&plain, 3).map_err(|e| Error::io("compress the index", e))?;
    if plain.len().max(packed.len()) > MAX_HEAD_LEN {
        return Err(Error::corrupt("the archive has too many members to be indexed"));
    }
    Ok(packed)
}

/// An [`Index`] up to version 2.
#[derive(Deserialize)]
struct DirectIndex {
    identity: Identity,
    compressed_size: u64,
    plain_size: u64,
    spans: Vec<DirectSpan>,
    members: Vec<Member>,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct DirectSpan {
    bit: u64,
    plain: u64,
    window: WindowRef,
    hash: [u8; 32],
}

impl From<DirectIndex> for Index {
    fn from(index: DirectIndex) -> Self {
        let DirectIndex { identity, compressed_size, plain_size, spans, members, warnings } = index;
        let span =
            |DirectSpan { bit, plain, window, hash }| Span { bit, plain, run_up: RunUp::default(), window, hash };
        let spans = spans.into_iter().map(span).collect();
        Self { identity, compressed_size, plain_size, spans, members, warnings }
    }
}

fn unpack<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    let mut plain = Vec::new();
    zstd::Decoder::with_buffer(payload).ok()?.take(MAX_HEAD_LEN as u64).read_to_end(&mut plain).ok()?;
    let (index, rest) = postcard::take_from_bytes(&plain).ok()?;
    rest.is_empty().then_some(index)
}

/// Whether spans follow each other, and none starts before the one before it.
pub(super) fn are_in_order(spans: &[Span]) -> bool {
    let most = (RunUp::MAX_BYTES as u64 + 1) * 8;
    let first = spans.first().is_none_or(|first| first.run_up == RunUp::default());
    first
        && spans.is_sorted_by(|a, b| {
            let (bits, plain) = (u64::from(b.run_up.bits), u64::from(b.run_up.plain));
            a.plain < b.plain
                && a.bit <= b.bit
                && bits <= most.min(b.bit - a.bit)
                && plain <= RunUp::MAX_PLAIN.min(b.plain - a.plain)
        })
}

/// What the functions of [`Index`] take for granted.
fn is_sound(index: &Index, windows_end: u64) -> bool {
    let Index { identity, compressed_size, plain_size, spans, members, warnings: _ } = index;
    let sizes = identity.object_size <= MAX_OFFSET
        && *plain_size <= MAX_OFFSET
        && compressed_size.checked_add(identity.header_len()).is_some_and(|end| end <= identity.object_size);
    let cover = match spans.first() {
        None => *plain_size == 0,
        Some(first) => first.plain == 0 && spans.iter().all(|span| span.plain < *plain_size),
    };
    sizes
        && cover
        && spans.len() <= MAX_SPANS
        && members.len() <= MAX_MEMBERS
        && are_in_order(spans)
        && spans.iter().all(|span| {
            span.bit / 8 <= *compressed_size
                && span.window.len as usize <= MAX_PACKED_LEN
                && span.window.offset.checked_add(span.window.len.into()).is_some_and(|end| end <= windows_end)
        })
        && members.iter().all(|m| m.offset.checked_add(m.stored_len()).is_some_and(|end| end <= *plain_size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offset() -> impl Strategy<Value = u64> {
        prop_oneof![0..200_u64, Just(MAX_OFFSET), Just(u64::MAX), any::<u64>()]
    }

    prop_compose! {
        fn span()(bit in offset(), plain in offset(), at in offset(), len in 0..30_u32, hash in any::<[u8; 32]>()) -> Span {
            let run_up = RunUp { bits: len * 7, plain: len };
            Span { bit, plain, run_up, window: WindowRef { offset: at, len, crc32: crc32fast::hash(&[0]) }, hash }
        }
    }

    proptest! {
        /// Whoever can write a hash can write a hostile index.
        #[test]
        fn a_well_hashed_but_hostile_index_is_harmless(
            mut spans in proptest::collection::vec(span(), 0..4),
            sizes in (offset(), offset(), offset()),
            sorted in any::<bool>(),
            sealed in any::<bool>(),
        ) {
            if sorted {
                spans.sort_by_key(|span| span.plain);
                if let Some(first) = spans.first_mut() {
                    (first.plain, first.bit, first.run_up) = (0, 0, RunUp::default());
                }
            }
            let start = if sealed { *b"Salted__12345678" } else { [0; 16] };
            let identity = Identity { object_size: sizes.0, start, end: [0; 32] };
            let (compressed_size, plain_size) = (sizes.1, sizes.2);
            let index = Index { identity, compressed_size, plain_size, spans, members: Vec::new(), warnings: Vec::new() };
            let payload = pack(&index).unwrap();
            let footer = Footer::new(1000, &payload);
            let parsed = Footer::parse(&footer.encode(), 1000 + payload.len() as u64 + FOOTER_LEN as u64).unwrap();
            let Ok(index) = parsed.decode(&payload) else { return Ok(()) };
            for span in 0..index.spans.len() {
                let range = index.span_object_range(span);
                if range.end - range.start < 10_000 {
                    let bytes = vec![0x55; (range.end - range.start) as usize];
                    prop_assert!(index.read_span(span, &[0], None, &bytes).is_err());
                }
            }
        }

        #[test]
        fn a_head_of_anything_is_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for payload in [zstd::bulk::compress(&bytes, 1).unwrap(), bytes] {
                prop_assert!(Footer::new(9, &payload).decode(&payload).is_err());
            }
        }
    }
}
