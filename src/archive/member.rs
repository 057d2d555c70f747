//! What a tar says of one of its members.

use serde::{Deserialize, Serialize};

/// A member's type, as far as a Cassandra backup has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MemberKind {
    File,
    Directory,
    /// Links, device nodes, FIFOs, sparse maps: named in a warning, never shown as a file.
    Unsupported(u8),
}

/// One member in the order of the archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The name's bytes as stored, after long-name and pax records; untrusted.
    pub raw_name: Vec<u8>,
    pub kind: MemberKind,
    /// Bytes of data.
    pub size: u64,
    /// Microseconds since the epoch (pax records hold fractions).
    pub mtime: crate::time::Timestamp,
    /// Where its data starts in the plain tar stream, bytes.
    pub offset: u64,
    /// CRC-32 (IEEE) of the data, as Digest.crc32 holds it for Data.db.
    pub crc32: u32,
}
