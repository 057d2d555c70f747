//! `CompressionInfo.db` and `CRC.db`, read as they stream past. A short one is kept, of a long one
//! only its [`Trail`].

use super::super::Layout;
use super::super::bytes::Cursor;
use super::super::chunks::InfoHead;
use super::super::partitions::CompressionRatio;
use super::Trail;
use super::scan::{CRC_LEN, USUAL_PIECE};
use crate::cassandra::SstableName;
use crate::{Error, Result};

/// What comes before the offsets is no longer than this in any SSTable.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// What a CompressionInfo.db or CRC.db says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List(pub(super) Kind);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Chunks {
        /// Starts of all chunks but the first, which is 0.
        starts: Option<Vec<u64>>,
        trail: Trail,
        /// The start of the last chunk.
        last: u64,
        /// Bytes of all chunks, decompressed.
        plain_size: u64,
    },
    Pieces {
        length: u32,
        crcs: Option<Vec<u32>>,
        trail: Trail,
    },
}

/// What a sound `Data.db` has.
pub(super) enum Expected {
    Chunks(Trail),
    Pieces { length: u32, trail: Trail },
}

impl List {
    pub(super) fn trail(&self, size: u64) -> Expected {
        match &self.0 {
            Kind::Chunks { trail, .. } => {
                let mut trail = *trail;
                trail.add(size);
                Expected::Chunks(trail)
            }
            Kind::Pieces { length, trail, .. } => Expected::Pieces { length: *length, trail: *trail },
        }
    }

    /// Keeps only what can be compared. Returns the bytes of memory that this frees.
    pub fn forget(&mut self) -> usize {
        let freed = self.weight();
        match &mut self.0 {
            Kind::Chunks { starts, .. } => *starts = None,
            Kind::Pieces { crcs, .. } => *crcs = None,
        }
        freed
    }

    /// Whether it is of a compressed Data.db.
    pub fn is_of_chunks(&self) -> bool {
        matches!(self.0, Kind::Chunks { .. })
    }

    /// Whether a Data.db that was read without it can be held against it.
    pub fn is_usual(&self) -> bool {
        !matches!(self.0, Kind::Pieces { length, .. } if length != USUAL_PIECE)
    }

    /// Whether it can tell which piece is wrong.
    pub fn is_whole(&self) -> bool {
        match &self.0 {
            Kind::Chunks { starts, .. } => starts.is_some(),
            Kind::Pieces { crcs, .. } => crcs.is_some(),
        }
    }

    /// Checks that a `Data.db` of `size` bytes can have these pieces.
    ///
    /// # Errors
    /// `Kind::Corrupt` where it cannot.
    pub fn check_size(&self, size: u64) -> Result<()> {
        match &self.0 {
            Kind::Chunks { last, .. } if !can_end(*last, size) => {
                Err(Error::corrupt(format!("it has a chunk at {last}, and Data.db has {size} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// How much of a compressed `Data.db` of `size` bytes is left of what it holds, as Statistics.db
    /// tells it. Two SSTables hardly have the same, to the last bit.
    pub fn compression(&self, size: u64) -> Option<CompressionRatio> {
        let Kind::Chunks { trail, plain_size, .. } = &self.0 else { return None };
        // The first chunk is not in the trail.
        let stored = size.checked_sub((trail.count + 1).checked_mul(CRC_LEN)?)?;
        (*plain_size > 0).then(|| CompressionRatio::of(stored, *plain_size))
    }

    /// Bytes of memory, about.
    pub fn weight(&self) -> usize {
        match &self.0 {
            Kind::Chunks { starts, .. } => starts.as_ref().map_or(0, |starts| starts.len() * 8),
            Kind::Pieces { crcs, .. } => crcs.as_ref().map_or(0, |crcs| crcs.len() * 4),
        }
    }
}

/// Checks that a chunk can begin at `offset` when the one before begins at `before`.
pub(super) fn follows(before: Option<u64>, offset: u64) -> Result<()> {
    let can = match before {
        None => offset == 0,
        Some(before) => offset > before && offset - before > CRC_LEN,
    };
    if can { Ok(()) } else { Err(Error::corrupt(format!("a chunk at {offset} cannot follow the one before"))) }
}

/// Whether a file can end at `size` when its last chunk begins at `last`. A compaction may end it with
/// a chunk of nothing, of which DeflateCompressor makes no byte: then there is the CRC-32 alone.
pub(super) fn can_end(last: u64, size: u64) -> bool {
    last.checked_add(CRC_LEN).is_some_and(|end| end <= size)
}

/// The first number of a CRC.db: bytes of a piece.
pub(super) fn piece_length(bytes: &mut Cursor<'_>) -> Result<u32> {
    let length = bytes.u32()?;
    if length == 0 || length > i32::MAX as u32 {
        return Err(Error::corrupt(format!("it has pieces of {length} bytes")));
    }
    Ok(length)
}

/// Reads one of them.
#[derive(Debug)]
pub struct ListReader {
    /// Of the SSTable, for a CompressionInfo.db; none for a CRC.db.
    layout: Option<Layout>,
    /// Bytes of a number, or of the head, that are not complete.
    held: Vec<u8>,
    state: State,
    /// Memory that may be used, bytes.
    keep: usize,
    failed: Option<Error>,
}

#[derive(Debug)]
enum State {
    Head,
    Offsets { left: u32, before: Option<u64>, starts: Option<Vec<u64>>, trail: Trail, plain_size: u64 },
    Crcs { length: u32, crcs: Option<Vec<u32>>, trail: Trail },
}

impl ListReader {
    /// For the component of this name, CompressionInfo.db or CRC.db: `None` for any other. `keep`:
    /// bytes of memory that the list may take; a longer one serves only to be compared.
    ///
    /// # Errors
    /// `Kind::Unsupported` for a version of the format that is not known.
    pub fn new(sstable: &SstableName, component: &str, keep: usize) -> Result<Option<Self>> {
        let layout = match component {
            "CompressionInfo.db" => Some(Layout::of(sstable)?),
            "CRC.db" => None,
            _ => return Ok(None),
        };
        Ok(Some(Self { layout, held: Vec::new(), state: State::Head, keep, failed: None }))
    }

    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.take(bytes) {
            self.failed = Some(error);
        }
    }

    /// All bytes were there. `Kind::Corrupt` when they make no sense.
    pub fn finish(self) -> Result<List> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let cut = || Error::corrupt("it is cut short");
        match self.state {
            State::Head => Err(self.head(&self.held).err().unwrap_or_else(cut)),
            State::Offsets { left: 1.., .. } => Err(cut()),
            State::Offsets { before, starts, trail, plain_size, .. } => {
                Ok(List(Kind::Chunks { starts, trail, last: before.unwrap_or_default(), plain_size }))
            }
            State::Crcs { .. } if !self.held.is_empty() => Err(cut()),
            State::Crcs { length, crcs, trail } => Ok(List(Kind::Pieces { length, crcs, trail })),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        if matches!(self.state, State::Head) {
            match self.head(rest) {
                Ok((state, used)) => {
                    self.state = state;
                    rest = &rest[used..];
                }
                // It may only be incomplete: `finish` asks again.
                Err(error) if held.len() >= MAX_HEAD => return Err(error),
                Err(_) => {
                    self.held = held;
                    return Ok(());
                }
            }
        }
        while !rest.is_empty() {
            let Some(next) = self.number(rest)? else { break };
            rest = next;
        }
        self.held = rest.to_vec();
        Ok(())
    }

    fn head(&self, bytes: &[u8]) -> Result<(State, usize)> {
        let mut cursor = Cursor::new(bytes);
        let state = if let Some(layout) = self.layout {
            let head = InfoHead::read(layout, &mut cursor)?;
            let starts = (head.chunks as usize <= self.keep / 8).then(Vec::new);
            let plain_size = head.plain_size;
            State::Offsets { left: head.chunks, before: None, starts, trail: Trail::default(), plain_size }
        } else {
            let length = piece_length(&mut cursor)?;
            State::Crcs { length, crcs: Some(Vec::new()), trail: Trail::default() }
        };
        Ok((state, bytes.len() - cursor.remaining()))
    }

    /// Takes the next number; `None` when it is not complete.
    fn number<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>> {
        match &mut self.state {
            State::Head => Ok(None),
            // What follows the offsets is nobody's.
            State::Offsets { left: 0, .. } => Ok(Some(&[])),
            State::Offsets { left, before, starts, trail, .. } => {
                let Some((offset, rest)) = bytes.split_first_chunk() else { return Ok(None) };
                let offset = u64::from_be_bytes(*offset);
                follows(*before, offset)?;
                if before.is_some() {
                    trail.add(offset);
                    if let Some(starts) = starts {
                        starts.push(offset);
                    }
                }
                *before = Some(offset);
                *left -= 1;
                Ok(Some(rest))
            }
            State::Crcs { crcs, trail, .. } => {
                let Some((crc, rest)) = bytes.split_first_chunk() else { return Ok(None) };
                let crc = u32::from_be_bytes(*crc);
                trail.add(crc.into());
                if crcs.as_ref().is_some_and(|crcs| crcs.len() >= self.keep / 4) {
                    *crcs = None;
                }
                if let Some(crcs) = crcs {
                    crcs.push(crc);
                }
                Ok(Some(rest))
            }
        }
    }
}
