//! A `Data.db` of which nothing is known: finds the chunks that it must consist of, if it is
//! compressed.
//!
//! A chunk may end wherever the next four bytes are the CRC-32 of those since its start. One place
//! in 2^32 looks so by chance, which a few GB have. So a place is only a candidate until a chunk
//! that starts there ends somewhere too; meanwhile the chunk before may still go on.

use super::Trail;

/// Piece of a plain file (`CRC.db`): the buffer of Cassandra's `SequentialWriter`.
pub(super) const USUAL_PIECE: u32 = 64 << 10;

/// The CRC-32 behind a chunk.
pub(super) const CRC_LEN: u64 = 4;

/// No chunk is longer: Cassandra's largest `chunk_length_in_kb` that anybody uses is a small part
/// of it.
pub(super) const LONGEST_CHUNK: u64 = 8 << 20;

/// More candidates than this within one chunk are no chance: the bytes were made so.
const MOST_CANDIDATES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Scan {
    at: u64,
    /// The last four bytes, big-endian.
    tail: u32,
    paths: Option<Paths>,
    /// Set when the paths have come to nothing.
    pub(super) no_chunks: bool,
    piece_crc: crc32fast::Hasher,
    piece_len: u32,
    pieces: Trail,
}

/// The chunk that the file is in for certain, if it is a row of chunks at all, and the chunks that
/// may have begun in it.
#[derive(Debug, Default)]
struct Paths {
    current: Path,
    candidates: Vec<Path>,
}

/// A chunk that may be.
#[derive(Clone, Debug)]
struct Path {
    start: u64,
    /// Bytes until the first of the chunk leaves the window of four that may be its CRC-32.
    wait: u8,
    /// CRC-32 of the chunk but for the last four bytes, before its final inversion.
    crc: u32,
    /// Ends of the chunks before.
    trail: Trail,
}

impl Default for Path {
    fn default() -> Self {
        Self::new(0, Trail::default())
    }
}

impl Path {
    fn new(start: u64, trail: Trail) -> Self {
        Self { start, wait: 4, crc: u32::MAX, trail }
    }

    /// The chunk grows by a byte, by which `leaving` is no part of its possible CRC-32 any more.
    /// Whether it can end here.
    #[inline]
    fn step(&mut self, leaving: u8, tail: u32) -> bool {
        if self.wait > 0 {
            self.wait -= 1;
            return false;
        }
        self.crc = TABLE[usize::from(self.crc as u8 ^ leaving)] ^ self.crc >> 8;
        !self.crc == tail
    }

    fn next(&self, end: u64) -> Self {
        let mut trail = self.trail;
        trail.add(end);
        Self::new(end, trail)
    }
}

impl Scan {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.push_pieces(bytes);
        if !self.no_chunks {
            let mut paths = self.paths.take().unwrap_or_default();
            if self.push_paths(&mut paths, bytes) {
                self.paths = Some(paths);
            } else {
                self.no_chunks = true;
            }
        }
    }

    fn push_pieces(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min((USUAL_PIECE - self.piece_len) as usize));
            self.piece_crc.update(piece);
            self.piece_len += piece.len() as u32;
            rest = behind;
            if self.piece_len == USUAL_PIECE {
                self.end_piece();
            }
        }
    }

    fn end_piece(&mut self) {
        self.pieces.add(std::mem::take(&mut self.piece_crc).finalize().into());
        self.piece_len = 0;
    }

    /// False when it cannot be a row of chunks.
    fn push_paths(&mut self, paths: &mut Paths, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.skip_quiet(paths, rest)..];
            let Some((&byte, behind)) = rest.split_first() else { break };
            rest = behind;
            let Paths { current, candidates } = paths;
            let leaving = (self.tail >> 24) as u8;
            self.tail = self.tail << 8 | u32::from(byte);
            self.at += 1;
            let ends = current.step(leaving, self.tail);
            // A candidate proves true where a chunk that starts there can end.
            let mut proven = None;
            for (number, candidate) in candidates.iter_mut().enumerate() {
                if candidate.step(leaving, self.tail) {
                    proven = Some(number);
                }
            }
            if let Some(number) = proven {
                *current = candidates.swap_remove(number);
                candidates.clear();
                candidates.push(current.next(self.at));
            } else if ends {
                if candidates.len() == MOST_CANDIDATES {
                    return false;
                }
                candidates.push(current.next(self.at));
            }
        }
        paths.candidates.retain(|candidate| self.at - candidate.start <= LONGEST_CHUNK);
        !paths.candidates.is_empty() || self.at - paths.current.start <= LONGEST_CHUNK
    }

    /// Takes the bytes up to the next one behind which a chunk can end. Nearly all of them, so this
    /// decides the speed.
    fn skip_quiet(&mut self, paths: &mut Paths, bytes: &[u8]) -> usize {
        let Paths { current, candidates } = paths;
        let waits = current.wait > 0 || candidates.iter().any(|candidate| candidate.wait > 0);
        let (tail, skipped) = match &mut candidates[..] {
            _ if waits => return 0,
            [] => quiet([&mut current.crc], self.tail, bytes),
            // The usual case: the chunk that the file is in, while the one before it may still go
            // on.
            [one] => quiet([&mut current.crc, &mut one.crc], self.tail, bytes),
            [one, two] => quiet([&mut current.crc, &mut one.crc, &mut two.crc], self.tail, bytes),
            _ => return 0,
        };
        self.tail = tail;
        self.at += skipped as u64;
        skipped
    }

    /// The trail of the chunks' ends, if the file of `size` bytes is a row of chunks, and of the
    /// CRC-32s of its pieces.
    pub(super) fn finish(mut self, size: u64) -> (Option<Trail>, Trail) {
        if self.piece_len > 0 {
            self.end_piece();
        }
        let paths = self.paths.filter(|_| self.at == size);
        let whole = paths.and_then(|paths| {
            let at = |start: u64| paths.candidates.iter().find(|candidate| candidate.start == start);
            // The last chunk may be of nothing, with the CRC-32 of that.
            let of_nothing = || at(size.checked_sub(CRC_LEN)?).filter(|_| self.tail == 0).map(|path| path.next(size));
            at(size).cloned().or_else(of_nothing)
        });
        (whole.map(|path| path.trail), self.pieces)
    }
}

/// [`Path::step`] of several paths over the bytes before the first behind which one of them can
/// end: the last four bytes, and how many bytes that were.
#[inline]
fn quiet<const N: usize>(paths: [&mut u32; N], mut tail: u32, bytes: &[u8]) -> (u32, usize) {
    let mut crcs = [0; N];
    (0..N).for_each(|n| crcs[n] = *paths[n]);
    let mut skipped = bytes.len();
    for (at, &byte) in bytes.iter().enumerate() {
        let leaving = (tail >> 24) as u8;
        let next_tail = tail << 8 | u32::from(byte);
        let next = crcs.map(|crc| TABLE[usize::from(crc as u8 ^ leaving)] ^ crc >> 8);
        if next.iter().any(|&crc| !crc == next_tail) {
            skipped = at;
            break;
        }
        (crcs, tail) = (next, next_tail);
    }
    paths.into_iter().zip(crcs).for_each(|(path, crc)| *path = crc);
    (tail, skipped)
}

/// CRC-32 (IEEE, reflected), a byte at a time: here the value is needed behind every byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
