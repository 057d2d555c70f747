//! A `Data.db` whose list is at hand: each piece is checked by its own CRC-32.

use super::list::{Kind, List, can_end};
use super::scan::CRC_LEN;
use super::{BadPieces, Verdict};

/// Where the file is, piece by piece.
#[derive(Debug)]
pub(super) struct Known {
    size: u64,
    at: u64,
    pieces: Pieces,
    start: u64,
    end: u64,
    crc: crc32fast::Hasher,
    /// The bytes of the stored CRC-32 that came.
    stored: Vec<u8>,
    bad: BadPieces,
    /// The list cannot be of a file of this size.
    misfit: bool,
}

#[derive(Debug)]
enum Pieces {
    Chunks { starts: Vec<u64>, next: usize },
    Plain { length: u32, crcs: Vec<u32>, next: usize },
}

impl Known {
    /// `None` when the list is too long to have been kept.
    pub(super) fn new(list: &List, size: u64) -> Option<Self> {
        let (pieces, misfit) = match &list.0 {
            Kind::Chunks { starts, last, .. } => {
                let starts = starts.clone()?;
                (Pieces::Chunks { starts, next: 0 }, size > 0 && !can_end(*last, size))
            }
            Kind::Pieces { length, crcs, .. } => {
                let crcs = crcs.clone()?;
                let misfit = crcs.len() as u64 != size.div_ceil(u64::from(*length));
                (Pieces::Plain { length: *length, crcs, next: 0 }, misfit)
            }
        };
        let mut this = Self {
            size,
            at: 0,
            pieces,
            start: 0,
            end: 0,
            crc: crc32fast::Hasher::new(),
            stored: Vec::new(),
            bad: BadPieces::default(),
            misfit,
        };
        this.next_piece();
        Some(this)
    }

    fn next_piece(&mut self) {
        self.start = self.end;
        self.end = match &mut self.pieces {
            Pieces::Chunks { starts, next } => {
                *next += 1;
                starts.get(*next - 1).copied().unwrap_or(self.size)
            }
            Pieces::Plain { length, .. } => self.size.min(self.start + u64::from(*length)),
        };
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.misfit {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let stored_from = match self.pieces {
                Pieces::Chunks { .. } => self.end.saturating_sub(CRC_LEN),
                Pieces::Plain { .. } => self.end,
            };
            let until = if self.at < stored_from { stored_from } else { self.end };
            let count = usize::try_from(until.saturating_sub(self.at)).unwrap_or(usize::MAX).min(rest.len());
            if count == 0 {
                // More bytes than the size that was told: whoever told it is wrong.
                self.misfit = true;
                return;
            }
            let (piece, behind) = rest.split_at(count);
            if self.at < stored_from {
                self.crc.update(piece);
            } else {
                self.stored.extend_from_slice(piece);
            }
            self.at += count as u64;
            rest = behind;
            if self.at == self.end {
                self.end_piece();
            }
        }
    }

    fn end_piece(&mut self) {
        let found = std::mem::take(&mut self.crc).finalize();
        let told = match &mut self.pieces {
            Pieces::Chunks { .. } => self.stored[..].try_into().ok().map(u32::from_be_bytes),
            Pieces::Plain { crcs, next, .. } => {
                *next += 1;
                crcs.get(*next - 1).copied()
            }
        };
        self.stored.clear();
        self.bad.add(self.start, told == Some(found));
        self.next_piece();
    }

    pub(super) fn finish(self) -> Verdict {
        match (self.misfit, self.bad.count) {
            (true, _) => Verdict::Differs,
            (false, 0) => Verdict::Good,
            (false, _) => Verdict::Bad(self.bad),
        }
    }
}
