//! The checksums that Cassandra keeps of a `Data.db`, piece by piece, checked while its bytes
//! stream past.
//!
//! A compressed `Data.db` is a row of chunks, each with its CRC-32 behind it; `CompressionInfo.db`
//! says where each begins. Of a plain one `CRC.db` holds a CRC-32 for each piece of some length. In
//! an archive these lists come before or behind the `Data.db`, as the directory had them:
//! - A list that came before is applied directly ([`DataCheck::new`] with the list).
//! - Without one, the stream is searched for the places where four bytes are the CRC-32 of those
//!   before them: they follow from each other, chunk by chunk, so that only one sequence of them
//!   fills the file. Of this sequence a short [`Trail`] is kept, whatever the file's size; a list
//!   that comes later must have the same. When they differ ([`Verdict::Differs`]), the file has to
//!   be read again with the list at hand, which tells the piece that is wrong. So a sound SSTable
//!   is read once, in whatever order its components are, with next to no memory.
//!
//! Where any part of the file can be asked for, [`PieceMap`] says what has to be read to check that
//! part.
//!
//! Pure: bytes in, verdicts out.

mod known;
mod list;
mod map;
mod scan;

pub use list::{List, ListReader};
pub use map::{MapReader, PieceMap};

use known::Known;
use scan::Scan;

/// A sequence of numbers in 16 bytes, to compare two of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Trail {
    count: u64,
    hash: u64,
}

impl Trail {
    fn add(&mut self, number: u64) {
        self.count += 1;
        // Both steps can be undone, so that sequences which differ in one number never meet.
        let mixed = (self.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = mixed ^ (mixed >> 29);
    }
}

/// Pieces of a `Data.db` whose checksums differ.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BadPieces {
    /// Where the first of them begin in the file, at most [`BadPieces::NAMED`].
    pub first: Vec<u64>,
    pub count: u64,
    /// All pieces of the file, good and bad.
    pub of: u64,
}

impl BadPieces {
    pub const NAMED: usize = 8;

    fn add(&mut self, start: u64, good: bool) {
        self.of += 1;
        if !good {
            self.count += 1;
            if self.first.len() < Self::NAMED {
                self.first.push(start);
            }
        }
    }
}

/// What the checksums say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Good,
    Bad(BadPieces),
    /// They do not fit the file that was read, and which of them are wrong is not known.
    Differs,
}

/// Checks one `Data.db` as it streams past.
#[derive(Debug)]
pub struct DataCheck {
    size: u64,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Known(Known),
    Scan(Box<Scan>),
}

/// What is left of a `Data.db` that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked(Outcome);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    /// By its list.
    Told(Verdict),
    /// The starts of its chunks but for the first, and its end, if it is a row of chunks; the
    /// CRC-32s of its pieces of the usual length.
    Found { chunks: Option<Trail>, pieces: Trail },
}

impl DataCheck {
    /// For a file of `size` bytes. `list` is what its CompressionInfo.db or CRC.db says, if it came
    /// already.
    pub fn new(size: u64, list: Option<&List>) -> Self {
        let known = list.and_then(|list| Known::new(list, size));
        Self { size, way: known.map_or_else(|| Way::Scan(Box::default()), Way::Known) }
    }

    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.way {
            Way::Known(known) => known.push(bytes),
            Way::Scan(scan) => scan.push(bytes),
        }
    }

    /// All bytes were there.
    pub fn finish(self) -> Checked {
        Checked(match self.way {
            Way::Known(known) => Outcome::Told(known.finish()),
            Way::Scan(scan) => {
                let (chunks, pieces) = scan.finish(self.size);
                Outcome::Found { chunks, pieces }
            }
        })
    }
}

impl Checked {
    /// Where the list was known while the file was read.
    pub fn told(self) -> Option<Verdict> {
        match self.0 {
            Outcome::Told(verdict) => Some(verdict),
            Outcome::Found { .. } => None,
        }
    }

    /// By what the list says of a file of `size` bytes; it is not looked at where it was known
    /// while the file was read.
    pub fn verdict(&self, list: &List, size: u64) -> Verdict {
        match &self.0 {
            Outcome::Told(verdict) => verdict.clone(),
            Outcome::Found { chunks, pieces } => {
                let same = match list.trail(size) {
                    list::Expected::Chunks(trail) => *chunks == Some(trail),
                    list::Expected::Pieces { length, trail } => length == scan::USUAL_PIECE && *pieces == trail,
                };
                if same { Verdict::Good } else { Verdict::Differs }
            }
        }
    }
}

#[cfg(test)]
mod map_tests;
#[cfg(test)]
mod tests;
