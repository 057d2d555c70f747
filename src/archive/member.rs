//! What a tar says of one of its members.

use serde::{Deserialize, Serialize};

/// A member's type, as far as it matters to a Cassandra backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MemberKind {
    File,
    Directory,
    /// A type whose content is not read: devices, FIFOs, pieces of files in other volumes.
    Unsupported(u8),
    /// Another name of an earlier file; holds that file's name as stored.
    HardLink(Vec<u8>),
    /// Holds the target as stored.
    SymbolicLink(Vec<u8>),
    /// A file with holes: only these regions are stored, one after another.
    Sparse(Vec<Region>),
    /// No member at all: a dumpdir lists the name, and says that an earlier tar of an incremental
    /// dump has its data.
    Elsewhere,
}

/// Bytes of a sparse file that are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Region {
    /// Where they are in the file.
    pub offset: u64,
    pub len: u64,
}

/// One member in the order of the archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The name's bytes as stored, after long-name and pax records; untrusted.
    pub raw_name: Vec<u8>,
    pub kind: MemberKind,
    /// Bytes of the file, with its holes.
    pub size: u64,
    /// Microseconds since the epoch (pax records hold fractions).
    pub mtime: crate::time::Timestamp,
    /// Where its data starts in the plain tar stream, bytes.
    pub offset: u64,
    /// CRC-32 (IEEE) of the file, as Digest.crc32 holds it for Data.db.
    pub crc32: u32,
}

impl Member {
    /// Whether it is a file whose data is in the archive.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, MemberKind::File | MemberKind::Sparse(_))
    }

    /// Bytes of its data in the plain tar stream.
    pub fn stored_len(&self) -> u64 {
        match &self.kind {
            MemberKind::Sparse(regions) => regions.iter().fold(0, |sum, region| sum.saturating_add(region.len)),
            _ => self.size,
        }
    }

    /// Bytes that its names take.
    pub(super) fn name_bytes(&self) -> usize {
        self.raw_name.len()
            + match &self.kind {
                MemberKind::HardLink(target) | MemberKind::SymbolicLink(target) => target.len(),
                _ => 0,
            }
    }

    pub(super) fn region_count(&self) -> usize {
        if let MemberKind::Sparse(regions) = &self.kind { regions.len() } else { 0 }
    }
}
