//! Where a reader of a tar is.

use super::pax::Records;
use super::sparse::MapLines;
use super::{BLOCK_LEN, MAX_RECORD_LEN, MAX_SIZE};
use crate::archive::{Member, MemberKind, Region};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a [`super::TarReader`] is, without the members that it has passed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TarState {
    /// Plain bytes so far.
    pub(super) offset: u64,
    pub(super) at: At,
    /// The part of the current header block that is there.
    pub(super) block: Vec<u8>,
    /// From a GNU long name or pax header, for the next member.
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) local: Records,
    /// From pax global headers, for all further members.
    pub(super) global: Records,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum At {
    Header,
    /// In a file; its `crc32` is that of the bytes so far.
    Data {
        member: Member,
        left: u64,
    },
    /// In a region of a file with holes; all holes before it were handed out.
    SparseData {
        member: Member,
        region: usize,
        /// Bytes of the region.
        left: u64,
    },
    /// Padding, or the data of something unsupported.
    Skip {
        left: u64,
    },
    Record {
        kind: RecordKind,
        bytes: Vec<u8>,
        left: u64,
        padding: u64,
    },
    /// Further blocks of an old GNU sparse map come, then this many bytes of data.
    OldMap {
        member: Member,
        regions: Vec<Region>,
        stored: u64,
    },
    /// Blocks of a pax 1.0 sparse map come; with the data behind them they are this many bytes.
    LineMap {
        member: Member,
        lines: MapLines,
        stored: u64,
    },
    /// Behind one block of zeros.
    OneZeroBlock,
    /// Behind the end mark: the end, or another tar.
    End,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum RecordKind {
    LongName,
    LongLink,
    Local,
    Global,
    /// The names in a directory, of an incremental tar.
    Dumpdir {
        directory: Vec<u8>,
        mtime: Timestamp,
    },
}

impl TarState {
    /// Plain bytes up to here.
    pub(in crate::archive) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a state that was stored can be one.
    pub(super) fn is_sound(&self) -> bool {
        let at = match &self.at {
            At::Data { member, left } => {
                *left > 0 && *left <= member.size && member.size <= MAX_SIZE && member.kind == MemberKind::File
            }
            At::SparseData { member, region, left } => {
                let sparse = |member: &Member| match &member.kind {
                    MemberKind::Sparse(regions) => {
                        super::sparse::checked(regions.clone(), member.size, member.stored_len()).is_ok()
                    }
                    _ => false,
                };
                sparse(member)
                    && member.size <= MAX_SIZE
                    && region_len(member, *region).is_some_and(|len| (1..=len).contains(left))
            }
            At::Skip { left } => *left > 0,
            At::Record { bytes, left, .. } => {
                (1..=MAX_RECORD_LEN).contains(left) && bytes.len() as u64 + left <= MAX_RECORD_LEN
            }
            _ => true,
        };
        at && self.block.len() < BLOCK_LEN && self.offset <= MAX_SIZE
    }
}

fn regions(member: &Member) -> &[Region] {
    match &member.kind {
        MemberKind::Sparse(regions) => regions,
        _ => &[],
    }
}

/// Bytes of the region of this number; `None` behind the last.
pub(super) fn region_len(member: &Member, number: usize) -> Option<u64> {
    regions(member).get(number).map(|region| region.len)
}

/// Where in the file the region begins; behind the last one the file's end.
pub(super) fn start(member: &Member, number: usize) -> u64 {
    regions(member).get(number).map_or(member.size, |region| region.offset)
}

/// The place in the file with this many bytes of the region to come.
pub(super) fn position(member: &Member, number: usize, left: u64) -> u64 {
    regions(member).get(number).map_or(member.size, |region| region.offset + region.len - left)
}
