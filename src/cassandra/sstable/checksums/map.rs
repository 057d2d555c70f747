//! Where the pieces of a `Data.db` are that have a checksum each, so that any part of the file can
//! be read and checked by itself.
//!
//! Pieces are small. What is read at once is a *span*: all pieces that begin in one stretch of the
//! file. Of these only the starts are held in memory. The list (`CompressionInfo.db`, `CRC.db`) can
//! be some 200 MiB, so what it says of a span is read from it when the span is.

use super::super::Layout;
use super::super::bytes::Cursor;
use super::super::chunks::InfoHead;
use super::list::{MAX_HEAD, can_end, follows, piece_length};
use super::scan::{CRC_LEN, LONGEST_CHUNK};
use crate::cassandra::SstableName;
use crate::{Error, Result};
use std::ops::Range;

/// Shortest stretch of a span, bytes: about what a store sends in the time of one round trip.
const SHORTEST_STRETCH: u64 = 256 << 10;

/// Spans of one file at most, about: longer files have longer ones.
const MAX_SPANS: u64 = 1 << 18;

/// The spans of one `Data.db`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceMap {
    list: Kind,
    /// Bytes of the `Data.db`.
    size: u64,
    /// Where each span begins in the `Data.db`.
    starts: Vec<u64>,
    /// The number of the first piece of each span.
    pieces: Vec<u32>,
    /// Number of pieces in all.
    count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// `CompressionInfo.db`; the starts of chunks follow after `head` bytes. The CRC-32 of a chunk
    /// is behind it.
    Chunks { head: u64 },
    /// `CRC.db`: CRC-32s of pieces of this length.
    Plain { length: u32 },
}

impl PieceMap {
    /// The span that holds the byte at `offset`.
    pub fn span_of(&self, offset: u64) -> Option<usize> {
        if offset >= self.size {
            return None;
        }
        self.starts.partition_point(|&start| start <= offset).checked_sub(1)
    }

    /// The bytes of a span.
    ///
    /// # Panics
    /// When there is no such span, like all functions here that take one.
    pub fn span_range(&self, span: usize) -> Range<u64> {
        self.starts[span]..self.starts.get(span + 1).copied().unwrap_or(self.size)
    }

    /// The bytes of the list that [`Self::check`] needs.
    pub fn list_range(&self, span: usize) -> Range<u64> {
        let pieces = self.piece_range(span);
        let (head, each) = match self.list {
            Kind::Chunks { head } => (head, 8),
            Kind::Plain { .. } => (4, 4),
        };
        head + u64::from(pieces.start) * each..head + u64::from(pieces.end) * each
    }

    fn piece_range(&self, span: usize) -> Range<u32> {
        self.pieces[span]..self.pieces.get(span + 1).copied().unwrap_or(self.count)
    }

    /// Compares each piece of a span with its checksum. `list` are the bytes of
    /// [`Self::list_range`].
    ///
    /// # Errors
    /// `Kind::Corrupt` names the first piece that is wrong.
    pub fn check(&self, span: usize, list: &[u8], bytes: &[u8]) -> Result<()> {
        let range = self.span_range(span);
        if bytes.len() as u64 != range.end - range.start {
            return Err(Error::invalid("not the bytes of this span"));
        }
        match self.list {
            Kind::Chunks { .. } => check_chunks(&range, list, bytes),
            Kind::Plain { length } => check_plain(&range, length, list, bytes),
        }
    }

    /// Bytes of memory, about.
    pub fn weight(&self) -> usize {
        self.starts.len() * 12 + 100
    }
}

fn check_chunks(range: &Range<u64>, list: &[u8], bytes: &[u8]) -> Result<()> {
    let changed = || Error::corrupt("CompressionInfo.db is not what it was when it was first read");
    let mut starts = list.chunks_exact(8).map(|start| u64::from_be_bytes(start.try_into().expect("eight bytes")));
    if starts.next() != Some(range.start) {
        return Err(changed());
    }
    let mut at = range.start;
    let mut rest = bytes;
    for end in starts.chain([range.end]) {
        let length = end.checked_sub(at).ok_or_else(changed)?;
        let (chunk, behind) = rest.split_at_checked(length as usize).ok_or_else(changed)?;
        let (stored, crc) = chunk.split_last_chunk().ok_or_else(changed)?;
        if crc32fast::hash(stored) != u32::from_be_bytes(*crc) {
            let message = format!(
                "the chunk of {} bytes at offset {at} does not have the CRC-32 that is behind it: it is damaged, or \
                 CompressionInfo.db is of another SSTable",
                stored.len()
            );
            return Err(Error::corrupt(message));
        }
        (at, rest) = (end, behind);
    }
    Ok(())
}

fn check_plain(range: &Range<u64>, length: u32, list: &[u8], bytes: &[u8]) -> Result<()> {
    let pieces = bytes.chunks(length as usize);
    let crcs = list.chunks_exact(4).map(|crc| u32::from_be_bytes(crc.try_into().expect("four bytes")));
    if pieces.len() != crcs.len() {
        return Err(Error::corrupt("CRC.db is not what it was when it was first read"));
    }
    let mut at = range.start;
    for (piece, crc) in pieces.zip(crcs) {
        if crc32fast::hash(piece) != crc {
            let message = format!(
                "the {} bytes at offset {at} do not have the CRC-32 that CRC.db has for them: they are damaged, or \
                 CRC.db is of another SSTable",
                piece.len()
            );
            return Err(Error::corrupt(message));
        }
        at += piece.len() as u64;
    }
    Ok(())
}

/// Reads a list from its start to its end, and makes a [`PieceMap`] of it.
#[derive(Debug)]
pub struct MapReader {
    /// Of the SSTable, for a CompressionInfo.db; none for a CRC.db.
    layout: Option<Layout>,
    /// Bytes of the head or of a number that are not complete.
    held: Vec<u8>,
    /// Bytes of the list so far.
    read: u64,
    map: Option<Draft>,
    size: u64,
}

/// What was read of the list so far.
#[derive(Debug)]
struct Draft {
    map: PieceMap,
    /// Pieces that the list has not named yet.
    left: u32,
    /// Where the last piece begins.
    last: Option<u64>,
    stretch: u64,
}

impl MapReader {
    /// For the component of this name, CompressionInfo.db or CRC.db: `None` for any other. `size`
    /// is that of the `Data.db`.
    ///
    /// # Errors
    /// `Kind::Unsupported` for a version of the format that is not known.
    pub fn new(sstable: &SstableName, component: &str, size: u64) -> Result<Option<Self>> {
        let layout = Layout::of(sstable)?;
        let layout = match component {
            "CompressionInfo.db" => Some(layout),
            "CRC.db" => None,
            _ => return Ok(None),
        };
        Ok(Some(Self { layout, held: Vec::new(), read: 0, map: None, size }))
    }

    /// The next bytes of the list.
    ///
    /// # Errors
    /// `Kind::Corrupt` when they make no sense.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.read += bytes.len() as u64;
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        let mut draft = match self.map.take() {
            Some(draft) => draft,
            None => match self.head(rest) {
                Ok((draft, used)) => {
                    rest = &rest[used..];
                    draft
                }
                // It may only be incomplete: `finish` asks again.
                Err(_) if held.len() < MAX_HEAD => {
                    self.held = held;
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        };
        if matches!(draft.map.list, Kind::Chunks { .. }) {
            while draft.left > 0
                && let Some((start, behind)) = rest.split_first_chunk()
            {
                draft.piece(u64::from_be_bytes(*start))?;
                rest = behind;
            }
            // What follows the starts is nobody's.
            let unread = if draft.left > 0 { rest } else { &[] };
            self.held = unread.to_vec();
        }
        self.map = Some(draft);
        Ok(())
    }

    /// All bytes were there.
    ///
    /// # Errors
    /// `Kind::Corrupt` when the list is not whole, or cannot be that of the `Data.db`;
    /// `Kind::Unsupported` when its pieces are too long to be read one by one.
    pub fn finish(mut self) -> Result<PieceMap> {
        let Some(mut draft) = self.map.take() else {
            let cut = Error::corrupt("it is cut short");
            return Err(self.head(&self.held).err().unwrap_or(cut));
        };
        match draft.map.list {
            Kind::Chunks { .. } => {
                if draft.left > 0 {
                    return Err(Error::corrupt("it is cut short"));
                }
                if !draft.last.map_or(self.size == 0, |last| can_end(last, self.size)) {
                    return Err(Error::corrupt(format!(
                        "its last chunk cannot end with Data.db's {} bytes",
                        self.size
                    )));
                }
                draft.check_length(self.size)?;
            }
            Kind::Plain { length } => {
                let (expected, length) = (self.size.div_ceil(length.into()), u64::from(length));
                if self.read != 4 + expected * 4 {
                    let message = format!(
                        "its {} bytes are not those of {expected} CRC-32s, which a Data.db of {} bytes has",
                        self.read, self.size
                    );
                    return Err(Error::corrupt(message));
                }
                let too_many = |_| Error::corrupt("it has too many pieces");
                draft.left = u32::try_from(expected).map_err(too_many)?;
                (0..expected).try_for_each(|piece| draft.piece(piece * length))?;
                draft.check_length(self.size)?;
            }
        }
        Ok(draft.map)
    }

    fn head(&self, bytes: &[u8]) -> Result<(Draft, usize)> {
        let mut cursor = Cursor::new(bytes);
        let (list, left) = if let Some(layout) = self.layout {
            let head = InfoHead::read(layout, &mut cursor)?;
            (Kind::Chunks { head: (bytes.len() - cursor.remaining()) as u64 }, head.chunks)
        } else {
            (Kind::Plain { length: piece_length(&mut cursor)? }, 0)
        };
        let map = PieceMap { list, size: self.size, starts: Vec::new(), pieces: Vec::new(), count: 0 };
        let stretch = (self.size / MAX_SPANS).max(SHORTEST_STRETCH).next_power_of_two();
        Ok((Draft { map, left, last: None, stretch }, bytes.len() - cursor.remaining()))
    }
}

impl Draft {
    /// The next piece begins at `start`.
    fn piece(&mut self, start: u64) -> Result<()> {
        follows(self.last, start)?;
        self.check_length(start)?;
        let map = &mut self.map;
        if map.starts.last().is_none_or(|before| before / self.stretch != start / self.stretch) {
            map.starts.push(start);
            map.pieces.push(map.count);
        }
        map.count += 1;
        self.left -= 1;
        self.last = Some(start);
        Ok(())
    }

    /// The piece before `end` has to fit into memory.
    fn check_length(&self, end: u64) -> Result<()> {
        let length = end - self.last.unwrap_or_default();
        if length <= LONGEST_CHUNK + CRC_LEN {
            return Ok(());
        }
        let message = format!("a chunk of {length} bytes is too long to be read by itself");
        Err(Error::new(crate::Kind::Unsupported, message))
    }
}
